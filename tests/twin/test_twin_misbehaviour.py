"""The twin misbehaves as told, and only then."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import smbclient
import sushy
from twin_client import Start, forget, until

from lab.model import ConfigurationError
from lab.twin.server import Twin, TwinSettings


def test_misbehaving_no_dump(start: Start) -> None:
    twin = start(misbehave=frozenset({"no-dump"}))
    boot = twin.boot()
    assert twin.script("Get-LabCrashControl")[0]["dumpInitializationFailed"] is True
    position = twin.script("Get-LabLogPosition")[0]["record"]
    twin.system().reset_system(sushy.ResetType.NMI)
    twin.wait_boot(boot["bootId"])
    events = twin.script("Get-LabBugcheck", AfterRecord=position)
    assert [event["eventId"] for event in events] == [41, 46]
    assert not (twin.state / "disk" / "Windows" / "MEMORY.DMP").exists()


def test_misbehaving_slow_boot(start: Start) -> None:
    switched_on = time.time()  # by the guest's clock, too; then its own runs faster
    booted = datetime.fromisoformat(start(misbehave=frozenset({"slow-boot"})).boot()["bootTime"])
    assert booted.timestamp() - switched_on > 300, "40 seconds are usual"


def test_misbehaving_winrm_that_refuses_for_a_while(start: Start) -> None:
    twin = start(misbehave=frozenset({"winrm-refuses"}), speed=60)
    boot = twin.boot()
    twin.script("Restart-LabGuest", Token="t")
    cache: dict[str, Any] = {}
    share = twin.share("LabData")
    time.sleep(0.5)

    def listed() -> bool:
        try:
            return bool(smbclient.listdir(share, **twin.smb(cache)))
        except Exception:
            forget(cache)
            return False

    until(listed)
    with pytest.raises(Exception):  # noqa: B017
        twin.boot()
    forget(cache)
    twin.wait_boot(boot["bootId"])


def test_misbehaving_driver_that_sticks(start: Start) -> None:
    twin = start(misbehave=frozenset({"driver-sticks"}))
    done = twin.script("Set-LabDriver", Service=["LumidrakeSelf", "BwQuota"], Start=[4, 4], ClassFilter=[])
    assert [row["start"] for row in done] == [4, 4]
    twin.restart()
    rows = {row["service"]: row for row in twin.script("Get-LabDriver")}
    assert (rows["LumidrakeSelf"]["start"], rows["LumidrakeSelf"]["running"]) == (1, True)
    assert (rows["BwQuota"]["start"], rows["BwQuota"]["running"]) == (4, False)


def test_misbehaving_verifier_that_refuses(start: Start) -> None:
    twin = start(misbehave=frozenset({"verifier-refused"}))
    done = twin.script("Set-LabVerifier", Flags=0x800, Driver=["x.sys"], BootMode="persistent")[0]
    assert (done["exitCode"], done["pendingFlags"], done["pendingDrivers"]) == (1, 0, [])
    assert "denied" in done["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"build": 9200}, "build 9200"),
        ({"culprit": "Ntfs"}, "'Ntfs'"),
        ({"misbehave": frozenset({"fire"})}, "'fire'"),
        ({"speed": 0.0}, "speed 0"),
    ],
)
def test_settings_without_sense_are_refused(tmp_path: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Twin(TwinSettings(state=tmp_path, **changes))
