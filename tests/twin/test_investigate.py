"""Planted culprits are found by a product that is not told, over the wire, whatever else goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twin_client import PASSWORD, Running, Start

from lab.inventory import load
from lab.journal import Journal, open_journal
from lab.model import Crashed, GuestError, Invalid, InvalidReason, LoadPlan, Relation, Verdict, VerdictKind
from lab.trials import Bench, investigate, open_bench, open_case
from lab.windows import open_guest, surgery

ENV = "BUGCHECK_LAB_TWIN_PASSWORD"


def inventory(folder: Path, twin: Running, symbols: str) -> Path:
    path = folder / "inventory.yaml"
    ends = twin.ends
    path.write_text(
        f"""
hosts:
  twin:
    address: {ends.host}
    expendable: true
    machine: {{kind: redfish, url: "{ends.redfish_url}", user: {ends.user}, ca_file: "{ends.ca_file}",
              password: {{env: {ENV}}}}}
    guest: {{shell: {{kind: psrp, port: {ends.winrm_port}, tls: false, user: {ends.user},
                    password: {{env: {ENV}}}}}}}
    smb: {{port: {ends.smb_port}}}
    symbols: ["{symbols}"]
    timeouts: {{boot: 60, dump: 20, poll: 0.1}}
""",
        "utf-8",
    )
    return path


@contextmanager
def bench(folder: Path, start: Start, **settings: Any) -> Iterator[Bench]:
    """A twin with something planted, a case opened from its customer's dump, and the bench to solve it."""
    customer = folder / "customer.dmp"
    twin = start(customer_dump=customer, speed=150.0, **settings)
    symbols = f"srv*{folder / 'symbols'}*{twin.ends.symbols_url}"
    journal: Journal = open_journal(folder / "journal.db")
    load_plan = LoadPlan("burst", 6.0, 3)
    case = open_case(
        journal, load_plan, dump=customer, expected=None, vault=folder / "vault", symbols=(symbols,)
    )
    host = load([inventory(folder, twin, symbols)]).host("twin", for_use=True)
    with open_bench(host, journal, case.id, folder / "vault") as opened:
        yield opened


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, PASSWORD)


def found(verdict: Verdict, culprit: str) -> None:
    assert (verdict.kind, verdict.culprits) == (VerdictKind.DRIVER, (culprit,))
    assert verdict.probability > 0.95
    assert len(verdict.confirmed_by) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("culprit", "settings"),
    [
        ("QmShield", {"build": 20348, "inlined": True}),
        ("HfMirror", {"build": 7601, "inlined": False}),
        ("OskethWfp", {"build": 17763, "inlined": True}),
    ],
    ids=["minifilter-2022", "class-filter-2008r2", "callback-2019"],
)
def test_each_kind_of_culprit(tmp_path: Path, start: Start, culprit: str, settings: dict[str, Any]) -> None:
    with bench(tmp_path, start, culprit=culprit, seed=11, **settings) as opened:
        before = surgery.settings(opened.guest.drivers())
        found(investigate(opened), culprit)
        assert surgery.settings(opened.guest.drivers()) == before
        case = opened.journal.case(opened.case)
    assert case.verdict is not None
    crashes = [t.outcome for t in case.trials if isinstance(t.outcome, Crashed)]
    assert all(c.relation in (Relation.SAME, Relation.SIBLING) and c.dump in case.crashes for c in crashes)
    assert {case.crashes[c.dump].dump.build for c in crashes} == {settings["build"]}
    assert all((tmp_path / "vault" / c.dump[:2] / f"{c.dump}.dmp").exists() for c in crashes)
    assert PASSWORD not in (tmp_path / "journal.db").read_bytes().decode("latin-1")


@pytest.mark.slow
def test_slow_boots_a_winrm_that_refuses_and_a_driver_that_sticks(tmp_path: Path, start: Start) -> None:
    """A driver that cannot be switched off makes trials invalid until it is left alone."""
    misbehave = frozenset({"slow-boot", "winrm-refuses", "driver-sticks"})
    with bench(tmp_path, start, culprit="HfMirror", seed=4, inlined=False, misbehave=misbehave) as opened:
        verdict = investigate(opened)
        trials = opened.journal.case(opened.case).trials
    stuck = {s for t in trials if isinstance(t.outcome, Invalid) for s in t.outcome.stuck}
    reasons = {t.outcome.reason for t in trials if isinstance(t.outcome, Invalid)}
    assert reasons <= {InvalidReason.NOT_APPLIED}
    if "HfMirror" in stuck:
        assert verdict.kind is not VerdictKind.DRIVER
    else:
        found(verdict, "HfMirror")


@pytest.mark.slow
def test_a_verifier_that_refuses_is_no_verdict_and_leaves_the_host_as_found(
    tmp_path: Path, start: Start
) -> None:
    misbehave = frozenset({"verifier-refused"})
    with bench(tmp_path, start, culprit="QmShield", seed=2, misbehave=misbehave) as opened:
        before = surgery.settings(opened.guest.drivers())
        with pytest.raises(GuestError, match="verifier refused"):
            investigate(opened)
        assert surgery.settings(opened.guest.drivers()) == before
        assert opened.journal.case(opened.case).verdict is None
        assert not opened.journal.undo_pending("twin")


@pytest.mark.slow
def test_a_host_that_cannot_write_dumps_is_refused_before_the_first_trial(
    tmp_path: Path, start: Start
) -> None:
    with bench(tmp_path, start, culprit="QmShield", seed=2, misbehave=frozenset({"no-dump"})) as opened:
        with pytest.raises(GuestError, match="event 46"):
            investigate(opened)
        assert opened.journal.case(opened.case).trials == ()
        with open_guest(opened.host) as guest:
            assert guest.boot().computer
