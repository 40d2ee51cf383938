"""One measurement in a process of its own: `python -m benchmarks.single WHAT FILE` prints a JSON object.

CPU times (user and system) are of this process, by getrusage; `import` is what starting the interpreter and
importing took, `work` what was done after it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Result = dict[str, Any]
TABLES = Path(__file__).parents[2] / "shared" / "data" / "isf"


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _timed(work: Callable[[], Result]) -> Result:
    before, wall = cpu(), time.perf_counter()
    found = work()
    found |= {"import": before, "work": cpu() - before, "wall": time.perf_counter() - wall}
    return found | {"memory": _most_memory()}


def _most_memory() -> int:
    """Bytes. Not ru_maxrss, which a process inherits from the one that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def triage_of(path: str) -> Result:
    from lab.analysis import triage

    def work() -> Result:
        found = triage(path)
        return {
            "answer": [found.bugcheck.code, len(found.stack), len(found.modules), len(found.suspects)],
        }

    return _timed(work)


def triage_with_tables(path: str) -> Result:
    """With the kernel's real symbol table as ISF file, which has to be unpacked and parsed."""
    from lab.analysis import triage
    from lab.symbols import symbol_store

    return _timed(lambda: {"frames": len(triage(path, symbol_store([TABLES], offline=True)).stack)})


def pages_read(path: str) -> Result:
    """How many pages of the file a whole triage reads."""
    from lab.analysis import triage
    from lab.dumps.source import FileSource

    class Counting(FileSource):
        pages: set[int]

        def read(self, offset: int, size: int) -> bytes:
            data = super().read(offset, size)
            if data:
                self.pages.update(range(offset >> 12, (offset + len(data) - 1 >> 12) + 1))
            return data

    source = Counting(Path(path))
    source.pages = set()

    def work() -> Result:
        triage(source)
        return {"pages": len(source.pages), "of": -(-source.size // 0x1000)}

    return _timed(work)


def modules_of(path: str) -> Result:
    from lab.dumps import open_dump
    from lab.kernel.opening import open_kernel

    def work() -> Result:
        with open_dump(path) as dump:
            return {"modules": [[m.name, m.base, m.size] for m in open_kernel(dump).modules]}

    return _timed(work)


def opened(path: str) -> Result:
    from lab.dumps import open_dump

    def work() -> Result:
        with open_dump(path) as dump:
            return {"type": dump.header.dump_type}

    return _timed(work)


def opened_by_kdmp_parser(path: str) -> Result:
    from kdmp_parser import KernelDumpParser

    def work() -> Result:
        return {"type": int(KernelDumpParser(path).type)}

    return _timed(work)


def unwound(path: str) -> Result:
    """Frames of the crashing stack, walked again and again, each walk from an opened dump's cold caches."""
    from lab.dumps import open_dump
    from lab.kernel.opening import open_kernel
    from lab.kernel.unwind import walk

    def work() -> Result:
        frames, spent = 0, 0.0
        while spent < 0.5:
            with open_dump(path) as dump:
                kernel = open_kernel(dump)
                before = cpu()
                frames += len(tuple(walk(kernel, kernel.context)))
                spent += cpu() - before
        return {"frames": frames, "seconds": spent}

    return _timed(work)


def publics_of(path: str) -> Result:
    from lab.symbols.pdb import open_pdb

    def work() -> Result:
        pdb = open_pdb(Path(path))
        names = dict(pdb.names())
        return {"names": len(names)}

    return _timed(work)


WHAT: dict[str, Callable[[str], Result]] = {
    "triage": triage_of,
    "triage-tables": triage_with_tables,
    "pages": pages_read,
    "modules": modules_of,
    "open": opened,
    "kdmp": opened_by_kdmp_parser,
    "unwind": unwound,
    "publics": publics_of,
}

if __name__ == "__main__":
    with suppress(BrokenPipeError):
        print(json.dumps(WHAT[sys.argv[1]](sys.argv[2])))
