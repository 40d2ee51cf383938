"""Coverage-guided fuzzing of one target with atheris, in the environment of its own that has it.

`.venv-oracles/bin/python tests/fuzz/guided.py TARGET RUNS SEED FOLDER` prints one JSON object at the end.
Half of the mutations are libFuzzer's, half those of `fuzz_mutations`; inputs that reach new code are kept
and mutated further.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

import atheris  # noqa: E402

with atheris.instrument_imports(include=["lab"]):
    from fuzz_targets import BY_NAME

from fuzz_limits import attempt, resident  # noqa: E402
from fuzz_mutations import mutated  # noqa: E402
from fuzz_seeds import packed  # noqa: E402

SMALL = 200_000
"""Bytes of a seed. Larger ones are used only where there are no small ones."""
SLOWER = 4.0
"""Instrumented code takes several times longer, so it gets several times the CPU limit."""


def main() -> None:
    name, runs, number, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    target = BY_NAME[name]
    seeds = [seed for seed in target.seeds if len(seed.data) <= SMALL] or target.seeds[:2]
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / seed.name).write_bytes(seed.data)
    largest = max(len(seed.data) for seed in seeds) + 0x2000
    findings: dict[str, dict[str, object]] = {}
    done, slowest, started, start = 0, 0.0, time.monotonic(), resident()

    def test(data: bytes) -> None:
        nonlocal done, slowest
        outcome = attempt(target.run, data, cpu=2.0 * SLOWER)
        done += 1
        slowest = max(slowest, outcome.seconds / SLOWER)
        if outcome.problem and outcome.problem not in findings:
            path = folder / f"{name}.guided-{len(findings)}.xz"
            path.write_bytes(packed(data))
            findings[outcome.problem] = {"problem": outcome.problem, "saved": path.name}
            print(outcome.trace, file=sys.stderr)
        if done >= runs:
            report()

    def report() -> None:
        wall = time.monotonic() - started
        found = {
            "target": name,
            "engine": "coverage-guided (atheris)",
            "inputs": done,
            "seed": number,
            "per_second": round(done / wall),
            "slowest_cpu_seconds": round(slowest, 3),
            "most_memory_mib": (resident() - start) >> 20,
            "corpus": len(list(corpus.iterdir())),
            "findings": list(findings.values()),
        }
        print(json.dumps(found), flush=True)
        os._exit(0)

    def mutate(data: bytes, most: int, random: int) -> bytes:
        rng = Random(random)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        # Offsets of the seed that the input descends from mean the same in it.
        seed = min(seeds, key=lambda each: abs(len(each.data) - len(data)))
        return mutated(seed, rng, data)[:most]

    options = [f"-runs={runs}", f"-seed={number}", f"-max_len={largest}", "-timeout=60", "-rss_limit_mb=2048"]
    options += ["-print_final_stats=0", "-verbosity=0", "-len_control=0", str(corpus)]
    atheris.Setup([sys.argv[0], *options], test, custom_mutator=mutate)
    atheris.Fuzz()
    report()


if __name__ == "__main__":
    main()
