"""The pages about loads name every profile and every option, with the numbers of the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import typer.main

from lab.cli.main import app_for
from lab.smb.profiles import PROFILES, Profile

DOCS = Path(__file__).parents[2] / "docs"
PROFILES_PAGE = (DOCS / "reference" / "load-profiles.md").read_text("utf-8")
COMMANDS_PAGE = (DOCS / "reference" / "commands.md").read_text("utf-8")


def row(profile: Profile) -> str:
    (found,) = re.findall(rf"^\| `{profile.name}` \|.*$", PROFILES_PAGE, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_every_profile_is_on_its_page_with_its_numbers(profile: Profile) -> None:
    line = row(profile)
    size = f"{profile.size >> 20} MiB" if profile.size >= 1 << 20 else f"{profile.size >> 10} KiB"
    files = f"{profile.files} of" if profile.files else f"one of {profile.file_bytes >> 20} MiB"
    assert f"| {size} |" in line and files in line
    if profile.name not in ("sessions", "idle-sweep"):  # told in words
        assert re.search(rf"\b{profile.most}\b", line)
    if profile.name not in ("idle-sweep", "sessions", "sawtooth", "churn"):
        assert ("unbuffered" in line) is profile.unbuffered
    assert re.search(rf"^### `{profile.name}`$", PROFILES_PAGE, re.MULTILINE)


def test_no_profile_is_on_the_page_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `([\w-]+)`$", PROFILES_PAGE, re.MULTILINE)) == set(PROFILES)


def test_every_option_of_the_command_is_on_its_page() -> None:
    group = typer.main.get_command(app_for(["load"]))
    load: click.Command = group.commands["load"]  # type: ignore[attr-defined]
    flags = {flag for each in load.params for flag in (*each.opts, *each.secondary_opts)}
    part = COMMANDS_PAGE.partition("## `lab load`")[2].partition("\n## ")[0]
    assert {flag for flag in flags - {"--help"} if flag.startswith("--") and f"`{flag}" not in part} == set()
