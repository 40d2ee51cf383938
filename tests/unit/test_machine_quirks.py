"""Quirks of management controllers: which fit whom, and that each has a source."""

from __future__ import annotations

import inspect
import re

import pytest

from lab.machines import quirks
from lab.machines.quirks import QUIRKS, Behaviour, behaviour


@pytest.mark.parametrize("maker", ["", "Contoso", "Lenovo", "Not Dell", "HPC Systems"])
def test_the_standard_for_everybody_else(maker: str) -> None:
    assert behaviour(maker, "", "") == Behaviour()


@pytest.mark.parametrize("maker", ["Supermicro", "SUPERMICRO", "Super Micro Computer, Inc."])
def test_supermicro(maker: str) -> None:
    knows = behaviour(maker, "SYS-1029", "3.74")
    assert knows.names_everything and knows.cd_reads_back == {"Cd", "UsbCd"}
    assert knows.once_reads_back == {"Once"}


@pytest.mark.parametrize(
    ("firmware", "by_attributes", "refused"),
    [
        ("7.10.30.00", True, False),
        ("2.86.86.86", False, True),
        ("1.20.50.50", False, False),
        ("", False, False),
    ],
)
def test_dell_by_generation(firmware: str, by_attributes: bool, refused: bool) -> None:
    knows = behaviour("Dell Inc.", "PowerEdge R640", firmware)
    assert (bool(knows.cd_attributes), bool(knows.cd_refusal)) == (by_attributes, refused)


def test_hpe_by_both_names() -> None:
    assert behaviour("HPE", "", "").media_hint == behaviour("HP", "", "").media_hint != ""


def test_every_quirk_changes_what_there_is_and_names_its_source() -> None:
    for quirk in QUIRKS:
        assert quirk.changes and set(quirk.changes) <= set(Behaviour.__dataclass_fields__)
    listed = inspect.getsource(quirks).partition("QUIRKS = (")[2].partition("\n)\n")[0]
    comments = re.findall(r"((?:^    #.*\n)+)    Quirk\(", listed, re.MULTILINE)
    assert len(comments) == len(QUIRKS)
    for comment in comments:
        source = "/issues/" in comment or "/pull/" in comment or "story/" in comment or "Seen with" in comment
        assert source and ("nverified" in comment or "Seen with" in comment)
