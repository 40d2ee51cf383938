"""`lab bisect` on the command line: what it refuses, and what it rehearses."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import Lab, lab_in
from rich.console import Console

from lab.bisect.belief import Question
from lab.bisect.hypotheses import Kind
from lab.bisect.units import Units
from lab.cli.bisect_rehearsal import table_of
from lab.journal import open_journal
from lab.model import Driver, LoadPlan, Origin, Signature, StartType, Verdict, VerdictKind
from lab.playbook.rehearsal import Expected, Played, Scene, expected, play

STOP = Signature(0x20, 0, "", ())
HOST = """
  {}:
    address: 127.0.0.1
    expendable: {}
    machine: {{kind: fixed}}
    guest: {{shell: {{kind: psrp, user: u, password: {{env: NOWHERE}}}}}}
"""
HOSTS = "hosts:" + "".join(
    HOST.format(*each) for each in (("srv1", "true"), ("srv2", "true"), ("prod", "false"))
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    (tmp_path / "inventory.yaml").write_text(HOSTS, "utf-8")
    yield from lab_in(tmp_path, monkeypatch, capsys)


def a_case(*services: str, verdict: VerdictKind | None = None) -> str:
    Path("lab-data").mkdir(exist_ok=True)
    with open_journal(Path("lab-data/journal.db")) as journal:
        case = journal.new_case("t", STOP, LoadPlan(seconds=600)).id
        made = (
            Driver(s, f"{s}.sys", "", StartType.SYSTEM, True, origin=Origin.THIRD_PARTY) for s in services
        )
        journal.set_drivers(case, made)
        if verdict is not None:
            journal.set_verdict(case, Verdict(verdict, (), 0.5, ()))
    return case


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 3, "--hosts names no host"),
        (("--hosts", ","), 3, "--hosts names no host"),
        (("--hosts", "srv1,srv1"), 3, "names a host twice"),
        (("--hosts", "srv1"), 3, "exactly one of a case, --dump and --bugcheck"),
        (("x", "--bugcheck", "0x20", "--hosts", "srv1"), 3, "exactly one of a case"),
        (("--bugcheck", "green", "--hosts", "srv1"), 3, "'green' is not a bugcheck code"),
        (("x", "y", "--hosts", "srv1"), 3, "one case is needed, not 2"),
        (("x", "--hosts", "srv1"), 3, "there is no case 'x'"),
        (("x", "--hosts", "srv1,srv9"), 3, "srv9"),
        (("x", "--hosts", "srv1,prod"), 3, "prod"),
        (("simulate",), 3, "exactly one of a case and --drivers"),
        (("simulate", "x", "--drivers", "srv1"), 3, "exactly one of a case and --drivers"),
        (("simulate", "x", "y"), 3, "one case is needed, not 2"),
        (("simulate", "--drivers", "srv9"), 3, "'srv9' is neither a file nor a host of the inventory"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_touched(
    lab: Lab, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = lab("bisect", *arguments, "-i", "inventory.yaml")
    assert ended.code == code and says in ended.sentence


def test_a_case_that_is_decided_is_not_searched_again(lab: Lab) -> None:
    case = a_case("a", verdict=VerdictKind.PAIR)
    ended = lab("bisect", case, "--hosts", "srv1", "-i", "inventory.yaml")
    assert ended.code == 3 and ended.sentence == f"case {case} already has its verdict"
    assert "restore" not in ended.err
    with open_journal(Path("lab-data/journal.db")) as journal:
        journal.undo_push("srv2", "verifier settings", "script", {})
    ended = lab("bisect", case, "--hosts", "srv1,srv2", "-i", "inventory.yaml")
    assert "'lab host restore srv2' puts back srv2, still changed." in ended.err
    assert "restore srv1" not in ended.err


def test_a_rehearsal_says_what_to_expect(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "drivers.txt").write_text("# ours\nav\nbackup # old\n\ndlp\nav\n", "utf-8")
    ended = lab(
        *("bisect", "simulate", "--drivers", "drivers.txt", "--hosts", "srv1,srv2"),
        *("--runs", 2, "--budget", 900, "--json"),
    )
    assert ended.code == 0
    answer = json.loads(ended.out)
    assert (answer["units"], answer["hosts"], answer["searches"], answer["budget_minutes"]) == (3, 2, 2, 900)
    assert [(each["culprit"], each["p"]) for each in answer["expected"]] == [
        (kind, p) for kind in ("single", "pair") for p in (1.0, 0.5, 0.2)
    ]
    for each in answer["expected"]:
        shares = [each["of"][name] for name in ("right", "wrong", "undecided")]
        assert sum(shares) == pytest.approx(1.0)
        assert 0 < each["of"]["wall_seconds"][0] <= each["of"]["machine_seconds"][0]


def test_a_case_is_rehearsed_with_its_own_drivers(lab: Lab) -> None:
    case = a_case("av", "backup", "dlp", "vpn")
    ended = lab("bisect", case, "--simulate", "--runs", "2", "--budget", "200")
    assert ended.code == 0
    assert ended.lines[0].startswith(
        "4 units, soaks of 10 min, 4 min besides, 1 host, a budget of 200 machine"
    )
    assert sum(line.startswith(("one driver", "a pair")) for line in ended.lines) == 6
    ended = lab("bisect", case, "--simulate", "--runs", "2", "--load-seconds", "120")
    assert ended.lines[0].startswith("4 units, soaks of 2 min, ")
    ended = lab("bisect", "simulate", a_case())
    assert ended.code == 3 and "does not know the drivers of a host yet" in ended.sentence


@pytest.mark.parametrize("text", ["", "alone\n"])
def test_a_file_without_two_services_is_refused(lab: Lab, tmp_path: Path, text: str) -> None:
    (tmp_path / "drivers.txt").write_text(text, "utf-8")
    ended = lab("bisect", "simulate", "--drivers", "drivers.txt")
    assert ended.code == 3 and "not 2 to 1000" in ended.sentence


QUESTION = Question(Units.of(["a", "b", "c", "d"], {"b": ["a"]}))


def test_the_same_scene_ends_the_same_and_pairs_are_real_ones() -> None:
    for seed in range(4):
        scene = Scene(Kind.PAIR, 1.0, seed, hosts=2)
        assert play(QUESTION, scene) == play(QUESTION, scene)
    assert sum(play(QUESTION, Scene(Kind.SINGLE, 1.0, seed)).right for seed in range(8)) >= 7


def test_a_rehearsal_of_days_fits_into_eighty_columns() -> None:
    dear = Expected(1.0, 0.0, 0.0, (104.0, 120.0), (1234 * 60.0, 1444 * 60.0), (1225 * 60.0, 1439 * 60.0))
    text = io.StringIO()
    Console(file=text, width=80).print(table_of({(Kind.SINGLE, 0.2): dear}))
    lines = text.getvalue().splitlines()
    assert len(lines) == 3 and "1234\u00a0≤\u00a01444" in lines[2]


def test_shares_and_middles() -> None:
    played = [Played(i % 2 == 0, i != 3, i, 60.0 * i, 30.0 * i) for i in range(1, 5)]
    found = expected(played)
    assert (found.right, found.wrong, found.undecided) == (0.5, 0.25, 0.25)
    assert found.trials[0] == 2.5 and found.machine_seconds[0] == 150.0
    assert expected(played[:1]).trials == (1.0, 1.0)
