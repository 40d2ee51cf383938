"""`make bench-bisect`: our search for a culprit against its goals, other searches, and a limit.

All get the same scenarios. What a search cost and how often it was wrong is counted in simulated minutes, so
another machine gives the same figures; only the time to choose a trial is measured. Writes
benchmarks/results/bisect.json and the pictures of docs/images, and prints the table. `--quick` runs a few
scenarios of each cell and writes nothing. What was run is kept in benchmarks/.cache until the code it ran
changes: an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.analyser import machine
from benchmarks.bisect_cells import Work, works
from benchmarks.bisect_figures import Table
from benchmarks.bisect_picture import calibration, comparison
from benchmarks.bisect_rows import rows_of
from benchmarks.bisect_run import PEERS
from benchmarks.readme_table import BISECT, BISECT_CALIBRATION, BISECT_PICTURE, bisect_table

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "benchmarks" / ".cache" / "bisect"
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
PATIENCE = 3600
"""Seconds for one process."""
QUICK = 25
"""A quick run has so many times fewer scenarios, and at least `FEW`."""
FEW = 10
PEER_CHUNK = 500

Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Some scenarios of a cell, for one process."""

    work: Work
    who: str
    first: int
    count: int

    @property
    def asked(self) -> str:
        job = {"cell": asdict(self.work.cell), "who": self.who, "first": self.first, "count": self.count}
        return json.dumps(job)

    def place(self, prints: dict[str, str]) -> Path:
        mark = prints["peers" if self.who in PEERS else "ours"]
        return CACHE / f"{hashlib.sha256(f'{mark} {self.asked}'.encode()).hexdigest()[:24]}.json"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--quick", action="store_true", help=f"{QUICK} times fewer scenarios; write nothing")
    options.add_argument("--fewer", type=int, default=1, help="so many times fewer scenarios")
    options.add_argument("--cells", default="", help="only cells whose name has this in it; write nothing")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = options.parse_args()
    if not BENCH_PYTHON.exists():
        print("run `benchmarks/install.sh packages` first: there is no .venv-bench", file=sys.stderr)
        return 2
    plan = [work for work in works() if chosen.cells in work.key]
    prints = fingerprints()
    jobs = [job for work in plan for job in jobs_of(work, QUICK if chosen.quick else chosen.fewer)]
    found = run_all(jobs, prints, chosen.processes)
    table = Table.of((job.work, job.who, result) for job, result in found)
    rows = rows_of(table)
    results = {
        "rows": [asdict(row) for row in rows],
        "cells": table.cells(),
        "stated": table.stated,
        "machine": machine(1) | {"quick": chosen.quick, "fewer": chosen.fewer},
    }
    print(bisect_table(results))
    if fingerprints() != prints:
        print("the code changed while it was measured: run it again", file=sys.stderr)
        return 2
    if not (chosen.quick or chosen.cells):
        BISECT.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        BISECT_PICTURE.write_text(comparison(table), encoding="utf-8")
        BISECT_CALIBRATION.write_text(calibration(table.stated), encoding="utf-8")
    return 0 if all(row.met is not False for row in rows) else 1


def jobs_of(work: Work, fewer: int = 1) -> Iterator[Job]:
    """The jobs of a cell with so many times fewer scenarios than a full run, but at least `FEW`."""
    count = min(work.count, max(FEW, work.count // max(fewer, 1)))
    for who, chunk in ((work.who, work.chunk), *((peer, PEER_CHUNK) for peer in work.peers)):
        for first in range(0, count, chunk):
            yield Job(work, who, first, min(chunk, count - first))


def run_all(jobs: Iterable[Job], prints: dict[str, str], processes: int) -> list[tuple[Job, Result]]:
    """Every job's result, from the cache or a process of its own. SystemExit when a process fails."""
    jobs, began, done = list(jobs), time.monotonic(), 0
    CACHE.mkdir(parents=True, exist_ok=True)
    found: dict[Job, Result] = {}
    with ThreadPoolExecutor(processes) as pool:
        waiting = {pool.submit(run_one, job, job.place(prints)): job for job in jobs}
        try:
            for ended in as_completed(waiting):
                job = waiting[ended]
                found[job] = ended.result()
                done += 1
                passed = time.monotonic() - began
                said = (
                    f"{done}/{len(jobs)} · {passed // 60:.0f}:{passed % 60:02.0f} · {job.who}: {job.work.key}"
                )
                print(said, file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [(job, found[job]) for job in jobs]


def run_one(job: Job, place: Path) -> Result:
    if place.exists():
        kept: Result = json.loads(place.read_text("utf-8"))
        return kept
    python = str(BENCH_PYTHON) if job.who in PEERS else sys.executable
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    ran = subprocess.run(
        [python, "-W", "ignore", "-m", "benchmarks.bisect_run"],
        input=job.asked,
        cwd=ROOT,
        env=os.environ | one_thread,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"{job.who}: {job.work.key} failed\n{ran.stderr[-2000:]}")
    result: Result = json.loads(ran.stdout)
    partial = place.with_suffix(f".{os.getpid()}.tmp")
    partial.write_text(ran.stdout, encoding="utf-8")
    partial.replace(place)
    return result


def fingerprints() -> dict[str, str]:
    """Of the sources that a result depends on, ours and the peers'."""
    engine, here = ROOT / "lab" / "bisect", ROOT / "benchmarks"
    common = [here / "bisect_scenarios.py", here / "bisect_run.py", engine / "simulation.py"]
    peers = sorted((here / "bisect_peers").glob("*.py"))
    sources = {"ours": [*common, *sorted(engine.glob("*.py"))], "peers": [*common, *peers]}
    return {
        who: hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()
        for who, paths in sources.items()
    }


if __name__ == "__main__":
    sys.exit(main())
