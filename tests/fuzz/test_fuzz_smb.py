"""The SMB client on damaged answers, and proof that a client which believes too much would be found."""

from __future__ import annotations

from collections.abc import Callable

import fuzz_smb
import pytest
from fuzz_limits import attempt
from fuzz_smb_mutations import PREFIX
from fuzz_targets import BY_NAME
from fuzz_workers import make_input

from lab.smb.load.flights import Flights
from lab.smb.outstanding import Outstanding

INPUTS = 300
SEED = 20260301


@pytest.mark.parametrize("name", ["smb replies", "smb read answers"])
def test_damaged_answers_raise_errors_of_ours_within_limits(name: str) -> None:
    target = BY_NAME[name]
    found = {}
    for number in range(INPUTS):
        seed, data = make_input(target, SEED, number)
        outcome = attempt(target.run, data)
        if outcome.problem:
            found[outcome.problem] = (number, seed, outcome.trace)
    assert found == {}


def test_undamaged_answers_are_taken_in_to_the_last_byte() -> None:
    """So mutations reach the whole client, and not only its log-on."""
    for seed in BY_NAME["smb replies"].seeds:
        assert fuzz_smb.played(seed.data) == len(seed.data) - PREFIX, seed.name


def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outstanding, "_check", lambda *_: None)


def _miscounting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flights, "land_run", lambda *_: True)


@pytest.mark.parametrize(("name", "spoil"), [("smb replies", _trusting), ("smb read answers", _miscounting)])
def test_a_client_that_believes_too_much_is_found(
    name: str, spoil: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = BY_NAME[name]
    inputs = [make_input(target, SEED, number)[1] for number in range(INPUTS)]
    spoil(monkeypatch)
    assert any(attempt(target.run, data).problem for data in inputs)
