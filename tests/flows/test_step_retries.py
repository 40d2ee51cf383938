"""Which failed steps of a flow are tried again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed
from prefect.testing.utilities import prefect_test_harness

from flows import bisect, reproduce
from flows.reproduce import may_pass
from lab.model import CredentialsRefused, GuestError, InfrastructureError, LabError, Refused, TimedOut

ERRORS: list[tuple[LabError, bool]] = [
    (InfrastructureError("connection reset"), True),
    (CredentialsRefused("refused"), False),
    (TimedOut("reachable", 300, "nothing"), False),
    (GuestError("no such service"), False),
    (Refused("not alike"), False),
]


@pytest.mark.parametrize(("error", "again"), ERRORS, ids=lambda each: type(each).__name__)
def test_only_what_may_pass_by_itself_is_tried_again(error: LabError, again: bool) -> None:
    assert may_pass(None, None, Failed(data=error)) is again


@pytest.mark.parametrize("step", [bisect.examine, reproduce.prepare, reproduce.put_back])
def test_every_step_with_retries_asks(step: Any) -> None:
    assert step.retries and step.retry_condition_fn is may_pass


def test_the_scheduler_tells_the_error_and_raises_it_unchanged() -> None:
    tried: list[int] = []

    @task(retries=2, retry_condition_fn=may_pass, cache_policy=NO_CACHE, persist_result=False)
    def step(error: LabError) -> None:
        tried.append(1)
        raise error

    @flow
    def steps(work: Callable[[], None]) -> None:
        work()

    with prefect_test_harness():
        for error, again in ERRORS[:1] + ERRORS[2:3]:
            tried.clear()
            with pytest.raises(type(error), match=error.message):
                steps(lambda error=error: step(error))  # type: ignore[misc]
            assert len(tried) == (3 if again else 1)
