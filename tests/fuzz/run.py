"""`make fuzz`: mutated files and answers by the ten thousand; results in benchmarks/results/fuzz.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

from fuzz_targets import BY_NAME, TARGETS, Target  # noqa: E402
from fuzz_workers import Tally, fuzz  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"
GUIDED_BY = ROOT / ".venv-oracles" / "bin" / "python"
FOUND = ROOT / "tests" / "fuzz" / "found"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--inputs", type=int, default=140_000, help="mutated files and answers in total")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options.add_argument("--target", choices=sorted(BY_NAME), action="append", help="only this one")
    options.add_argument("--no-guided", action="store_true", help="without atheris")
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
    rows = [row(tally) for tally in tallies]
    if not chosen.no_guided and has_atheris():
        rows += [guided(target, chosen.seed) for target in targets if target.guided]
    if not chosen.no_results:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(as_results(rows), indent=2) + "\n", encoding="utf-8")
    return 1 if any(each["findings"] for each in rows) else 0


def has_atheris() -> bool:
    """Whether the environment for other programs has it, which it does not for every version of Python."""
    try:
        subprocess.run([GUIDED_BY, "-c", "import atheris"], stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        print("no atheris: nothing was guided by coverage")
        return False
    return True


def guided(target: Target, seed: int) -> dict[str, Any]:
    """The row of a run of atheris. That it did not come to its end is a finding, too."""
    FOUND.mkdir(parents=True, exist_ok=True)
    program = [GUIDED_BY, ROOT / "tests" / "fuzz" / "guided.py"]
    with tempfile.TemporaryDirectory(prefix="guided-") as folder:
        command = [*program, target.name, str(target.guided), str(seed), folder]
        environment = {**os.environ, "TMPDIR": folder}  # it ends without cleaning up
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        for saved in Path(folder).glob("*.xz"):
            shutil.move(saved, FOUND / saved.name)
    try:
        found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        print(f"{target.name}: atheris ended early\n{ran.stderr[-3000:]}", file=sys.stderr)
        return {"target": target.name, "inputs": 0, "findings": [{"problem": "atheris ended early"}]}
    print(
        f"{target.name:16} {found['inputs']:7} inputs guided by coverage, {len(found['findings'])} findings"
    )
    return found


def line(tally: Tally) -> str:
    return (
        f"{tally.target:16} {tally.inputs:7} inputs  {tally.inputs / max(tally.wall, 1e-9):6.0f}/s  "
        f"slowest {tally.slowest:.2f} s CPU  memory +{tally.memory >> 20} MiB  {len(tally.findings)} findings"
    )


def row(tally: Tally) -> dict[str, Any]:
    return {
        "target": tally.target,
        "engine": "structure-aware mutation",
        "inputs": tally.inputs,
        "seed": tally.seed,
        "per_second": round(tally.inputs / max(tally.wall, 1e-9)),
        "slowest_cpu_seconds": round(tally.slowest, 3),
        "most_memory_mib": tally.memory >> 20,
        "findings": [asdict(finding) | {"trace": ""} for finding in tally.findings.values()],
    }


def as_results(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "inputs": sum(each["inputs"] for each in rows),
        "findings": sum(len(each["findings"]) for each in rows),
        "limits": {"cpu_seconds": 2, "memory_mib": 512},
        "rows": rows,
        "machine": {"python": platform.python_version(), "processors": os.cpu_count()},
    }


if __name__ == "__main__":
    sys.exit(main())
