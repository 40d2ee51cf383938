"""The guest's facade over a shell: what is read, what is believed, and how restarts are waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.inventory import Timeouts
from lab.model import (
    BootMode,
    Bugcheck,
    ClassFilter,
    CrashControl,
    CredentialsRefused,
    DriverSetting,
    GuestError,
    InfrastructureError,
    NotApplied,
    Origin,
    QueueSample,
    StartType,
    TimedOut,
    VerifierPlan,
)
from lab.windows import Guest, Script
from lab.windows.shell import Parameter, parse_output

Answer = list[dict[str, Any]] | Exception
GUID = "{4d36e967-e325-11ce-bfc1-08002be10318}"


class Scripted:
    """A shell that gives prepared answers, by script; the last one again and again."""

    def __init__(self, **answers: Answer | list[Answer]) -> None:
        self.answers = {
            name.replace("_", "-"): list(a) if self._many(a) else [a] for name, a in answers.items()
        }
        self.seen: list[tuple[str, dict[str, Parameter]]] = []

    @staticmethod
    def _many(answer: object) -> bool:
        return isinstance(answer, list) and bool(answer) and not isinstance(answer[0], dict)

    def run(self, script: Script, **parameters: Parameter) -> list[dict[str, Any]]:
        self.seen.append((script.name, parameters))
        queue = self.answers[script.name]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.seen.append(("close", {}))


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def guest(shell: Scripted, clock: Clock | None = None, **timeouts: float) -> Guest:
    return Guest(shell, clock or Clock(), Timeouts(**timeouts), pinned={"Hba": "boots from it"})


def boot_row(boot_id: int = 7, **changed: object) -> dict[str, Any]:
    return {
        "bootId": boot_id,
        "bootTime": f"2026-01-02T03:0{boot_id % 10}:05.000Z",
        "now": "2026-01-02T04:00:00.000Z",
        "computer": "LAB1",
        "build": 17763,
        "osName": "Windows Server 2019",
        "uuid": "4C4C4544-0000",
        "processors": 4,
        "memoryBytes": 1 << 34,
    } | changed


def driver_row(service: str, **changed: object) -> dict[str, Any]:
    return {
        "service": service,
        "displayName": f"{service} Driver",
        "imagePath": f"\\SystemRoot\\System32\\drivers\\{service}.sys",
        "start": 1,
        "errorControl": 1,
        "group": "",
        "type": 1,
        "running": True,
        "company": "Acme",
        "signer": "Acme Inc.",
        "version": "1.0.0.0",
        "altitudes": [],
        "classFilters": [],
        "dependsOn": [],
    } | changed


def test_a_boot() -> None:
    boot = guest(Scripted(Get_LabBoot=[boot_row()])).boot()
    assert boot.identity == "7/2026-01-02T03:07:05.000Z"
    assert (boot.computer, boot.build, boot.processors) == ("LAB1", 17763, 4)


def test_drivers_are_classified_and_pinned() -> None:
    rows = [
        driver_row("zeta", altitudes=["189600"]),
        driver_row("Ntfs", company="Microsoft Corporation", signer="Microsoft Windows"),
        driver_row("Hba"),
        driver_row("Gone", company="", signer="", version="", running=False, imagePath=None),
        driver_row("Filter", classFilters=[place(1), place(0, "lower")], imagePath='"C:\\a b\\flt.sys'),
    ]
    by_name = {d.service: d for d in guest(Scripted(Get_LabDriver=rows)).drivers()}
    assert list(by_name) == ["Filter", "Gone", "Hba", "Ntfs", "zeta"]
    assert by_name["zeta"].is_minifilter and by_name["zeta"].origin is Origin.THIRD_PARTY
    assert by_name["zeta"].image == "zeta.sys" and not by_name["zeta"].pinned
    assert by_name["Ntfs"].origin is Origin.IN_BOX
    assert by_name["Hba"].pinned == "boots from it"
    assert by_name["Gone"].origin is Origin.UNKNOWN and by_name["Gone"].image == "Gone.sys"
    assert by_name["Filter"].image == "flt.sys"
    assert [f.position for f in by_name["Filter"].class_filters] == ["lower", "upper"]


def place(index: int, position: str = "upper") -> dict[str, Any]:
    return {"classGuid": GUID, "className": "DiskDrive", "position": position, "index": index}


SETTINGS = [
    DriverSetting("BadDriver", StartType.DISABLED),
    DriverSetting("Filter", StartType.BOOT, (ClassFilter(GUID, "DiskDrive", "upper", 1),)),
]


def test_driver_settings_are_written_as_lists_and_read_back() -> None:
    held = [
        {"service": "baddriver", "start": 4, "classFilters": []},
        {"service": "Filter", "start": 0, "classFilters": [place(1)]},
    ]
    shell = Scripted(Set_LabDriver=held)
    guest(shell).set_drivers(SETTINGS)
    assert shell.seen == [
        (
            "Set-LabDriver",
            {
                "Service": ["BadDriver", "Filter"],
                "Start": [4, 0],
                "ClassFilter": [f"Filter|{GUID}|upper|1"],
            },
        )
    ]
    guest(shell).set_drivers([])
    assert len(shell.seen) == 1  # nothing to do is nothing done


def test_settings_that_do_not_hold_are_named() -> None:
    held = [
        {"service": "BadDriver", "start": 1, "classFilters": []},
        {"service": "Filter", "start": 0, "classFilters": [place(0)]},
    ]
    with pytest.raises(
        NotApplied, match="BadDriver has start type 1 instead of 4; Filter has other"
    ) as caught:
        guest(Scripted(Set_LabDriver=held)).set_drivers(SETTINGS)
    assert caught.value.services == ("BadDriver", "Filter")
    with pytest.raises(NotApplied, match="Filter was not read back"):
        guest(Scripted(Set_LabDriver=[held[0] | {"start": 4}])).set_drivers(SETTINGS)


VERIFIER = {
    "pendingFlags": 0x810,
    "pendingDrivers": ["BadDriver.sys"],
    "bootMode": "OneBoot",
    "activeFlags": 0,
    "activeDrivers": [],
}


def test_verifier_state_keeps_pending_and_active_apart() -> None:
    state = guest(Scripted(Get_LabVerifier=[VERIFIER])).verifier()
    assert state.pending == VerifierPlan(0x810, ("BadDriver.sys",), BootMode.ONE_BOOT)
    assert state.active_flags == 0 and state.active_drivers == ()


@pytest.mark.parametrize("code", [0, 2])
def test_verifier_accepts(code: int) -> None:
    done = {
        "exitCode": code,
        "message": "",
        "pendingFlags": 0x800,
        "pendingDrivers": ["B.sys", "a.SYS"],
    }
    shell = Scripted(Set_LabVerifier=[done])
    guest(shell).set_verifier(VerifierPlan(0x800, ("A.sys", "b.sys"), BootMode.RESET_ON_BOOT_FAIL))
    assert shell.seen == [
        ("Set-LabVerifier", {"Flags": 0x800, "Driver": ["A.sys", "b.sys"], "BootMode": "resetonbootfail"})
    ]


def test_verifier_refuses_or_does_not_hold() -> None:
    done = {"exitCode": 1, "message": "Zugriff\r\n verweigert", "pendingFlags": 0, "pendingDrivers": []}
    with pytest.raises(GuestError, match=r"refused the settings \(exit code 1\): Zugriff verweigert"):
        guest(Scripted(Set_LabVerifier=[done])).set_verifier(VerifierPlan(0x800, ("A.sys",)))
    with pytest.raises(
        NotApplied, match=r"asked for flags 0x800 and A\.sys, the registry has 0x0 and no drivers"
    ):
        guest(Scripted(Set_LabVerifier=[done | {"exitCode": 2}])).set_verifier(
            VerifierPlan(0x800, ("A.sys",))
        )


CRASH = {
    "crashDumpEnabled": 2,
    "autoReboot": 1,
    "overwrite": 1,
    "alwaysKeepMemoryDump": 0,
    "dumpFile": "C:\\Windows\\MEMORY.DMP",
    "systemDriveFreeBytes": 1 << 36,
    "dumpInitializationFailed": False,
}


def test_crash_control() -> None:
    control = guest(Scripted(Get_LabCrashControl=[CRASH])).crash_control()
    assert control == CrashControl(2, True, True, False, "C:\\Windows\\MEMORY.DMP", 1 << 36, False)
    shell = Scripted(Set_LabCrashControl=[CRASH])
    guest(shell).set_crash_control(control)
    assert shell.seen[0][1] == {
        "CrashDumpEnabled": 2,
        "AutoReboot": 1,
        "Overwrite": 1,
        "AlwaysKeepMemoryDump": 0,
    }
    shell = Scripted(Set_LabCrashControl=[CRASH | {"autoReboot": 0}])
    with pytest.raises(NotApplied, match="auto_reboot is False"):
        guest(shell).set_crash_control(control)


def test_events() -> None:
    numbers = ["0x0000000000000000", "0x000000000000ffff", "0x0", "0x1"]
    time = "2026-01-02T03:04:05.000Z"
    rows = [
        {"record": 5, "eventId": 46, "time": time, "code": None, "parameters": None, "dumpPath": ""},
        {
            "record": 6,
            "eventId": 1001,
            "time": time,
            "code": 32,
            "parameters": numbers,
            "dumpPath": "C:\\M.DMP",
        },
    ]
    shell = Scripted(Get_LabBugcheck=rows, Get_LabLogPosition=[{"record": 6}])
    no_dump, stop = guest(shell).bugchecks(4)
    assert no_dump.bugcheck is None
    assert stop.bugcheck == Bugcheck(0x20, (0, 0xFFFF, 0, 1)) and stop.dump_path == "C:\\M.DMP"
    assert shell.seen[0] == ("Get-LabBugcheck", {"AfterRecord": 4})
    assert guest(shell).log_position() == 6
    assert guest(Scripted(Get_LabBugcheck=[])).bugchecks() == ()


def queue_row(name: str, active: object, available: int = 3, length: int = 1) -> dict[str, Any]:
    counts = {"activeThreads": active, "availableThreads": available, "queueLength": length}
    return {"name": name, **counts, "currentClients": 2}


def test_the_servers_queues_or_why_there_are_none() -> None:
    rows = [queue_row("SMB2 NonBlocking 0", 17), queue_row("SMB2 Blocking 0", 0)]
    shell = Scripted(Get_LabServerQueue=[{"reason": "", "queues": rows}])
    first, second = guest(shell).server_queues()
    assert first == QueueSample(0.0, "SMB2 NonBlocking 0", 17, 3, 1)
    assert (second.queue, second.active_threads) == ("SMB2 Blocking 0", 0)
    none = Scripted(Get_LabServerQueue=[{"reason": "Invalid class", "queues": []}])
    with pytest.raises(GuestError, match="Invalid class"):
        guest(none).server_queues()


@pytest.mark.parametrize(
    "queues", [None, {}, [3], [queue_row("x", None)], [queue_row("x", True)], [queue_row("x", 1)] * 1025]
)
def test_queues_of_the_wrong_shape(queues: object) -> None:
    with pytest.raises(GuestError, match="Get-LabServerQueue"):
        guest(Scripted(Get_LabServerQueue=[{"reason": "", "queues": queues}])).server_queues()


def test_restart_carries_the_token() -> None:
    shell = Scripted(Restart_LabGuest=[{"accepted": True}])
    guest(shell).restart("case 7, trial 3")
    assert shell.seen == [("Restart-LabGuest", {"Token": "case 7, trial 3"})]
    with pytest.raises(GuestError, match="did not accept"):
        guest(Scripted(Restart_LabGuest=[{"accepted": False}])).restart("x")


def test_a_new_boot_is_waited_for_through_every_trouble() -> None:
    shell = Scripted(
        Get_LabBoot=[
            [boot_row(7)],
            [boot_row(7)],
            InfrastructureError("connection refused"),
            TimedOut("script", 5, "nothing"),
            GuestError("CIM is not ready"),
            [boot_row(8)],
        ]
    )
    clock = Clock()
    one = guest(shell, clock, poll=2.0)
    old = one.boot()
    assert one.wait_for_new_boot(old).identity.startswith("8/")
    assert clock.time == 8.0


def test_a_boot_that_never_comes_says_what_was_seen_last() -> None:
    for last, says in (
        ([boot_row(7)], "still the boot of 2026-01-02T03:07:05.000Z"),
        (InfrastructureError("connection refused"), "connection refused"),
    ):
        clock = Clock()
        one = guest(Scripted(Get_LabBoot=[[boot_row(7)], last]), clock, boot=30)
        with pytest.raises(TimedOut, match=says) as caught:
            one.wait_for_new_boot(one.boot())
        assert (caught.value.wait, caught.value.seconds) == ("boot", 30)
        assert clock.time == 30


def test_a_guest_that_never_answers() -> None:
    with pytest.raises(TimedOut, match="for reachable; last seen: refused"):
        guest(Scripted(Get_LabBoot=InfrastructureError("refused")), reachable=3).wait_until_reachable()


READS: dict[str, Callable[[Guest], object]] = {
    "Get-LabBoot": lambda g: g.boot(),
    "Get-LabDriver": lambda g: g.drivers(),
    "Get-LabVerifier": lambda g: g.verifier(),
    "Get-LabCrashControl": lambda g: g.crash_control(),
    "Get-LabBugcheck": lambda g: g.bugchecks(),
}


@pytest.mark.parametrize("script", READS)
@pytest.mark.parametrize("row", [{}, {"start": 9}, {"bootId": "x"}, {"record": True}, {"pendingFlags": None}])
def test_an_answer_of_the_wrong_shape_is_the_guests_error(script: str, row: dict[str, Any]) -> None:
    with pytest.raises(GuestError, match=script):
        READS[script](guest(Scripted(**{script.replace("-", "_"): [row]})))
    if script not in ("Get-LabDriver", "Get-LabBugcheck"):
        with pytest.raises(GuestError, match="answered with 0 objects instead of one"):
            READS[script](guest(Scripted(**{script.replace("-", "_"): []})))


@pytest.mark.parametrize("text", ["", "nope", "{}", "[1]", "null", '"[]"'])
def test_output_that_is_no_array_of_objects(text: str) -> None:
    with pytest.raises(GuestError, match="Get-LabBoot did not answer with a JSON array"):
        parse_output(Script("Get-LabBoot"), text)


def test_a_guest_closes_its_shell() -> None:
    shell = Scripted()
    with guest(shell):
        pass
    assert shell.seen == [("close", {})]


REFUSED = CredentialsRefused("WinRM of 127.0.0.1:5985 refused the credentials of lab")


def test_a_wrong_password_ends_a_wait_within_seconds() -> None:
    clock = Clock()
    with pytest.raises(CredentialsRefused, match="refused the credentials of lab") as caught:
        guest(Scripted(Get_LabBoot=REFUSED), clock).wait_until_reachable()
    assert clock.time <= 5 and caught.value.exit_code == 4
    with pytest.raises(CredentialsRefused):
        one = guest(Scripted(Get_LabBoot=[[boot_row(7)], REFUSED]), Clock())
        one.wait_for_new_boot(one.boot())


def test_a_guest_that_is_starting_may_refuse_for_a_moment() -> None:
    down = InfrastructureError("connection refused")
    answers: list[Answer] = [REFUSED, REFUSED, down, REFUSED, REFUSED, [boot_row(7)]]
    assert guest(Scripted(Get_LabBoot=answers)).wait_until_reachable().identity.startswith("7/")


def test_every_driver_is_a_verifier_setting() -> None:
    done = {"exitCode": 2, "message": "", "pendingFlags": 0x9BB, "pendingDrivers": ["*"]}
    guest(Scripted(Set_LabVerifier=[done])).set_verifier(VerifierPlan(0x9BB, ("*",)))
    with pytest.raises(
        NotApplied, match=r"asked for flags 0x9bb and no drivers, the registry has 0x9bb and \*"
    ):
        guest(Scripted(Set_LabVerifier=[done])).set_verifier(VerifierPlan(0x9BB))
