"""Who made an image, and how we know."""

from __future__ import annotations

import pytest

from lab.analysis.inbox import IN_BOX, SHARED
from lab.analysis.origin import by_image, classify
from lab.model import Driver, Origin, StartType


def driver(image: str, origin: Origin, because: str = "told") -> Driver:
    return Driver(image, image, image, StartType.BOOT, True, origin=origin, origin_because=because)


@pytest.mark.parametrize(
    "image",
    [
        "ntoskrnl.exe",
        "hal.dll",
        "FLTMGR.SYS",
        "Ntfs.sys",
        "srv2.sys",
        "dump_stornvme.sys",
        r"\SystemRoot\System32\drivers\tcpip.sys",
    ],
)
def test_in_box(image: str) -> None:
    assert classify(image)[0] is Origin.IN_BOX


@pytest.mark.parametrize("image", ["BadDriver.sys", "npcap.sys", "nvlddmkm.sys", "dump_X.sys"])
def test_third_party_says_how_it_is_known(image: str) -> None:
    assert classify(image) == (Origin.THIRD_PARTY, "not in the list of in-box drivers")


def test_a_name_that_the_maker_also_ships_proves_nothing() -> None:
    assert classify("megasas.sys")[0] is Origin.UNKNOWN


def test_a_guest_knows_better_than_the_name() -> None:
    known = by_image([driver("srv2.sys", Origin.THIRD_PARTY), driver("Corp.sys", Origin.IN_BOX)])
    assert classify("SRV2.SYS", known) == (Origin.THIRD_PARTY, "told")
    assert classify("corp.sys", known) == (Origin.IN_BOX, "told")


def test_a_guest_that_does_not_know_is_not_asked() -> None:
    known = by_image([driver("srv2.sys", Origin.UNKNOWN)])
    assert classify("srv2.sys", known)[0] is Origin.IN_BOX


def test_without_a_name_nobody_is_innocent() -> None:
    assert classify("")[0] is Origin.UNKNOWN


def test_the_lists() -> None:
    assert len(IN_BOX) > 300
    assert not IN_BOX & SHARED
    assert all(
        name == name.casefold() and name.endswith((".sys", ".dll", ".exe")) for name in IN_BOX | SHARED
    )
