"""Running one input under limits, and saying what went wrong with it."""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lab.model import LabError

CPU_SECONDS = 2.0
MEMORY = 512 << 20
ROOT = Path(__file__).parents[2]


class TooSlowError(BaseException):
    """More than the allowed CPU time. No Exception, so that no reader takes it for its own."""


@dataclass(frozen=True)
class Outcome:
    """One run. `problem` is "" when all was well, else what it was and where, the same for equal causes."""

    seconds: float
    problem: str = ""
    trace: str = ""


def limit_memory() -> None:
    """From here on this process may grow by MEMORY; what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def resident() -> int:
    """The most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def attempt(run: Callable[[bytes], None], data: bytes, *, cpu: float = CPU_SECONDS) -> Outcome:
    """Run one input. Errors of our own are what damaged input should get; any other is a problem."""
    start = time.process_time()
    problem = trace = ""
    try:
        with _limited(cpu):
            run(data)
    except LabError:
        pass
    except TooSlowError as error:
        problem, trace = f"more than {cpu} s of CPU in {_where(error)}", traceback.format_exc()
    except MemoryError as error:
        problem, trace = f"more than {MEMORY >> 20} MiB in {_where(error)}", traceback.format_exc()
    except Exception as error:
        problem, trace = f"{type(error).__name__} in {_where(error)}", traceback.format_exc()
    return Outcome(time.process_time() - start, problem, trace[-4000:])


@contextmanager
def _limited(cpu: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _where(error: BaseException) -> str:
    """The innermost place in the product: file and function, not the line, which moves."""
    place = "?"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT / "lab"):
            place = f"{path.relative_to(ROOT)}: {frame.name}"
    return place
