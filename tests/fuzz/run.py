"""`make fuzz`: mutated files by the ten thousand, and what came of it in benchmarks/results/fuzz.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

from fuzz_targets import BY_NAME, TARGETS  # noqa: E402
from fuzz_workers import Tally, fuzz  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"
FOUND = ROOT / "tests" / "fuzz" / "found"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=100_000, help="mutated files in total")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options.add_argument("--target", choices=sorted(BY_NAME), action="append", help="only this one")
    options.add_argument("--no-results", action="store_true", help="leave the file of results as it is")
    chosen = options.parse_args()
    targets = [BY_NAME[name] for name in chosen.target] if chosen.target else list(TARGETS)
    shares = sum(target.share for target in targets)
    tallies = []
    for target in targets:
        count = -(-chosen.inputs * target.share // shares)
        tally = fuzz(target, count, seed=chosen.seed, workers=chosen.workers, save=FOUND)
        tallies.append(tally)
        print(line(tally), flush=True)
    if not chosen.no_results:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(as_results(tallies), indent=2) + "\n", encoding="utf-8")
    return 1 if any(tally.findings for tally in tallies) else 0


def line(tally: Tally) -> str:
    return (
        f"{tally.target:9} {tally.inputs:7} inputs  {tally.inputs / max(tally.wall, 1e-9):6.0f}/s  "
        f"slowest {tally.slowest:.2f} s CPU  memory +{tally.memory >> 20} MiB  {len(tally.findings)} findings"
    )


def as_results(tallies: list[Tally]) -> dict[str, object]:
    rows = []
    for tally in tallies:
        findings = [asdict(finding) | {"trace": ""} for finding in tally.findings.values()]
        rows.append(
            {
                "target": tally.target,
                "engine": "structure-aware mutation",
                "inputs": tally.inputs,
                "seed": tally.seed,
                "per_second": round(tally.inputs / max(tally.wall, 1e-9)),
                "slowest_cpu_seconds": round(tally.slowest, 3),
                "most_memory_mib": tally.memory >> 20,
                "findings": findings,
            }
        )
    return {
        "inputs": sum(tally.inputs for tally in tallies),
        "findings": sum(len(tally.findings) for tally in tallies),
        "limits": {"cpu_seconds": 2, "memory_mib": 512},
        "rows": rows,
        "machine": {"python": platform.python_version(), "processors": os.cpu_count()},
    }


if __name__ == "__main__":
    sys.exit(main())
