"""The PDBs of a crashed twin as a symbol store in a folder."""

from __future__ import annotations

from pathlib import Path

from lab.twin.crash import CrashState
from lab.twin.images import pdb
from lab.twin.memory.layout import layout


def write_pdbs(state: CrashState, folder: Path) -> Path:
    """`folder`/NAME.pdb/GUIDAGE/NAME.pdb of every image."""
    for module in layout(state).modules:
        name = module.pdb.rpartition("\\")[2]
        place = folder / name / f"{module.pdb_guid}{module.age:X}"
        place.mkdir(parents=True)
        (place / name).write_bytes(pdb(module.source, module.guid, module.age))
    return folder
