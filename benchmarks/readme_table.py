"""The table of measurements in README, made from benchmarks/results/analyser.json.

`python -m benchmarks.readme_table` writes it between the two marks; a test checks that it is what is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "analyser.json"
README = ROOT / "README.md"
START, END = "<!-- measurements of the analyser: make bench-analyser -->", "<!-- end of measurements -->"


def table(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["| | Ours | Another program | Ratio | Goal |", "| --- | ---: | --- | ---: | --- |"]
    for row in results["rows"]:
        peer = f"{row['peer_name']}: {row['peer']}" if row["peer"] else ""
        ratio = f"{row['ratio']:g}" if row["peer"] else ""
        met = {True: ": met", False: ": **missed**", None: ""}[row["met"]]
        lines.append(f"| {row['name']} | {row['ours']} | {peer} | {ratio} | {row['goal']}{met} |")
    of = results["machine"]
    lines += [
        "",
        f"Medians of {of['medians_of']} processes each on {of['processors']} processors of "
        f"{of['processor']}, Python {of['python']}, one run of `make bench-analyser`.",
    ]
    return "\n".join(lines)


def between(text: str) -> str:
    """What README has between the marks. ValueError when they are not there."""
    _, start, rest = text.partition(START)
    found, end, _ = rest.partition(END)
    if not start or not end:
        raise ValueError("README has no marks for the table of measurements")
    return found.strip("\n")


def replaced(text: str, content: str) -> str:
    """README with `content` between the marks."""
    return text.replace(f"{START}\n{between(text)}\n{END}", f"{START}\n{content}\n{END}")


def main() -> None:
    content = table(json.loads(RESULTS.read_text("utf-8")))
    README.write_text(replaced(README.read_text("utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
