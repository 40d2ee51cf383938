"""Quirks of management controllers: which fit whom, and that each has a source."""

from __future__ import annotations

import inspect
import re

import pytest

from lab.machines import quirks
from lab.machines.quirks import QUIRKS, Behaviour, behaviour


@pytest.mark.parametrize("maker", ["", "Contoso", "Fujitsu", "Not Dell", "HPC Systems"])
def test_the_standard_for_everybody_else(maker: str) -> None:
    assert behaviour(maker, "", "") == Behaviour()


@pytest.mark.parametrize("maker", ["Supermicro", "SUPERMICRO", "Super Micro Computer, Inc."])
def test_supermicro(maker: str) -> None:
    knows = behaviour(maker, "SYS-1029", "")
    assert knows.names_everything and knows.cd_reads_back == {"Cd", "UsbCd"}
    assert knows.once_reads_back == {"Once"}


@pytest.mark.parametrize(
    ("controller", "by_attributes"),
    [
        *(("12G Modular", False), ("13G Monolithic", False), ("14G Monolithic", True), ("16G DCS", True)),
        *(("17G Monolithic", True), ("18G Monolithic", True), ("", True)),
    ],
)
def test_dell_by_generation(controller: str, by_attributes: bool) -> None:
    """By the manager's model: the firmware of iDRAC 10 began at 1 again."""
    knows = behaviour("Dell Inc.", "PowerEdge R640", controller)
    assert (bool(knows.cd_attributes), bool(knows.cd_refusal)) == (by_attributes, not by_attributes)


def test_lenovo_has_drives_that_are_not_for_us() -> None:
    assert re.fullmatch(behaviour("LENOVO", "SR650", "Lenovo XClarity Controller").drives, "EXT1")


def test_openbmc_whoever_built_the_server() -> None:
    assert "HTTPS" in behaviour("Contoso", "", "OpenBmc").media_hint


def test_hpe_by_both_names() -> None:
    assert behaviour("HPE", "", "").media_hint == behaviour("HP", "", "").media_hint != ""


def test_every_quirk_changes_what_there_is_and_names_its_source() -> None:
    for quirk in QUIRKS:
        assert quirk.changes and set(quirk.changes) <= set(Behaviour.__dataclass_fields__)
    listed = inspect.getsource(quirks).partition("QUIRKS = (")[2].partition("\n)\n")[0]
    comments = re.findall(r"((?:^    #.*\n)+)    Quirk\(", listed, re.MULTILINE)
    assert len(comments) == len(QUIRKS)
    for comment in comments:
        source = (
            "pubs.lenovo" in comment
            or "/issues/" in comment
            or "/pull/" in comment
            or "story/" in comment
            or "Seen with" in comment
        )
        assert source and ("nverified" in comment or "Seen with" in comment)
