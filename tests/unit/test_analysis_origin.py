"""Who made an image, and how we know."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.analysis.altitudes import GROUPS, group_of
from lab.analysis.inbox import IN_BOX, SHARED
from lab.analysis.origin import Marks, by_image, classify, is_microsoft
from lab.model import Driver, Origin, StartType

MICROSOFT = "Microsoft Corporation"
BUILT_HERE = r"D:\work\bad\x64\Release\bad.pdb"


def driver(image: str, origin: Origin, because: str = "told", signer: str = "", company: str = "") -> Driver:
    return Driver(
        image,
        image,
        image,
        StartType.BOOT,
        True,
        company,
        signer=signer,
        origin=origin,
        origin_because=because,
    )


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
    assert classify("corp.sys", known, Marks(company="Contoso")) == (Origin.IN_BOX, "told")


def test_a_guest_that_does_not_know_is_not_asked() -> None:
    known = by_image([driver("srv2.sys", Origin.UNKNOWN)])
    assert classify("srv2.sys", known)[0] is Origin.IN_BOX


@pytest.mark.parametrize(
    ("image", "signer", "company", "origin"),
    [
        ("x.sys", "Microsoft Windows", MICROSOFT, Origin.IN_BOX),
        ("x.sys", "Microsoft Windows", "Contoso", Origin.THIRD_PARTY),
        ("srv2.sys", "Contoso Ltd", "", Origin.THIRD_PARTY),
        ("srv2.sys", "Microsoft Windows Hardware Compatibility Publisher", "", Origin.THIRD_PARTY),
    ],
)
def test_a_signer_comes_before_everything_in_the_dump(
    image: str, signer: str, company: str, origin: Origin
) -> None:
    known = by_image([driver(image, Origin.UNKNOWN, signer=signer)])
    found, because = classify(image, known, Marks(company=company))
    assert found is origin
    assert signer in because


class TestMarks:
    def test_another_company_under_a_name_of_windows_is_third_party_and_said(self) -> None:
        origin, because = classify("srv2.sys", marks=Marks(company="Contoso Ltd"))
        assert origin is Origin.THIRD_PARTY
        assert "Contoso Ltd" in because
        assert "comes with Windows" in because

    def test_microsofts_company_decides_where_the_name_does_not(self) -> None:
        own = Marks(company=MICROSOFT, pdb="megasas.pdb")
        assert classify("megasas.sys", marks=own)[0] is Origin.IN_BOX
        assert classify("megasas.sys", marks=Marks(company="Broadcom"))[0] is Origin.THIRD_PARTY

    def test_a_contradiction_with_the_list_is_noted(self) -> None:
        origin, because = classify("new.sys", marks=Marks(company=MICROSOFT, pdb="new.pdb"))
        assert origin is Origin.IN_BOX
        assert "no list knows it" in because

    def test_microsofts_company_alone_makes_nobody_innocent(self) -> None:
        origin, because = classify("new.sys", marks=Marks(company=MICROSOFT))
        assert origin is Origin.UNKNOWN
        assert "anybody can write" in because

    def test_microsofts_company_in_a_driver_built_elsewhere_proves_nothing(self) -> None:
        origin, because = classify("bad.sys", marks=Marks(company=MICROSOFT, pdb=BUILT_HERE))
        assert origin is Origin.UNKNOWN
        assert BUILT_HERE in because

    def test_a_pdb_path_tells_an_impostor(self) -> None:
        origin, because = classify("srv2.sys", marks=Marks(pdb=BUILT_HERE))
        assert origin is Origin.THIRD_PARTY
        assert "comes with Windows" in because
        assert classify("srv2.sys", marks=Marks(pdb="srv2.pdb"))[0] is Origin.IN_BOX

    @pytest.mark.parametrize("altitude", ["189600", "25000", ""])
    def test_an_altitude_never_decides(self, altitude: str) -> None:
        origin, because = classify("bad.sys", marks=Marks(altitude=altitude))
        assert origin is Origin.THIRD_PARTY
        assert ("weak hint" in because) == bool(altitude)
        assert classify("", marks=Marks(altitude=altitude))[0] is Origin.UNKNOWN

    @pytest.mark.parametrize(
        ("company", "own"),
        [
            (MICROSOFT, True),
            ("Microsoft", True),
            ("microsoft corp.", True),
            ("Windows (R) Win 7 DDK provider", False),
            ("Microsoftware Ltd", False),
            ("", False),
        ],
    )
    def test_whose_company_name_is_microsofts(self, company: str, own: bool) -> None:
        assert is_microsoft(company) is own


def test_without_a_name_nobody_is_innocent() -> None:
    assert classify("")[0] is Origin.UNKNOWN


def test_the_lists() -> None:
    assert len(IN_BOX) > 300
    assert not IN_BOX & SHARED
    assert all(
        name == name.casefold() and name.endswith((".sys", ".dll", ".exe")) for name in IN_BOX | SHARED
    )


@pytest.mark.parametrize(
    ("altitude", "group"),
    [
        ("189600", "FSFilter HSM"),
        ("328010.5", "FSFilter Anti-Virus"),
        ("0", "FSFilter Infrastructure"),
        ("29999", "FSFilter System"),
        ("429999", "Filter"),
        ("430000", ""),
        ("30000", ""),
        ("", ""),
        ("-1", ""),
        ("1e9", ""),
        ("9" * 40, ""),
    ],
)
def test_altitude_groups(altitude: str, group: str) -> None:
    found = group_of(altitude)
    assert (found.name if found else "") == group


def test_altitude_groups_do_not_overlap_and_descend() -> None:
    assert all(upper.lowest > lower.highest for upper, lower in pairwise(GROUPS))
    assert {g.name for g in GROUPS if g.reserved} == {"FSFilter System", "FSFilter Infrastructure"}
