"""The contract with a real Windows: what the scripts must answer there.

Off unless BUGCHECK_LAB_LIVE names an inventory. Every expendable host of it is read; one restart is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.inventory import Host, load
from lab.machines import open_machine
from lab.model import GuestError, Origin, StartType
from lab.windows import Guest, open_guest, surgery
from lab.windows.check import check_host

INVENTORY = os.environ.get("BUGCHECK_LAB_LIVE", "")
HOSTS = [h for h in load([Path(INVENTORY)]).hosts.values() if h.expendable] if INVENTORY else []

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not HOSTS, reason="BUGCHECK_LAB_LIVE names no inventory with expendable hosts"),
]


@pytest.fixture(params=HOSTS or [None], ids=lambda h: h.name if h else "none")
def host(request: pytest.FixtureRequest) -> Host:
    found: Host = request.param
    return found


@pytest.fixture
def guest(host: Host) -> Iterator[Guest]:
    with open_guest(host) as opened:
        opened.wait_until_reachable()
        yield opened


def test_the_host_is_fit(host: Host) -> None:
    assert [c for c in check_host(host, open_machine) if not c.ok] == []


def test_drivers_are_classified(guest: Guest) -> None:
    drivers = {d.service.casefold(): d for d in guest.drivers()}
    assert drivers["ntfs"].origin is Origin.IN_BOX
    assert drivers["fltmgr"].origin is Origin.IN_BOX
    assert drivers["srv2"].start is not StartType.DISABLED
    assert any(d.altitudes for d in drivers.values()), "every Windows has an in-box minifilter"
    assert all(d.image for d in drivers.values() if d.running)


def test_writing_the_settings_as_found_changes_nothing(guest: Guest) -> None:
    before = guest.drivers()
    may = surgery.switchable(before)
    guest.set_drivers(surgery.settings(d for d in before if d.service in may))
    assert surgery.settings(guest.drivers()) == surgery.settings(before)


def test_an_unknown_service_is_refused_before_anything_is_written(guest: Guest) -> None:
    before = surgery.settings(guest.drivers())
    unknown = surgery.DriverSetting("bugcheck-lab-no-such-service", StartType.DISABLED)
    with pytest.raises(GuestError):
        guest.set_drivers([unknown])
    assert surgery.settings(guest.drivers()) == before


def test_verifier_and_crash_control_are_read(guest: Guest) -> None:
    assert guest.verifier().active_flags >= 0
    assert guest.crash_control().dump_file.casefold().endswith(".dmp")


def test_a_restart_is_a_new_boot_and_no_bugcheck(guest: Guest) -> None:
    boot, position = guest.boot(), guest.log_position()
    guest.restart("bugcheck-lab: live test")
    assert guest.wait_for_new_boot(boot).identity != boot.identity
    assert [e for e in guest.bugchecks(position) if e.bugcheck and e.bugcheck.code] == []
