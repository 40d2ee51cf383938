"""Volatility 3 reads the same dumps: what both can read, they must read alike.

It is given the real symbol tables of the kernels, and finds page tables, kernel and lists by its own means.
It opens dumps of types 1 and 5 only, so the twin's pages are packed again as such.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from volatility import PROGRAM, TABLES, Volatility, address

from benchmarks.crashes import BUILDS, dispatch_crash
from benchmarks.repack import BITMAP_COMPLETE, read_pages, write_bitmap, write_complete
from lab.dumps import open_dump
from lab.kernel.opening import open_kernel
from lab.twin.memory import write_dump

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason="Volatility 3 is not installed (make oracles)"),
    pytest.mark.skipif(not TABLES.is_dir(), reason="the kernels' real symbol tables are not at hand"),
]
on_builds = pytest.mark.parametrize("build", BUILDS)


@pytest.fixture(scope="module")
def volatility(tmp_path_factory: pytest.TempPathFactory) -> Volatility:
    return Volatility.at(tmp_path_factory.mktemp("volatility"))


@pytest.fixture(scope="module")
def dump_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A dump of a build: of type 1 for the oldest, as that kernel writes them, else of type 5."""
    folder = tmp_path_factory.mktemp("dumps")

    @cache
    def make(build: int) -> Path:
        path = folder / f"{build}.dmp"
        write_dump(dispatch_crash(build), folder / "kernel.dmp", filler_pages=0)
        pages = read_pages(folder / "kernel.dmp")
        if build == 7601:
            write_complete(pages, path)
        else:
            write_bitmap(pages, path, BITMAP_COMPLETE)
        return path

    return make


@on_builds
def test_the_same_modules(volatility: Volatility, dump_of: Callable[[int], Path], build: int) -> None:
    rows = volatility.run("windows.modules", dump_of(build))
    theirs = [(row["Name"], row["Path"], row["Base"], row["Size"]) for row in rows]
    with open_dump(dump_of(build)) as dump:
        ours = [(m.name, m.full_name, address(m.base), m.size) for m in open_kernel(dump).modules]
    assert ours == theirs
    assert len(ours) >= 9


@on_builds
def test_the_same_processes(volatility: Volatility, dump_of: Callable[[int], Path], build: int) -> None:
    processes = pytest.importorskip("lab.kernel.processes")
    rows = volatility.run("windows.pslist", dump_of(build))
    theirs = [(row["Offset(V)"], row["PID"], row["ImageFileName"]) for row in rows]
    with open_dump(dump_of(build)) as dump:
        read = processes.read_processes(open_kernel(dump))
        ours = [(address(p.address), p.process_id, p.name) for p in read]
    assert ours == theirs
    assert theirs[0][1:] == (4, "System")


def test_the_same_unloaded_drivers(volatility: Volatility, dump_of: Callable[[int], Path]) -> None:
    rows = volatility.run("windows.unloadedmodules", dump_of(20348))
    theirs = {(row["Name"], row["StartAddress"], row["EndAddress"], row["Time"][:19]) for row in rows}
    with open_dump(dump_of(20348)) as dump:
        ours = {
            (u.name, address(u.start), address(u.end), u.when.rstrip("Z")) for u in open_kernel(dump).unloaded
        }
    assert ours == theirs
    assert len(ours) >= 3
