"""The guest over WinRM and PSRP, with unmodified pypsrp."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from requests import ConnectionError as Lost
from sushy import ResetType
from twin_client import PASSWORD, Running, ScriptFailed, Start

from lab.inventory import load
from lab.windows import open_guest

VOLUME = "{71a27cdd-812a-11d0-bec7-08002be2092f}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> object:
    """One twin for the tests that leave it as they found it."""
    from twin_client import PASSWORD, SPEED

    from lab.twin.server import Twin, TwinSettings

    state = tmp_path_factory.mktemp("twin")
    twin = Twin(TwinSettings(state=state, password=PASSWORD, speed=SPEED))
    running = Running(twin, twin.start(), Path(state))
    running.wait_boot()
    yield running
    twin.stop()


def test_a_wrong_password_is_refused(shared: Running) -> None:
    for changes in ({"password": "wrong"}, {"username": "nobody"}):
        with pytest.raises(AuthenticationError), shared.connection(**changes) as connection:
            RunspacePool(connection).open()


def test_unsealed_messages_are_refused(shared: Running) -> None:
    with (
        pytest.raises(WinRMTransportError) as caught,
        shared.connection(encryption="never") as connection,
    ):
        RunspacePool(connection).open()
    assert caught.value.code == 500


@pytest.mark.parametrize("user", ["labadmin", ".\\labadmin", "LABADMIN"])
@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_sealed_sessions_work(shared: Running, auth: str, user: str) -> None:
    with shared.connection(auth=auth, username=user) as connection, RunspacePool(connection) as pool:
        assert pool.get_available_runspaces() == 1
        for _ in range(3):
            shell = PowerShell(pool)
            shell.add_script("#Requires -Version 5.1\n# Script: Get-LabLogPosition\n")
            assert len(shell.invoke()) == 1


@pytest.mark.parametrize("auth", ["ntlm", "negotiate", "basic"])
def test_it_speaks_https_with_a_certificate_of_its_own(shared: Running, auth: str) -> None:
    secure = {"port": shared.ends.winrm_tls_port, "ssl": True, "cert_validation": shared.ends.winrm_ca_file}
    with shared.connection(auth=auth, **secure) as connection, RunspacePool(connection) as pool:
        shell = PowerShell(pool)
        shell.add_script("#Requires -Version 5.1\n# Script: Get-LabLogPosition\n")
        assert len(shell.invoke()) == 1
    with (
        pytest.raises(AuthenticationError),
        shared.connection(auth=auth, password="wrong", **secure) as connection,
    ):
        RunspacePool(connection).open()


def test_a_guest_over_https_by_its_inventory_entry(
    shared: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIN", PASSWORD)
    (tmp_path / "lab.yaml").write_text(
        f"hosts:\n  twin:\n    address: {shared.ends.host}\n    machine: {{kind: fixed}}\n    guest:\n"
        f"      shell: {{kind: psrp, port: {shared.ends.winrm_tls_port}, user: {shared.ends.user}, "
        f"password: {{env: TWIN}}, ca_file: {shared.ends.winrm_ca_file}}}\n"
    )
    with open_guest(load([tmp_path / "lab.yaml"]).host("twin")) as guest:
        assert guest.boot().build == 17763


def test_basic_is_not_taken_without_tls(shared: Running) -> None:
    with (
        pytest.raises(AuthenticationError),
        shared.connection(auth="basic", encryption="never") as connection,
    ):
        RunspacePool(connection).open()


def test_https_goes_down_with_the_guest(start: Start) -> None:
    twin = start()
    secure = {"port": twin.ends.winrm_tls_port, "ssl": True, "cert_validation": twin.ends.winrm_ca_file}
    with twin.connection(**secure) as connection:
        pool = RunspacePool(connection)
        pool.open()
        twin.system().reset_system(ResetType.FORCE_OFF)
        with pytest.raises(Lost):
            pool.close()


def test_a_long_script_arrives_in_pieces(shared: Running) -> None:
    with shared.connection() as connection, RunspacePool(connection) as pool:
        shell = PowerShell(pool)
        shell.add_script("#Requires -Version 5.1\n# Script: Get-LabBoot\n" + "# padding\n" * 60_000)
        assert len(shell.invoke()) == 1


def test_many_clients_at_a_time(shared: Running) -> None:
    found: list[int] = []

    def ask() -> None:
        for _ in range(3):
            found.append(shared.boot()["bootId"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert len(set(found)) == 1


def test_an_unknown_shell_is_a_fault(shared: Running) -> None:
    with shared.connection() as connection:
        pool = RunspacePool(connection)
        pool.open()
        shared.twin._services[1]._endpoint.forget()  # type: ignore[index]  # as a restart does
        with pytest.raises(WSManFaultError) as caught:
            pool.close()
        assert caught.value.code == 0x8033805B


def test_a_receive_with_nothing_to_say_times_out(shared: Running) -> None:
    with shared.connection(operation_timeout=1) as connection, RunspacePool(connection) as pool:
        began = time.monotonic()
        with pytest.raises(WSManFaultError) as caught:
            pool.shell.receive("stdout")
        assert caught.value.code == 2150858793
        assert 0.5 < time.monotonic() - began < 15  # 20 s are pypsrp's default


@pytest.mark.parametrize(
    "text",
    ["Get-Process", "# Script: Get-LabBoot", "#Requires -Version 5.1\n# Script: Get-LabSecret\n", ""],
)
def test_anything_but_the_named_scripts_fails_as_in_powershell(shared: Running, text: str) -> None:
    with shared.connection() as connection, RunspacePool(connection) as pool:
        shell = PowerShell(pool)
        shell.add_script(text or " ")
        assert shell.invoke() == []
        assert shell.had_errors
        assert "is not recognized" in str(shell.streams.error[0])


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("Get-LabBoot", {"Extra": 1}, "parameter name 'Extra'"),
        ("Get-LabBugcheck", {"AfterRecord": "soon"}, "argument transformation"),
        (
            "Set-LabDriver",
            {"Service": ["a", "b"], "Start": [4], "ClassFilter": []},
            "has 2 names and Start has 1",
        ),
        ("Set-LabDriver", {"Service": ["QmShield"], "Start": [9], "ClassFilter": []}, "Start must be"),
        ("Set-LabDriver", {"Service": ["QmShield", "no"], "Start": [4, 4], "ClassFilter": []}, "'no'"),
        ("Set-LabDriver", {"Service": ["HfMirror"], "Start": [0], "ClassFilter": ["x"]}, "is not service"),
        ("Set-LabDriver", {}, "0 names"),
        ("Restart-LabGuest", {"Token": "; calc"}, "is not a token"),
    ],
)
def test_bad_parameters_are_refused_and_change_nothing(
    shared: Running, name: str, parameters: dict[str, object], message: str
) -> None:
    before = shared.script("Get-LabDriver")
    with pytest.raises(ScriptFailed, match=message):
        shared.script(name, **parameters)
    assert shared.script("Get-LabDriver") == before


def test_the_guest_says_what_it_is(shared: Running) -> None:
    boot = shared.boot()
    assert boot["build"] == 17763
    assert boot["uuid"] == shared.ends.system_id
    assert boot["now"] > boot["bootTime"]
    assert boot["now"].endswith("Z")
    assert {type(boot[key]) for key in ("bootId", "processors", "memoryBytes")} == {int}


def test_drivers_have_all_that_classifies_them(shared: Running) -> None:
    rows = {row["service"]: row for row in shared.script("Get-LabDriver")}
    assert set(rows["QmShield"]) == {
        "service", "displayName", "imagePath", "start", "errorControl", "group", "type", "running",
        "company", "signer", "version", "altitudes", "classFilters", "dependsOn",
    }  # fmt: skip
    assert rows["QmShield"]["altitudes"] == ["321418.6"]
    assert rows["volsnap"]["classFilters"] == [
        {"classGuid": VOLUME, "className": "Volume", "position": "upper", "index": 0}
    ]
    assert rows["HfMirror"]["classFilters"][0]["index"] == 1
    assert not rows["PellucineToken"]["running"]
    assert rows["VlrScsi"]["group"] == "SCSI Miniport"


def test_drivers_are_set_at_once_and_load_at_the_next_boot(start: Start) -> None:
    twin = start()
    before = {row["service"]: row for row in twin.script("Get-LabDriver")}
    place = before["HfMirror"]["classFilters"][0]
    done = twin.script("Set-LabDriver", Service=["hfmirror", "QmShield"], Start=[4, 4], ClassFilter=[])
    assert done == [
        {"service": "HfMirror", "start": 4, "classFilters": []},
        {"service": "QmShield", "start": 4, "classFilters": []},
    ]
    rows = {row["service"]: row for row in twin.script("Get-LabDriver")}
    assert rows["HfMirror"]["running"] and rows["QmShield"]["running"]
    twin.restart()
    rows = {row["service"]: row for row in twin.script("Get-LabDriver")}
    assert not rows["HfMirror"]["running"] and not rows["QmShield"]["running"]
    back = f"HfMirror|{place['classGuid']}|{place['position']}|{place['index']}"
    twin.script("Set-LabDriver", Service=["HfMirror", "QmShield"], Start=[0, 0], ClassFilter=[back])
    twin.restart()
    assert {row["service"]: row for row in twin.script("Get-LabDriver")} == before


def test_a_filter_left_in_its_list_keeps_the_guest_from_booting(start: Start) -> None:
    twin = start()
    place = f"HfMirror|{VOLUME}|upper|1"
    twin.script("Set-LabDriver", Service=["HfMirror"], Start=[4], ClassFilter=[place])
    twin.script("Restart-LabGuest", Token="t")
    time.sleep(1.2)
    with pytest.raises(Exception):  # noqa: B017 - whatever the client makes of a refused connection
        twin.boot()
    assert twin.system().power_state.value == "On"


def test_the_verifier_is_pending_until_the_next_boot(start: Start) -> None:
    twin = start()
    done = twin.script(
        "Set-LabVerifier", Flags=0x810, Driver=["qmshield.sys", "tvscout.sys"], BootMode="oneboot"
    )
    assert done[0]["exitCode"] == 2
    state = twin.script("Get-LabVerifier")[0]
    assert (state["pendingFlags"], state["bootMode"]) == (0x810, "oneboot")
    assert (state["activeFlags"], state["activeDrivers"]) == (0, [])
    twin.restart()
    state = twin.script("Get-LabVerifier")[0]
    assert (state["activeFlags"], state["activeDrivers"]) == (0x810, ["qmshield.sys", "tvscout.sys"])
    assert (state["pendingFlags"], state["pendingDrivers"]) == (0, [])
    twin.restart()
    assert twin.script("Get-LabVerifier")[0]["activeFlags"] == 0


def test_the_server_counts_its_queue(shared: Running) -> None:
    (answer,) = shared.script("Get-LabServerQueue")
    assert answer["reason"] == ""
    (queue,) = answer["queues"]
    assert queue.pop("name") == "SMB2 NonBlocking 0"
    assert queue == {"activeThreads": 0, "availableThreads": 0, "queueLength": 0, "currentClients": 0}


def test_crash_control_is_kept(shared: Running) -> None:
    before = shared.script("Get-LabCrashControl")[0]
    assert before["dumpFile"] == r"C:\Windows\MEMORY.DMP"
    assert before["dumpInitializationFailed"] is False
    changed = shared.script(
        "Set-LabCrashControl", CrashDumpEnabled=7, AutoReboot=0, Overwrite=1, AlwaysKeepMemoryDump=0
    )[0]
    assert changed == {**before, "crashDumpEnabled": 7, "autoReboot": 0, "alwaysKeepMemoryDump": 0}
    shared.script(
        "Set-LabCrashControl", CrashDumpEnabled=2, AutoReboot=1, Overwrite=1, AlwaysKeepMemoryDump=1
    )
    assert shared.script("Get-LabCrashControl") == [before]


def test_a_planned_restart_is_a_new_boot_and_no_bugcheck(start: Start) -> None:
    twin = start()
    first = twin.boot()
    position = twin.script("Get-LabLogPosition")[0]["record"]
    second = twin.restart()
    assert second["bootId"] == first["bootId"] + 1
    assert second["bootTime"] > first["now"]
    assert second["uuid"] == first["uuid"]
    assert twin.script("Get-LabBugcheck", AfterRecord=position) == []
    assert twin.script("Get-LabLogPosition")[0]["record"] > position


def test_the_verifier_takes_every_driver_or_none(start: Start) -> None:
    twin = start()
    done = twin.script("Set-LabVerifier", Flags=0x9BB, Driver=["*"], BootMode="persistent")[0]
    assert (done["exitCode"], done["pendingFlags"], done["pendingDrivers"]) == (2, 0x9BB, ["*"])
    twin.restart()
    active = twin.script("Get-LabVerifier")[0]["activeDrivers"]
    running = sum(row["running"] for row in twin.script("Get-LabDriver"))
    assert "qmshield.sys" in {name.lower() for name in active} and len(active) == running
    done = twin.script("Set-LabVerifier", Flags=0x800, Driver=[], BootMode="persistent")[0]
    assert (done["exitCode"], done["pendingFlags"], done["pendingDrivers"]) == (2, 0x800, [])
    for refused in (["*", "a.sys"], ["a"], ["a b.sys"]):
        with pytest.raises(ScriptFailed, match="is no file name of a driver"):
            twin.script("Set-LabVerifier", Flags=0x800, Driver=refused, BootMode="persistent")
    assert twin.script("Get-LabVerifier")[0]["pendingDrivers"] == []
