"""The reference of commands names every question and every option there is."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import typer.main

from lab.cli.dump.kd import understood
from lab.cli.machine_actions import Action
from lab.cli.main import app_for

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text("utf-8")


def command(name: str) -> click.Command:
    group = typer.main.get_command(app_for([name]))
    found: click.Command = group.commands[name]  # type: ignore[attr-defined]
    return found


def options(of: click.Command) -> set[str]:
    flags = {flag for parameter in of.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return {flag for flag in flags if flag.startswith("--")} - {"--help"}


def test_triage() -> None:
    assert {flag for flag in options(command("triage")) if f"`{flag}" not in PAGE} == set()


def test_fetch() -> None:
    section = PAGE[PAGE.index("## `lab fetch`") :].partition("\n## ")[0]
    assert {flag for flag in options(command("fetch")) if flag not in section} == {"--inventory"}
    assert "-i INVENTORY" in section


def test_bisect() -> None:
    section = PAGE[PAGE.index("## `lab bisect`") :].partition("\n## ")[0]
    assert {flag for flag in options(command("bisect")) if f"`{flag}" not in section} == set()


def test_machine() -> None:
    section = PAGE[PAGE.index("## `lab machine`") :].partition("\n## ")[0]
    assert {flag for flag in options(command("machine")) if f"`{flag}" not in section} == set()
    assert {action for action in Action if f"`{action}" not in section} == set()


def test_provision() -> None:
    section = PAGE[PAGE.index("## `lab provision`") :].partition("\n## ")[0]
    commands: dict[str, click.Command] = command("provision").commands  # type: ignore[attr-defined]
    for name, each in commands.items():
        assert f"lab provision {name}" in section
        assert {flag for flag in options(each) if f"`{flag}" not in section} == set(), name


def test_twin() -> None:
    section = PAGE[PAGE.index("## `lab twin`") :].partition("\n## ")[0]
    commands: dict[str, click.Command] = command("twin").commands  # type: ignore[attr-defined]
    for name, each in commands.items():
        assert f"lab twin {name}" in section
        assert {flag for flag in options(each) if f"`{flag}" not in section} == set(), name


def test_every_question_and_every_word_of_the_debugger() -> None:
    questions: dict[str, click.Command] = command("dump").commands  # type: ignore[attr-defined]
    for name, question in questions.items():
        if question.hidden:
            assert f"`{name}`" in PAGE, name
        else:
            assert f"`lab dump {name} " in PAGE, name
            assert {flag for flag in options(question) if f"`{flag}" not in PAGE} == set(), name


@pytest.mark.parametrize(
    "line",
    [
        *("vertarget", ".dumpdebug", "lm", "lmv", "!process 0 2", "kn", "!running", "!verifier"),
        *("!verifier 1", "!verifier 200", "!verifier 100", "!devstack", "!fltkd.filters", "!fltkd.volumes"),
    ],
)
def test_the_debuggers_lines_on_the_page_are_understood(line: str) -> None:
    assert f"`{line}`" in PAGE
    understood(line)
