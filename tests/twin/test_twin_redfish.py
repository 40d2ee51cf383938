"""The machine's power, with unmodified sushy."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest
import requests
import sushy
import sushy.exceptions
from twin_client import Start, until


def test_power_goes_off_and_on(start: Start) -> None:
    twin = start()
    system = twin.system()
    first = twin.boot()
    assert system.power_state is sushy.PowerState.ON
    assert system.uuid == first["uuid"]
    position = twin.script("Get-LabLogPosition")[0]["record"]
    system.reset_system(sushy.ResetType.FORCE_OFF)
    system.refresh()
    assert system.power_state is sushy.PowerState.OFF
    with pytest.raises(requests.ConnectionError):
        twin.boot()
    system.reset_system(sushy.ResetType.ON)
    second = twin.wait_boot(first["bootId"])
    assert second["bootId"] == first["bootId"] + 1
    (event,) = twin.script("Get-LabBugcheck", AfterRecord=position)
    assert (event["eventId"], event["code"], event["parameters"]) == (41, None, None)


def test_a_forced_restart_is_a_new_boot(start: Start) -> None:
    twin = start()
    first = twin.boot()
    twin.system().reset_system(sushy.ResetType.FORCE_RESTART)
    assert twin.wait_boot(first["bootId"])["bootId"] == first["bootId"] + 1


def test_a_graceful_shutdown_is_no_bugcheck(start: Start) -> None:
    twin = start()
    first = twin.boot()
    system = twin.system()
    system.reset_system(sushy.ResetType.GRACEFUL_SHUTDOWN)

    def off() -> bool:
        system.refresh()
        return system.power_state is sushy.PowerState.OFF

    until(off)
    system.reset_system(sushy.ResetType.ON)
    twin.wait_boot(first["bootId"])
    assert twin.script("Get-LabBugcheck", AfterRecord=0) == []


def test_an_nmi_stops_the_guest_and_makes_a_dump(start: Start) -> None:
    twin = start()
    first = twin.boot()
    position = twin.script("Get-LabLogPosition")[0]["record"]
    dump = twin.state / "disk" / "Windows" / "MEMORY.DMP"
    twin.system().reset_system(sushy.ResetType.NMI)
    twin.wait_boot(first["bootId"])
    events = {event["eventId"]: event for event in twin.script("Get-LabBugcheck", AfterRecord=position)}
    assert set(events) == {41, 1001}
    assert events[1001]["code"] == events[41]["code"] == 0x80
    until(lambda: dump.exists() and not (twin.state / "pagefile.sys").exists())
    header = dump.read_bytes()[:0x1000]
    assert header[:8] == b"PAGEDU64"
    assert int.from_bytes(header[0x38:0x3C], "little") == 0x80


def test_wrong_credentials_and_unknown_certificates_are_refused(start: Start) -> None:
    twin = start(wait=False)
    with pytest.raises(sushy.exceptions.AccessError):
        twin.system(password="wrong")
    with pytest.raises((sushy.exceptions.ConnectionError, requests.exceptions.SSLError)):
        sushy.Sushy(twin.ends.redfish_url, auth=sushy.auth.BasicAuth("labadmin", "x"), verify=True)
    answer = requests.get(f"{twin.ends.redfish_url}/redfish/v1/Systems", verify=twin.ends.ca_file)
    assert answer.status_code == 401


def test_it_answers_while_the_guest_is_down(start: Start) -> None:
    twin = start()
    system = twin.system()
    system.reset_system(sushy.ResetType.FORCE_OFF)
    for _ in range(3):
        system.refresh()
        assert system.power_state is sushy.PowerState.OFF
        time.sleep(0.05)
    for reset in (sushy.ResetType.NMI, sushy.ResetType.FORCE_RESTART):
        with pytest.raises(sushy.exceptions.HTTPError):
            system.reset_system(reset)


def test_a_client_that_says_nothing_keeps_nobody_waiting(start: Start) -> None:
    twin = start(wait=False)
    port = urlsplit(twin.ends.redfish_url).port
    with socket.create_connection(("127.0.0.1", port)):
        assert twin.system().power_state is sushy.PowerState.ON


def test_two_twins_have_controllers_of_their_own(start: Start) -> None:
    first, second = start(seed=1, wait=False), start(seed=2, wait=False)
    assert first.ends.system_id != second.ends.system_id
    first.system().reset_system(sushy.ResetType.FORCE_OFF)
    assert first.system().power_state is sushy.PowerState.OFF
    assert second.system().power_state is sushy.PowerState.ON
