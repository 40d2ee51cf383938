"""What a campaign stands on: threads, halts, and hosts that are alike."""

from __future__ import annotations

import contextvars
import threading
import time
from dataclasses import replace

import pytest

from lab.model import Driver, InfrastructureError, Origin, StartType
from lab.trials.alike import difference, pinned_anywhere
from lab.trials.crew import Threads
from lab.trials.halt import Halt, Halted, HaltingClock


def driver(name: str, **changes: object) -> Driver:
    made = Driver(name, f"{name}.sys", "", StartType.SYSTEM, True, version="1", origin=Origin.THIRD_PARTY)
    return replace(made, **changes)  # type: ignore[arg-type]


HERE = (driver("a"), driver("b"), driver("Ntfs", origin=Origin.IN_BOX))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (HERE, ""),
        ((driver("A", image="A.SYS"), *HERE[1:]), ""),
        ((*HERE, driver("fs", origin=Origin.IN_BOX)), ""),
        ((*HERE, driver("off", running=False)), ""),
        ((*HERE, driver("tool", start=StartType.DEMAND)), ""),
        (HERE[1:], "does not run a.sys"),
        ((driver("a", running=False), *HERE[1:]), "does not run a.sys"),
        ((driver("a", version="2"), *HERE[1:]), "has another version of a.sys"),
        ((*HERE, driver("c"), driver("d", origin=Origin.UNKNOWN)), "also runs c.sys, d.sys"),
        ((driver("c"), *HERE[1:]), "does not run a.sys, also runs c.sys"),
        (
            (*HERE, *(driver(f"x{i}") for i in range(9))),
            "also runs x0.sys, x1.sys, x2.sys, x3.sys and 5 more",
        ),
    ],
)
def test_what_makes_hosts_different(found: tuple[Driver, ...], says: str) -> None:
    assert difference(HERE, found) == says


def test_a_driver_that_a_tool_loads_may_be_there_without_running() -> None:
    wanted = (driver("tool", start=StartType.DEMAND),)
    assert difference(wanted, (replace(wanted[0], running=False),)) == ""
    assert difference(wanted, ()) == "does not run tool.sys"


def test_what_one_host_pins_all_pin() -> None:
    there = (driver("A", pinned="its disk"), driver("b"))
    assert [d.pinned for d in pinned_anywhere(HERE, [HERE, there])] == ["its disk", "", ""]


def test_a_halt_ends_a_sleep_that_has_begun() -> None:
    halt = Halt()
    clock = HaltingClock(halt)
    threading.Timer(0.05, halt.ask, ["the verdict came first"]).start()
    with pytest.raises(Halted) as ended:
        clock.sleep(60)
    assert ended.value.why == "the verdict came first" and not isinstance(ended.value, Exception)
    halt.ask("another reason")
    assert halt.why == "the verdict came first"


def test_threads_tell_results_and_errors_and_know_the_context() -> None:
    asked: contextvars.ContextVar[str] = contextvars.ContextVar("asked")
    asked.set("the flow")
    crew = Threads(time.monotonic)

    def fails() -> None:
        raise InfrastructureError("gone")

    crew.begin("a", asked.get)
    done = crew.wait(30)
    assert done is not None and (done.host, done.result, done.error) == ("a", "the flow", None)
    crew.begin("b", fails)
    done = crew.wait(30)
    assert done is not None and done.host == "b" and isinstance(done.error, InfrastructureError)
    assert crew.wait(0.01) is None
