"""A few hundred mutated files with a fixed seed, and every file that was ever a finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from fuzz_limits import attempt
from fuzz_mutations import mutated
from fuzz_seeds import unpacked
from fuzz_targets import BY_NAME, TARGETS, Target
from fuzz_workers import fuzz

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.xz"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_files_raise_errors_of_ours_within_limits(target: Target, tmp_path: Path) -> None:
    tally = fuzz(target, 3 * target.share, seed=20260101, workers=1, save=tmp_path)
    assert [finding.problem for finding in tally.findings.values()] == []
    assert tally.inputs == 3 * target.share


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.name)
def test_a_file_that_was_a_finding(path: Path) -> None:
    """The file's name begins with its target."""
    outcome = attempt(BY_NAME[path.name.partition(".")[0]].run, unpacked(path))
    assert outcome.problem == "", outcome.trace


def test_the_same_seed_makes_the_same_files() -> None:
    seed = BY_NAME["cabinet"].seeds[0]
    made = [mutated(seed, Random(f"again {number}")) for number in range(50)]
    assert made == [mutated(seed, Random(f"again {number}")) for number in range(50)]
    assert len(set(made)) > 40


WHOLE = {seed.data for seed in BY_NAME["cabinet"].seeds}


def _raises(data: bytes) -> None:
    if data not in WHOLE:
        raise IndexError("behind the end")


def _spins(data: bytes) -> None:
    while data not in WHOLE:
        pass


def _grows(data: bytes) -> None:
    held = []
    while data not in WHOLE:
        held.append(bytes(1 << 24))


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (_raises, "IndexError in ?"),
        (_spins, "more than 2.0 s of CPU in ?"),
        (_grows, "more than 512 MiB in ?"),
    ],
)
def test_readers_that_misbehave_are_found(run: Callable[[bytes], None], problem: str, tmp_path: Path) -> None:
    bad = Target("bad", 1, 0, run, BY_NAME["cabinet"].make_seeds)
    (finding,) = fuzz(bad, 1, seed=1, workers=1, save=tmp_path).findings.values()
    assert finding.problem == problem
    assert unpacked(tmp_path / finding.saved) not in WHOLE
