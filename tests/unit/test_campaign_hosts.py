"""Which hosts take part in a campaign: those that are ready, and alike."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from campaign_world import SETUP, START, Computer, FakeBench, Killed, Lab, Stage, drivers

from lab.model import (
    EntryKind,
    InfrastructureError,
    Invalid,
    InvalidReason,
    Recipe,
    Refused,
    VerdictKind,
)
from lab.trials import Tasks
from lab.trials.members import Members

ONE = (VerdictKind.DRIVER, ("drv05",))


def warned(lab: Lab) -> list[str]:
    return [entry.text for entry in lab.case().entries if entry.kind is EntryKind.WARNING]


def _other(computer: Computer, **changes: object) -> None:
    computer.drivers = (*computer.drivers[:-1], replace(computer.drivers[-1], **changes))  # type: ignore[arg-type]


def test_hosts_that_differ_are_refused_with_one_sentence(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=5)
    _other(lab.computers[1], version="2.0")
    lab.computers[2].drivers = drivers(14)
    lab.computers[3].build = 20348
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == ONE
    assert {t.host for t in lab.case().trials} == {"srv1", "srv5"}
    refused = sorted(text.partition(": its trials")[0] for text in warned(lab))
    assert refused == [
        "srv2 is left out: srv2 has another version of drv11.sys",
        "srv3 is left out: srv3 also runs drv12.sys, drv13.sys",
        "srv4 is left out: srv4 is build 20348, not 17763",
    ]


def test_a_case_is_not_gone_on_with_on_hosts_of_another_kind(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2)
    with pytest.raises(Killed):
        lab.search(Stage(kill_at=150.0))
    for computer in lab.computers:
        _other(computer, running=False)
    with pytest.raises(Refused, match=r"does not run drv11\.sys"):
        lab.search()


def test_a_host_that_takes_long_to_prepare_joins_the_others_later(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=4, slow={"srv1": 100.0, "srv3": 200.0, "srv4": 200.0})
    _other(lab.computers[3], pinned="its network card")
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == ONE
    begun: dict[str, float] = {}
    for trial in lab.case().trials:
        begun.setdefault(trial.host, (datetime.fromisoformat(trial.started) - START).total_seconds())
    assert begun == {"srv1": 120.0, "srv2": 120.0, "srv3": 200.0}
    assert warned(lab) == [
        "srv3 is not ready yet: the others begin",
        "srv4 is not ready yet: the others begin",
        "srv4 is left out: srv4 must keep drv11.sys, which the others switch off: "
        "its trials would say nothing of the other hosts",
    ]


def test_a_host_that_came_back_otherwise_after_a_failed_boot_is_left_out(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2)

    def invalid(host: str, recipe: Recipe) -> Invalid | None:
        if host != "srv2" or not recipe.disabled:
            return None
        _other(lab.computers[1], version="1.0")  # as its checkpoint has it
        return Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")

    lab.invalid = invalid
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == ONE
    (said,) = warned(lab)
    assert said.startswith("srv2 is left out: srv2 has another version of drv11.sys")


def test_a_driver_that_one_host_pins_is_never_switched_off(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2)
    _other(lab.computers[1], pinned="its network card")
    lab.search()
    assert not any("drv11" in t.recipe.disabled for t in lab.case().trials)
    assert next(d.pinned for d in lab.case().drivers if d.service == "drv11") == "its network card"


def putting_back(lab: Lab, monkeypatch: pytest.MonkeyPatch, fails: str = "") -> dict[str, float]:
    """When hosts are put back outside the scheduler; `fails` takes for ever, and cannot be."""
    at: dict[str, float] = {}

    def put_back(bench: FakeBench) -> None:
        if bench.computer.name == fails:
            lab.stage.sleep(1e6)
            raise InfrastructureError("no route to srv2")
        at[bench.computer.name] = lab.stage.time

    for module in (Tasks.__module__, Members.__module__):
        monkeypatch.setattr(sys.modules[module], "put_back", put_back)
    return at


def test_a_host_that_is_busy_does_not_keep_the_others_from_being_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2, slow={"srv2": 5000.0})
    at = putting_back(lab, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        lab.search(Stage(interrupt_at=190.0))
    assert at["srv1"] <= 190.0 + SETUP and at["srv2"] == 5000.0


def test_a_host_that_was_left_out_and_stays_changed_is_told_of_after_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Invalid(InvalidReason.INFRASTRUCTURE, "the network is down")
    lab = Lab(tmp_path, ("drv05",), invalid=lambda host, recipe: broken if host == "srv2" else None)
    putting_back(lab, monkeypatch, fails="srv2")
    assert lab.search().culprits == ("drv05",)
    assert warned(lab)[1:] == [
        "srv2 is still changed: no route to srv2; 'lab host restore srv2' puts it back",
    ]
