"""The drivers of the simulated server look like those of a real one."""

from __future__ import annotations

import pytest

from lab.twin.catalogue import BUILDS, drivers, plantable
from lab.twin.driver import CLASS_NAMES, Kind
from lab.twin.thirdparty import NOISY, TAMPER_PROTECTED

ALTITUDES = {
    "Activity Monitor": (360000, 389999),
    "Undelete": (340000, 349999),
    "Anti-Virus": (320000, 329999),
    "Replication": (300000, 309999),
    "Continuous Backup": (280000, 289999),
    "Content Screener": (260000, 269999),
    "Quota Management": (240000, 249999),
    "HSM": (180000, 189999),
    "Encryption": (140000, 149999),
    "Virtualization": (130000, 139999),
    "Bottom": (40000, 49999),
}
"""Load order groups and altitude ranges (Microsoft's list of allocated altitudes)."""


@pytest.mark.parametrize("build", BUILDS)
def test_there_are_enough_drivers_of_every_kind(build: int) -> None:
    found = drivers(build)
    third_party = [driver for driver in found if driver.third_party]
    assert len(found) >= 24
    assert len(third_party) >= 20
    assert {driver.kind for driver in third_party} == {Kind.MINIFILTER, Kind.CLASS_FILTER, Kind.OTHER}
    assert sum(bool(driver.vital) for driver in third_party) == 2
    assert {NOISY, TAMPER_PROTECTED} <= {driver.service for driver in third_party}
    for key in ("service", "image"):
        assert len({getattr(driver, key).casefold() for driver in found}) == len(found)


@pytest.mark.parametrize("build", BUILDS)
def test_minifilters_stand_where_their_group_stands(build: int) -> None:
    for driver in drivers(build):
        if driver.altitude and driver.group:
            low, high = ALTITUDES[driver.group.removeprefix("FSFilter ")]
            assert low <= float(driver.altitude) <= high, driver.service


@pytest.mark.parametrize("build", BUILDS)
def test_what_is_depended_on_exists(build: int) -> None:
    services = {driver.service for driver in drivers(build)}
    for driver in drivers(build):
        assert set(driver.depends_on) <= services
        assert {place.class_guid for place in driver.places} <= set(CLASS_NAMES)


@pytest.mark.parametrize("build", BUILDS)
def test_every_kind_can_be_planted_and_what_has_a_fixed_part_cannot(build: int) -> None:
    entries = plantable(build)
    assert {entry["kind"] for entry in entries} == {"minifilter", "class filter", "other"}
    services = {entry["service"] for entry in entries}
    assert len(services) == len(entries) >= 15
    assert not services & {NOISY, "VlrScsi", "OskE10", "PellucineToken", "Ntfs"}
    assert all(entry["image"].endswith(".sys") and entry["vendor"] for entry in entries)
