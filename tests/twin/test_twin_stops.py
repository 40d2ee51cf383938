"""What the machine goes through, seen from outside: loads, stops, dumps, restarts and misbehaviour."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
import smbclient
import sushy
from twin_client import PASSWORD, Running, ScriptFailed, Start, forget, until

MINIFILTER, CLASS_FILTER, OTHER = "TarnvaleHsm", "GrvTrack", "OskethWfp"


def all_third_party(twin: Running) -> list[str]:
    rows = twin.script("Get-LabDriver")
    return [
        row["imagePath"].rpartition("\\")[2]
        for row in rows
        if row["running"] and row["signer"] != "Microsoft Windows"
    ]


def verify(twin: Running, flags: int) -> None:
    twin.script("Set-LabVerifier", Flags=flags, Driver=all_third_party(twin), BootMode="persistent")
    twin.restart()


def bugcheck(twin: Running, after: int) -> dict[str, Any]:
    events = {event["eventId"]: event for event in twin.script("Get-LabBugcheck", AfterRecord=after)}
    assert events[41]["code"] == events[1001]["code"]
    assert events[1001]["dumpPath"] == r"C:\Windows\MEMORY.DMP"
    assert len(events[1001]["parameters"]) == 4
    return events[1001]


def whole_dump(twin: Running) -> bytes:
    """MEMORY.DMP over SMB, when it has stopped growing."""
    cache: dict[str, Any] = {}
    path = twin.share("ADMIN$") + r"\MEMORY.DMP"
    sizes = [0]

    def stable() -> bool:
        time.sleep(0.2)
        try:
            sizes.append(smbclient.stat(path, **twin.smb(cache)).st_size)
        except OSError:
            return False
        return sizes[-1] == sizes[-2] > 0

    until(stable)
    with smbclient.open_file(path, "rb", **twin.smb(cache)) as file:
        data: bytes = file.read()
    forget(cache)
    return data


def test_a_load_ends_in_stop_0x20_with_a_dump_after_the_boot(start: Start) -> None:
    twin = start(culprit=MINIFILTER)
    before = twin.boot()
    position = twin.script("Get-LabLogPosition")[0]["record"]
    after = twin.crash()
    assert after["bootId"] == before["bootId"] + 1
    event = bugcheck(twin, position)
    assert event["code"] == 0x20
    data = whole_dump(twin)
    assert data[:8] == b"PAGEDU64"
    assert struct.unpack_from("<I", data, 0x38)[0] == 0x20
    assert [f"0x{value:016x}" for value in struct.unpack_from("<4Q", data, 0x40)] == event["parameters"]


def test_a_stop_breaks_every_connection_and_then_refuses(start: Start) -> None:
    twin = start(culprit=MINIFILTER, speed=60)
    cache: dict[str, Any] = {}
    path = twin.share("LabData") + r"\data-00.bin"
    file = smbclient.open_file(path, "rb", buffering=0, **twin.smb(cache))
    assert file.read(10)
    twin.system().reset_system(sushy.ResetType.NMI)
    with pytest.raises(Exception):  # noqa: B017 - smbprotocol has many names for a broken connection
        file.seek(0)
        file.read(10)
    with pytest.raises(Exception):  # noqa: B017
        twin.boot()
    forget(cache)
    assert not (twin.state / "disk" / "Windows" / "MEMORY.DMP").exists()


@pytest.mark.parametrize("culprit", [MINIFILTER, CLASS_FILTER])
def test_io_verification_stops_at_the_dispatch(start: Start, culprit: str) -> None:
    twin = start(culprit=culprit, inlined=True)
    verify(twin, 0x810)
    position = twin.script("Get-LabLogPosition")[0]["record"]
    twin.crash()
    event = bugcheck(twin, position)
    assert (event["code"], int(event["parameters"][0], 16)) == (0xC4, 0xC5)
    assert int(event["parameters"][2], 16) & 0xFFFF == 0xFFFF


def test_io_verification_does_not_see_what_is_not_on_its_path(start: Start) -> None:
    twin = start(culprit=OTHER)
    verify(twin, 0x810)
    position = twin.script("Get-LabLogPosition")[0]["record"]
    twin.crash()
    assert bugcheck(twin, position)["code"] == 0x20


@pytest.mark.parametrize("culprit", [MINIFILTER, CLASS_FILTER, OTHER])
def test_without_the_culprit_nothing_happens(start: Start, culprit: str) -> None:
    twin = start(culprit=culprit)
    twin.script("Set-LabDriver", Service=[culprit], Start=[4], ClassFilter=[])
    boot = twin.restart()
    for _ in range(3):
        assert twin.burst(600) == 600
        time.sleep(0.2)
    assert twin.boot()["bootId"] == boot["bootId"]


def test_no_reboot_when_told_so(start: Start) -> None:
    twin = start()
    twin.script("Set-LabCrashControl", CrashDumpEnabled=2, AutoReboot=0, Overwrite=1, AlwaysKeepMemoryDump=1)
    boot = twin.restart()
    twin.system().reset_system(sushy.ResetType.NMI)
    time.sleep(1)
    with pytest.raises(Exception):  # noqa: B017
        twin.boot()
    twin.system().reset_system(sushy.ResetType.FORCE_RESTART)
    twin.wait_boot(boot["bootId"])
    assert struct.unpack_from("<I", whole_dump(twin), 0x38)[0] == 0x80


def test_no_dump_when_it_is_switched_off(start: Start) -> None:
    twin = start()
    twin.script("Set-LabCrashControl", CrashDumpEnabled=0, AutoReboot=1, Overwrite=1, AlwaysKeepMemoryDump=1)
    boot = twin.restart()
    position = twin.script("Get-LabLogPosition")[0]["record"]
    twin.system().reset_system(sushy.ResetType.NMI)
    twin.wait_boot(boot["bootId"])
    events = twin.script("Get-LabBugcheck", AfterRecord=position)
    assert [(event["eventId"], event["code"]) for event in events] == [(41, 0x80)]
    assert not (twin.state / "disk" / "Windows" / "MEMORY.DMP").exists()


@pytest.mark.parametrize("build", [7601, 9600, 14393, 20348])
def test_other_builds_crash_too(start: Start, build: int) -> None:
    twin = start(build=build, culprit=MINIFILTER)
    assert twin.boot()["build"] == build
    twin.crash()
    data = whole_dump(twin)
    assert struct.unpack_from("<I", data, 0xC)[0] == build
    assert PASSWORD.encode() not in data
    with pytest.raises(ScriptFailed):
        twin.script("Get-LabSecret")
