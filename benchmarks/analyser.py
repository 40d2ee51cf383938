"""`make bench-analyser`: what the analyser costs, against its goals and against other programs.

Every figure is the median of several processes of their own, in one run on one machine. Writes
benchmarks/results/analyser.json and prints the table that README shows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import pdbs
from benchmarks.crashes import dispatch_crash
from benchmarks.readme_table import RESULTS, speed_table
from benchmarks.repack import BITMAP_KERNEL, read_pages, stretched, write_bitmap, write_complete
from benchmarks.single import TABLES
from lab.twin.memory import write_dump

ROOT = Path(__file__).parents[1]
BUILD = 20348
MEMORY = 16 << 30
PDBUTIL = Path("/usr/lib/llvm-19/bin/llvm-pdbutil")


@dataclass(frozen=True)
class Row:
    """One line. `ratio` is the other's figure divided by ours."""

    name: str
    ours: str
    peer: str = ""
    peer_name: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Files:
    """The same machine of 16 GiB twice. Type 1 has every page of it; type 6 a quarter, scattered."""

    complete: Path
    kernel: Path


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=7, help="processes for each figure")
    repeat = options.parse_args().repeat
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = make_dumps(Path(folder))
        rows = [*measure(files, repeat), *symbols(Path(folder), repeat)]
        rows += module_lists(files, Path(folder), repeat)
    results = {"rows": [asdict(row) for row in rows], "machine": machine(repeat)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(speed_table(results))
    return 0 if all(row.met is not False for row in rows) else 1


def make_dumps(folder: Path) -> Files:
    """Two sparse files."""
    small = folder / "twin.dmp"
    write_dump(dispatch_crash(BUILD), small, filler_pages=0)
    pages = stretched(read_pages(small), MEMORY)
    files = Files(folder / "complete.dmp", folder / "kernel.dmp")
    write_complete(pages, files.complete)
    # Every fourth page, by a hash of its number: a bitmap without any long run of equal bits.
    write_bitmap(pages, files.kernel, BITMAP_KERNEL, lambda frame: frame * 2654435761 >> 30 & 3 == 0)
    return files


def single(what: str, path: Path, repeat: int) -> Callable[[str], float]:
    """Runs one measurement `repeat` times; gives the median of a figure."""
    command = [sys.executable, "-m", "benchmarks.single", what, str(path)]
    found: list[dict[str, Any]] = []
    for _ in range(repeat):
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found.append(json.loads(ran.stdout))
    return lambda figure: statistics.median(float(each[figure]) for each in found)


def measure(files: Files, repeat: int) -> Iterator[Row]:
    for path, words in ((files.kernel, "type 6"), (files.complete, "type 1")):
        triage = single("triage", path, repeat)
        spent = triage("work")
        name = f"Triage of 16 GiB ({words}): CPU after import"
        yield Row(name, _ms(spent), goal="< 300 ms", met=spent < 0.3)
    if TABLES.is_dir():
        spent = single("triage-tables", files.kernel, repeat)("work")
        name = "The same (type 6) with the kernel's whole symbol table, an ISF file"
        yield Row(name, _ms(spent), goal="< 300 ms", met=spent < 0.3)
    memory = triage("memory") / (1 << 20)
    yield Row(
        "Triage of 16 GiB (type 1): most memory of the process",
        f"{memory:.0f} MiB",
        goal="< 200 MiB",
        met=memory < 200,
    )
    for path, words in ((files.kernel, "type 6"), (files.complete, "type 1")):
        read = single("pages", path, 1)
        share = 100 * read("pages") / read("of")
        yield Row(f"Share of the file's pages read ({words})", f"{share:.3f} %", goal="< 2 %", met=share < 2)
    for path, words in ((files.kernel, "type 6"), (files.complete, "type 1")):
        ours, theirs = single("open", path, repeat)("work"), single("kdmp", path, repeat)("work")
        yield Row(
            f"Opening it ({words}): CPU after import",
            _ms(ours),
            _ms(theirs),
            "kdmp-parser",
            _times(theirs, ours),
            "no slower",
            theirs >= ours,
        )
    walked = single("unwind", files.kernel, repeat)
    rate = walked("frames") / walked("seconds")
    yield Row("Unwinding, cold caches", f"{rate:,.0f} frames/s")


def module_lists(files: Files, folder: Path, repeat: int) -> Iterator[Row]:
    """Against Volatility 3 with a warm symbol cache; nothing when it or the kernel's table is not there."""
    sys.path.insert(0, str(ROOT / "tests" / "oracles"))
    from volatility import PROGRAM, Volatility, address

    if not PROGRAM.exists() or not TABLES.is_dir():
        print("Volatility 3 or the real symbol tables are not at hand: not compared", file=sys.stderr)
        return
    volatility = Volatility.at(folder / "volatility")
    rows = volatility.run("windows.modules", files.complete)  # and warms its cache
    ours = _modules(files.complete)
    if [(row["Name"], row["Base"], row["Size"]) for row in rows] != [(n, address(b), s) for n, b, s in ours]:
        raise SystemExit("the lists of modules differ: there is nothing to compare")
    whole = [_cpu(volatility.command("windows.modules", files.complete)) for _ in range(repeat)]
    # A plugin that opens no file: what starting it and importing all its plugins costs.
    start = [_cpu(volatility.command("frameworkinfo", files.complete)) for _ in range(repeat)]
    listed = single("modules", files.complete, repeat)
    theirs, mine = statistics.median(whole) - statistics.median(start), listed("work")
    yield Row(
        "Listing its modules (type 1): CPU without start and imports",
        _ms(mine),
        _ms(theirs),
        "Volatility 3",
        _times(theirs, mine),
        "20 times faster",
        theirs >= 20 * mine,
    )
    theirs, mine = statistics.median(whole), listed("work") + listed("import")
    name = "The same: CPU of the whole processes"
    yield Row(name, _ms(mine), _ms(theirs), "Volatility 3", _times(theirs, mine))


def _modules(path: Path) -> list[tuple[str, int, int]]:
    command = [sys.executable, "-m", "benchmarks.single", "modules", str(path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [(name, base, size) for name, base, size in json.loads(ran.stdout)["modules"]]


def symbols(folder: Path, repeat: int) -> Iterator[Row]:
    """Publics of a PDB with as many of them as a kernel's; nothing without clang and lld."""
    pdb = pdbs.large(folder)
    if pdb is None:
        print("clang and lld are not at hand: no PDB measured", file=sys.stderr)
        return
    read = single("publics", pdb, repeat)
    ours, names = read("work"), read("names")
    name = f"Names of a PDB with {names:,.0f} publics: CPU after import"
    if not PDBUTIL.exists():
        yield Row(name, _ms(ours))
        return
    theirs = statistics.median(_cpu([str(PDBUTIL), "dump", "-publics", str(pdb)]) for _ in range(repeat))
    yield Row(name, _ms(ours), _ms(theirs), "llvm-pdbutil (prints them)", _times(theirs, ours))


def _cpu(command: list[str]) -> float:
    """CPU seconds of a process from start to end."""
    with _children() as spent:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return spent[0]


@contextmanager
def _children() -> Iterator[list[float]]:
    def used() -> float:
        figures = resource.getrusage(resource.RUSAGE_CHILDREN)
        return figures.ru_utime + figures.ru_stime

    spent = [0.0]
    before = used()
    yield spent
    spent[0] = used() - before


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:,.0f} ms"


def _times(theirs: float, ours: float) -> float:
    return float(f"{theirs / max(ours, 1e-6):.3g}")


def machine(repeat: int) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    return {
        "processor": names[0] if names else platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "medians_of": repeat,
    }


if __name__ == "__main__":
    sys.exit(main())
