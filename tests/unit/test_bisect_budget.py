"""A budget is kept however many hosts share it."""

from __future__ import annotations

import pytest

from lab.bisect import Crashing, Hypothesis, Kind, Question, Units, simulate

QUESTION = Question(Units.plain(f"u{i:02}" for i in range(32)))
BUDGET = 7200.0


@pytest.mark.parametrize("hosts", [1, 4, 8])
def test_hosts_side_by_side_overrun_by_less_than_a_trial_in_all(hosts: int) -> None:
    for seed in range(4):
        world = Crashing([Hypothesis(Kind.SINGLE, ("u07",))], 0.3, seed=seed)
        ended = simulate(QUESTION, world, hosts=hosts, left=BUDGET)
        spent = ended.baseline_seconds + ended.machine_seconds
        assert 0.7 * BUDGET < spent < BUDGET + QUESTION.setup + QUESTION.soak
        assert not ended.decided and ended.answer.would_decide
