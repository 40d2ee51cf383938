"""The physical memory of a crashed Windows Server kernel, and its dump file.

Made from published facts about the structures, without any of the reader's code, so that what the reader
finds in such a file has two independent derivations. One thing is shared: the offsets in KTHREAD, ETHREAD,
EPROCESS and KPRCB, which both take from the built-in kernel tables. Tests hold those against the layouts in
the kernels' PDBs here, which were collected from the public symbols themselves (but for 18362 and 22000).
"""

from __future__ import annotations

from pathlib import Path

from lab.twin.crash import CrashState
from lab.twin.memory.checks import BLAMING
from lab.twin.memory.dumpfile import usual_type, write_file
from lab.twin.memory.layout import layout
from lab.twin.memory.machine import crashed_machine
from lab.twin.memory.pagemaps import DUMP_TYPES, FULL
from lab.twin.memory.stops import stop_of
from lab.twin.memory.symbols import write_symbols
from lab.twin.memory.tables import BUILDS


def write_dump(
    state: CrashState, path: Path, dump_type: int | None = None, *, filler_pages: int = 512
) -> None:
    """Write the dump of `state`, by default a kernel dump: type 2 for build 7601, type 6 for the others.

    `dump_type` may be any of DUMP_TYPES; those that hold user memory, too, have as much of it as the twin:
    none. `filler_pages` are 4 KiB pages of pool without meaning, to give the file a size. The file appears at
    `path` when it is whole. ValueError when `state` contradicts itself or the type is unknown, KeyError for
    an unknown build.
    """
    kind = usual_type(state.build) if dump_type is None else dump_type
    machine = crashed_machine(state, filler_pages=filler_pages, tight=kind == FULL)
    write_file(machine, state, path, kind)


def parameters(state: CrashState) -> tuple[int, tuple[int, int, int, int]]:
    """Bugcheck code and parameters that the dump of `state` holds."""
    if state.stop in BLAMING:  # their parameters point into pool
        machine = crashed_machine(state, filler_pages=0)
        return machine.code, machine.parameters
    return stop_of(state, layout(state))


__all__ = ["BUILDS", "DUMP_TYPES", "parameters", "write_dump", "write_symbols"]
