"""Several processes on one journal at the same time."""

from __future__ import annotations

import itertools
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from lab.journal import open_journal
from lab.model import EntryKind, InfrastructureError, LoadPlan, Recipe, Signature, Survived, VerifierPlan

PROCESSES, ROUNDS = 3, 30
RECIPE = Recipe(frozenset(), VerifierPlan(), LoadPlan())


def _pool(kind: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context(kind))


def write_notes(path: Path, case_id: str, who: int) -> list[int]:
    with open_journal(path) as journal:
        return [journal.note(case_id, EntryKind.STEP, f"{who}/{i}").number for i in range(ROUNDS)]


def test_notes_of_all_processes_get_numbers_without_gaps(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        case_id = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        with _pool("spawn") as pool:
            futures = [pool.submit(write_notes, path, case_id, who) for who in range(PROCESSES)]
            numbers = [n for f in futures for n in f.result()]
        entries = journal.entries(case_id)
    assert sorted(numbers) == list(range(1, PROCESSES * ROUNDS + 1))
    assert [e.number for e in entries] == sorted(numbers)
    for who in range(PROCESSES):  # each process's own notes stay in its own order
        assert [e.text for e in entries if e.text.startswith(f"{who}/")] == [
            f"{who}/{i}" for i in range(ROUNDS)
        ]


def use_host(path: Path, who: int, rounds: int) -> list[tuple[int, float, float]]:
    """Lease a host, hold it a moment, give it back: (token, from, until) of each time."""
    held = []
    with open_journal(path) as journal:
        while len(held) < rounds:
            try:
                lease = journal.acquire("srv1", f"process {who}", 30)
            except InfrastructureError:
                time.sleep(0.001)
                continue
            start = time.monotonic()
            time.sleep(0.002)
            held.append((lease.token, start, time.monotonic()))
            assert journal.release(lease)
    return held


def test_a_host_has_one_holder_at_a_time_and_every_token_is_new(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"  # made by whoever comes first
    with _pool("spawn") as pool:
        futures = [pool.submit(use_host, path, who, 10) for who in range(PROCESSES)]
        held = sorted(h for f in futures for h in f.result())
    assert [token for token, _, _ in held] == list(range(1, PROCESSES * 10 + 1))
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(held))


def make_journal(path: Path) -> int:
    with open_journal(path) as journal:
        return len(journal.cases())


def test_processes_that_make_the_journal_together_make_one(tmp_path: Path) -> None:
    with _pool("spawn") as pool:
        for i in range(15):
            path = tmp_path / f"{i}.db"
            assert list(pool.map(make_journal, [path] * PROCESSES)) == [0] * PROCESSES


def end_it(path: Path, case_id: str, who: int) -> bool:
    with open_journal(path) as journal:
        try:
            journal.end_trial(case_id, 1, Survived(float(who)), (), None, 1.0)
        except InfrastructureError:
            return False
        return True


def test_one_of_several_processes_ends_a_trial(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        case_id = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        journal.begin_trial(case_id, "h", RECIPE)
        with _pool("spawn") as pool:
            futures = [pool.submit(end_it, path, case_id, who) for who in range(PROCESSES)]
            won = [who for who, f in enumerate(futures) if f.result()]
        (trial,) = journal.case(case_id).trials
    assert len(won) == 1 and trial.outcome == Survived(float(won[0]))


FORKING = """
import multiprocessing, sys
from pathlib import Path
from lab.journal import open_journal
from lab.model import EntryKind, LoadPlan, Signature

with open_journal(Path(sys.argv[1])) as journal:
    case_id = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id

    def write(who):
        for i in range(20):
            journal.note(case_id, EntryKind.STEP, f"{who} {i}")

    process = multiprocessing.get_context("fork").Process(target=write, args=("child",))
    process.start()
    write("parent")
    process.join(30)
    assert process.exitcode == 0
    assert [e.number for e in journal.entries(case_id)] == list(range(1, 41))
"""


def test_an_open_journal_may_be_used_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    """In an interpreter of its own: forking one that runs other tests' threads proves nothing."""
    command = [sys.executable, "-c", FORKING, str(tmp_path / "journal.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
