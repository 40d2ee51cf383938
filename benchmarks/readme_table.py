"""The tables of measurements in README and docs, made from the files in benchmarks/results.

`python -m benchmarks.readme_table` writes them between their marks; a test checks that they are there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "analyser.json"
FUZZ = ROOT / "benchmarks" / "results" / "fuzz.json"
SMB = ROOT / "benchmarks" / "results" / "smb.json"
SFTP = ROOT / "benchmarks" / "results" / "sftp.json"
SMB_PICTURE = ROOT / "docs" / "images" / "smb.svg"
BISECT = ROOT / "benchmarks" / "results" / "bisect.json"
BISECT_PICTURE = ROOT / "docs" / "images" / "bisect.svg"
BISECT_CALIBRATION = ROOT / "docs" / "images" / "bisect-calibration.svg"
README = ROOT / "README.md"
PROOFS = ROOT / "docs" / "explanation" / "proofs.md"
SMB_PAGE = ROOT / "docs" / "explanation" / "smb-speed.md"
SPEED_MARKS = ("<!-- measurements: make bench-analyser -->", "<!-- end of measurements -->")
SMB_MARKS = ("<!-- SMB2: make bench-smb -->", "<!-- end of SMB2 -->")
BISECT_MARKS = ("<!-- bisect: make bench-bisect -->", "<!-- end of bisect -->")
SFTP_MARKS = ("<!-- SFTP: make bench-sftp -->", "<!-- end of SFTP -->")
FUZZ_MARKS = ("<!-- damaged files: make fuzz -->", "<!-- end of damaged files -->")


def speed_table(results: dict[str, Any]) -> str:
    """Markdown of benchmarks/results/analyser.json."""
    machine = results["machine"]
    words = f"Medians of {machine['medians_of']} processes each"
    return _measured(results["rows"], machine, words, "make bench-analyser")


def smb_table(results: dict[str, Any], *, with_goal: bool = False) -> str:
    """Markdown of benchmarks/results/smb.json: all rows, or those that have a goal."""
    rows = [row for row in results["rows"] if row["goal"] or not with_goal]
    machine = results["machine"]
    words = f"Of {machine['medians_of']} processes each, the median CPU and the best rate,"
    return _measured(rows, machine, words, "make bench-smb")


def bisect_table(results: dict[str, Any], *, with_goal: bool = False) -> str:
    """Markdown of benchmarks/results/bisect.json: all rows, or those that have a goal."""
    rows = [row for row in results["rows"] if row["goal"] or not with_goal]
    words = "Simulated hosts, the same scenarios for all; CPU"
    return _measured(rows, results["machine"], words, "make bench-bisect")


def sftp_table(results: dict[str, Any]) -> str:
    """Markdown of benchmarks/results/sftp.json."""
    machine = results["machine"]
    words = f"Medians of {machine['medians_of']} rounds, of each round's ratio too,"
    return _measured(results["rows"], machine, words, "make bench-sftp")


def _measured(rows: list[dict[str, Any]], machine: dict[str, Any], words: str, command: str) -> str:
    lines = ["| | Ours | Another program | Ratio | Goal |", "| --- | ---: | --- | ---: | --- |"]
    for row in rows:
        peer = f"{row['peer_name']}: {row['peer']}" if row["peer"] else ""
        ratio = f"{row['ratio']:g}" if row["peer"] else ""
        met = {True: ": met", False: ": **missed**", None: ""}[row["met"]]
        lines.append(f"| {row['name']} | {row['ours']} | {peer} | {ratio} | {row['goal']}{met} |")
    lines += [
        "",
        f"{words} on {machine['processors']} processors of {machine['processor']}, "
        f"Python {machine['python']}, one run of `{command}`.",
    ]
    return "\n".join(lines)


def fuzz_table(results: dict[str, Any]) -> str:
    """Markdown of benchmarks/results/fuzz.json."""
    lines = [
        "| Target | Engine | Files | A second | Slowest, CPU | Most memory | Findings |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in results["rows"]:
        lines.append(
            f"| {row['target']} | {row['engine']} | {row['inputs']:,} | {row['per_second']:,} | "
            f"{row['slowest_cpu_seconds']:.2f} s | +{row['most_memory_mib']} MiB | {len(row['findings'])} |"
        )
    of = results["machine"]
    lines += [
        "",
        f"{results['inputs']:,} files, {results['findings']} findings; {of['processors']} processors, "
        f"Python {of['python']}, one run of `make fuzz`.",
    ]
    return "\n".join(lines)


def between(text: str, marks: tuple[str, str]) -> str:
    """What is between the marks. ValueError when they are not there."""
    _, start, rest = text.partition(marks[0])
    found, end, _ = rest.partition(marks[1])
    if not start or not end:
        raise ValueError(f"there is no {marks[0]} ... {marks[1]}")
    return found.strip("\n")


def replaced(text: str, marks: tuple[str, str], content: str) -> str:
    """The text with `content` between the marks."""
    head, _, rest = text.partition(marks[0])
    return f"{head}{marks[0]}\n{content}\n{marks[1]}{rest.partition(marks[1])[2]}"


def bisect_part() -> str:
    """The picture and the rows with a goal."""
    if not BISECT.is_file():
        return "Not measured yet: `make bench-bisect`."
    alt = "Machine minutes and wrong answers of ours and other searches"
    picture = f"![{alt}]({BISECT_PICTURE.relative_to(ROOT)})"
    return f"{picture}\n\n{bisect_table(json.loads(BISECT.read_text('utf-8')), with_goal=True)}"


def tables() -> list[tuple[Path, tuple[str, str], str]]:
    """(file, marks, what belongs between them)."""
    read = (json.loads(path.read_text("utf-8")) for path in (RESULTS, FUZZ, SMB, SFTP))
    speed, fuzz, smb, sftp = read
    return [
        (README, SPEED_MARKS, speed_table(speed)),
        (PROOFS, FUZZ_MARKS, fuzz_table(fuzz)),
        (README, SMB_MARKS, smb_table(smb, with_goal=True)),
        (SMB_PAGE, SMB_MARKS, smb_table(smb)),
        (README, SFTP_MARKS, sftp_table(sftp)),
        (README, BISECT_MARKS, bisect_part()),
    ]


def main() -> None:
    for path, marks, content in tables():
        path.write_text(replaced(path.read_text("utf-8"), marks, content), encoding="utf-8")


if __name__ == "__main__":
    main()
