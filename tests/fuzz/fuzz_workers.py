"""Worker processes that mutate and run, and the process that watches over them.

A worker is a fork of a warm parent: modules, built-in tables and seeds are loaded once. An input that hangs
in native code or ends its process is found by the parent, which goes on with the next one in a new fork.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz_limits import attempt, limit_memory, resident
from fuzz_seeds import packed
from fuzz_targets import Target

STUCK = 20.0
"""Seconds of no progress after which a worker is ended; the CPU limit should have stopped it long before."""


@dataclass
class Finding:
    """A problem and the first input that had it."""

    target: str
    problem: str
    input: int
    seed: str
    saved: str
    times: int = 1
    trace: str = ""


@dataclass
class Tally:
    """What came of one target. Times in seconds of CPU; `memory` is the most that one worker grew by."""

    target: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0  # of all workers together
    wall: float = 0.0
    slowest: float = 0.0
    memory: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)


def make_input(target: Target, seed: int, number: int) -> tuple[str, bytes]:
    """(name of the seed file, the bytes of input `number`); the same for equal arguments."""
    rng = Random(f"{seed} {target.name} {number}")
    chosen = rng.choice(target.seeds)
    return chosen.name, target.mutate(chosen, rng)


def fuzz(target: Target, inputs: int, *, seed: int, workers: int, save: Path) -> Tally:
    """Run `inputs` mutated files. Inputs with problems are saved in the folder `save`."""
    tally = Tally(target.name, seed)
    started = time.monotonic()
    for each in target.seeds:  # warm what is cached, and let no seed itself be a finding by its first run
        _ = each.words
        _note(tally, {"number": -1, "seed": each.name, **_problem(target, each.data)}, each.data, save)
    gc.collect()
    gc.freeze()
    running = [_Worker(target, seed, range(start, inputs, workers)) for start in range(workers)]
    while running:
        ready, _, _ = select.select([worker.output for worker in running], [], [], 1.0)
        for worker in list(running):
            if worker.output in ready:
                for message in worker.read():
                    _account(tally, target, message, seed, save)
            again = worker.next_if_over()
            if again is not None:
                running.remove(worker)
                lost = again.lost
                if lost is not None:
                    message = {"number": lost, "problem": f"the process ended or hung: {again.how}"}
                    _account(tally, target, message, seed, save)
                if again.rest:
                    running.append(_Worker(target, seed, again.rest))
    tally.wall = time.monotonic() - started
    return tally


def _problem(target: Target, data: bytes) -> dict[str, str]:
    outcome = attempt(target.run, data)
    return {"problem": outcome.problem, "trace": outcome.trace}


def _account(tally: Tally, target: Target, message: dict[str, object], seed: int, save: Path) -> None:
    if "inputs" in message:
        tally.inputs += int(str(message["inputs"]))
        tally.seconds += float(str(message["seconds"]))
        tally.slowest = max(tally.slowest, float(str(message["slowest"])))
        tally.memory = max(tally.memory, int(str(message["memory"])))
        return
    name, data = make_input(target, seed, int(str(message["number"])))
    _note(tally, {"seed": name, **message}, data, save)


def _note(tally: Tally, message: dict[str, object], data: bytes, save: Path) -> None:
    problem = str(message.get("problem", ""))
    if not problem:
        return
    known = tally.findings.get(problem)
    if known is not None:
        known.times += 1
        return
    save.mkdir(parents=True, exist_ok=True)
    short = "".join(c if c.isalnum() else "-" for c in problem)[:80].strip("-")
    path = save / f"{tally.target}.{short}.xz"
    path.write_bytes(packed(data))
    number, name = int(str(message["number"])), str(message["seed"])
    trace = str(message.get("trace", ""))
    tally.findings[problem] = Finding(tally.target, problem, number, name, path.name, trace=trace)
    print(f"  {tally.target} input {number} of {name}: {problem}\n{trace}", file=sys.stderr)


@dataclass(frozen=True)
class _Over:
    """A worker is at its end: the input that it did not survive, if any, and what it leaves to do."""

    lost: int | None
    how: str
    rest: range


class _Worker:
    def __init__(self, target: Target, seed: int, numbers: range) -> None:
        self._numbers = numbers
        self._shared = mmap.mmap(-1, 16)  # how many inputs were begun, how many are done
        self._moved = time.monotonic()
        self._seen = (0, 0)
        self._killed = False
        self._rest = b""
        self._closed = False
        self.output, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                os.close(self.output)
                _work(target, seed, numbers, self._shared, lambda text: _send(write, text))
                status = 0
            finally:
                os._exit(status)
        os.close(write)

    def read(self) -> list[dict[str, object]]:
        chunk = os.read(self.output, 1 << 16)
        if not chunk:
            self._closed = True
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def next_if_over(self) -> _Over | None:
        begun, done = struct.unpack("<QQ", self._shared[:16])
        now = time.monotonic()
        if (begun, done) != self._seen:
            self._seen, self._moved = (begun, done), now
        elif now - self._moved > STUCK and not self._killed:
            os.kill(self._pid, signal.SIGKILL)
            self._killed = True
        if not self._closed:
            return None
        _, status = os.waitpid(self._pid, 0)
        os.close(self.output)
        if begun == done:
            return _Over(None, "", self._numbers[begun:])
        how = f"no end after {STUCK:.0f} s" if self._killed else f"wait status {status:#x}"
        return _Over(self._numbers[begun - 1], how, self._numbers[begun:])


def _send(output: int, message: dict[str, object]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(output, data) :]


def _work(
    target: Target,
    seed: int,
    numbers: range,
    shared: mmap.mmap,
    send: Callable[[dict[str, object]], None],
) -> None:
    limit_memory()
    start = resident()
    slowest = spent = 0.0
    done = 0
    for index, number in enumerate(numbers):
        struct.pack_into("<Q", shared, 0, index + 1)
        _, data = make_input(target, seed, number)
        outcome = attempt(target.run, data)
        struct.pack_into("<Q", shared, 8, index + 1)
        done += 1
        spent += outcome.seconds
        slowest = max(slowest, outcome.seconds)
        if outcome.problem:
            send({"number": number, "problem": outcome.problem, "trace": outcome.trace})
        if done == 500 or index == len(numbers) - 1:
            memory = resident() - start
            send({"inputs": done, "seconds": spent, "slowest": slowest, "memory": memory})
            done, spent = 0, 0.0
