"""Who made a driver, and what is never switched off."""

from __future__ import annotations

import pytest

from lab.model import Origin
from lab.windows.origin import classify, pin

WHQL = "Microsoft Windows Hardware Compatibility Publisher"
MICROSOFT = "Microsoft Corporation"


@pytest.mark.parametrize(
    ("company", "signer", "version", "running", "origin"),
    [
        (MICROSOFT, "Microsoft Windows", "10.0.17763.1", True, Origin.IN_BOX),
        ("microsoft corporation", "MICROSOFT WINDOWS", "6.1.7601.1", False, Origin.IN_BOX),
        (MICROSOFT, "Microsoft Windows Early Launch Anti-malware Publisher", "4.18", True, Origin.IN_BOX),
        ("Acme Security", WHQL, "1.2", True, Origin.THIRD_PARTY),
        (MICROSOFT, WHQL, "1.2", True, Origin.THIRD_PARTY),  # a copied version resource does not help
        ("Acme", "Acme Inc.", "1.2", True, Origin.THIRD_PARTY),
        ("Acme", "Microsoft Windows Early Launch Anti-malware Publisher", "1", True, Origin.THIRD_PARTY),
        (MICROSOFT, "", "10.0.1", True, Origin.THIRD_PARTY),  # not signed: anyone can claim to be Microsoft
        (MICROSOFT, "Acme Inc.", "10.0.1", True, Origin.THIRD_PARTY),
        (MICROSOFT, "Microsoft Corporation", "1.0", True, Origin.THIRD_PARTY),  # no part of Windows
        ("", "Microsoft Windows", "1.0", True, Origin.THIRD_PARTY),
        ("", "", "", True, Origin.THIRD_PARTY),  # runs, so its image is there, and says nothing
        ("", "", "", False, Origin.UNKNOWN),
        (" ", " ", " ", False, Origin.UNKNOWN),
    ],
)
def test_origin(company: str, signer: str, version: str, running: bool, origin: Origin) -> None:
    found, because = classify(company, signer, version, running=running)
    assert found is origin
    assert because


@pytest.mark.parametrize("group", ["SCSI miniport", "SCSI Miniport", "Boot Bus Extender", "NDIS", "Video"])
def test_what_boot_and_control_need_is_pinned(group: str) -> None:
    assert pin("MyDriver", group, {})


@pytest.mark.parametrize(
    "group", ["", "FSFilter Anti-Virus", "PnP Filter", "Filter", "Extended Base", "Base"]
)
def test_filters_may_be_switched_off(group: str) -> None:
    assert pin("MyDriver", group, {}) == ""


def test_the_inventory_adds_and_lifts_pins_without_regard_to_case() -> None:
    assert pin("BadDriver", "", {"baddriver": "boots from it"}) == "boots from it"
    assert pin("SpareHba", "SCSI miniport", {"SPAREHBA": ""}) == ""
    assert pin("OtherHba", "SCSI miniport", {"SPAREHBA": ""})
