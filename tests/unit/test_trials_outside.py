"""What was seen of a bugcheck from outside of the guest counts where the guest has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.machines import OutOfBandStop
from lab.model import (
    Bugcheck,
    BugcheckEvent,
    Case,
    Crashed,
    EntryKind,
    InfrastructureError,
    Invalid,
    InvalidReason,
    Outcome,
    Relation,
    Signature,
    TimedOut,
)
from lab.trials import aftermath as module
from lab.trials.bench import Bench
from lab.trials.outside import Outside

NOW = datetime.now(UTC)
APC = Bugcheck(0x20, (0, 0xFFFF, 0, 1))
OLD = OutOfBandStop(NOW - timedelta(hours=1), Bugcheck(0xD1), "vmware.log of srv1")
LOG = OutOfBandStop(NOW, APC, "vmware.log of srv1")
EVENT = OutOfBandStop(NOW, Bugcheck(0), "VmGuestOSCrashedEvent of srv1")
LOST = InfrastructureError("the vCenter could not be reached")


class Hypervisor:
    """A machine that is a witness: what it tells at the first look, and at the second."""

    def __init__(self, *looks: tuple[OutOfBandStop, ...] | Exception) -> None:
        self.looks = list(looks)

    def stops(self, since: datetime) -> tuple[OutOfBandStop, ...]:
        assert since.tzinfo is not None and since < NOW
        seen = self.looks.pop(0)
        if isinstance(seen, Exception):
            raise seen
        return seen


@dataclass
class FakeBench:
    """A host that came back after a stop, with `events` in its log."""

    machine: object
    events: tuple[BugcheckEvent, ...] = ()
    told: list[tuple[EntryKind, str]] = field(default_factory=list)
    case: str = "c"
    symbols: object = None

    def tell(self, kind: EntryKind, text: str) -> None:
        self.told.append((kind, text))

    @property
    def guest(self) -> Any:
        return SimpleNamespace(bugchecks=lambda position: self.events, crash_control=lambda: None)

    @property
    def vault(self) -> Any:
        return SimpleNamespace(path=lambda sha: sha)

    @property
    def journal(self) -> Any:
        return SimpleNamespace(add_crash=lambda *_: None)

    def warnings(self) -> list[str]:
        return [text for kind, text in self.told if kind is EntryKind.WARNING]


def after_the_stop(
    bench: FakeBench, monkeypatch: pytest.MonkeyPatch, dump: Bugcheck | None = None
) -> Outcome:
    def capture(bench: object, stale: object) -> str:
        if dump is None:
            raise TimedOut("dump", 1, "nothing")
        return "ab" * 32

    found = SimpleNamespace(
        bugcheck=dump, evidence=(), signature=Signature(dump.code if dump else 0, 0, "", ())
    )
    monkeypatch.setattr(module, "_stopped", lambda bench, boot: True)
    monkeypatch.setattr(module, "_bring_back", lambda bench, boot: None)
    monkeypatch.setattr(module, "_capture", capture)
    monkeypatch.setattr(module, "triage", lambda path, symbols, known: found)
    case = SimpleNamespace(expected=Signature(0x20, 0, "", ()), drivers=())
    real = cast(Bench, bench)
    outside = Outside(real)
    return module.after_the_stop(real, cast(Case, case), cast(Any, None), 0, None, 3.0, outside)


def test_without_log_and_dump_the_witness_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(Hypervisor((OLD,), (OLD, LOG)))
    found = after_the_stop(bench, monkeypatch)
    assert isinstance(found, Crashed)
    assert (found.bugcheck, found.relation, found.dump) == (APC, Relation.SAME, "")
    assert found.no_dump_because
    assert (EntryKind.FINDING, f"STOP: {APC.title}, by vmware.log of srv1") in bench.told


def test_a_crash_of_which_nobody_knows_the_code_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = after_the_stop(FakeBench(Hypervisor((), (EVENT,))), monkeypatch)
    assert isinstance(found, Invalid) and found.reason is InvalidReason.INFRASTRUCTURE
    assert found.why.endswith("; VmGuestOSCrashedEvent of srv1 tells of a crash, but not of which")


def test_what_was_seen_before_the_load_is_not_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = OutOfBandStop(OLD.at, OLD.bugcheck, "vmware-1.log of srv1")
    found = after_the_stop(FakeBench(Hypervisor((OLD,), (renamed,))), monkeypatch)
    assert found == Invalid(
        InvalidReason.INFRASTRUCTURE, "connections broke and the host restarted, but its log has no bugcheck"
    )


def test_the_guests_own_log_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    event = BugcheckEvent(1, 1001, "", APC, "")
    other = OutOfBandStop(NOW, Bugcheck(0xD1), "vmware.log of srv1")
    found = after_the_stop(FakeBench(Hypervisor((), (other,)), (event,)), monkeypatch)
    assert isinstance(found, Crashed) and found.bugcheck == APC


@pytest.mark.parametrize("witnessed", [LOG, EVENT])
def test_a_dump_and_a_witness_that_agree(witnessed: OutOfBandStop, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(Hypervisor((), (witnessed,)))
    found = after_the_stop(bench, monkeypatch, APC)
    assert isinstance(found, Crashed) and found.dump and bench.warnings() == []


def test_a_dump_and_a_witness_that_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(Hypervisor((), (LOG,)))
    found = after_the_stop(bench, monkeypatch, Bugcheck(0xD1))
    assert isinstance(found, Crashed) and found.bugcheck.code == 0xD1
    assert bench.warnings() == [f"vmware.log of srv1 says {APC.title}, the dump says {Bugcheck(0xD1).title}"]


@pytest.mark.parametrize("looks", [(LOST, (LOG,)), ((), LOST), (LOST, LOST)])
def test_a_witness_that_cannot_be_asked_spoils_nothing(looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(Hypervisor(*looks), (BugcheckEvent(1, 1001, "", APC, ""),))
    found = after_the_stop(bench, monkeypatch)
    assert isinstance(found, Crashed) and found.bugcheck == APC
    assert f"no look from outside of the guest: {LOST.message}" in bench.warnings()


def test_nothing_is_new_when_what_was_before_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    found = after_the_stop(FakeBench(Hypervisor(LOST, (OLD, LOG))), monkeypatch)
    assert isinstance(found, Invalid)


def test_a_machine_that_is_no_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(after_the_stop(FakeBench(object()), monkeypatch), Invalid)
