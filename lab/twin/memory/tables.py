"""Structure offsets and symbol addresses of the kernels that the twin runs.

Offsets are from the built-in kernel tables (facts of JPCERT/CC's Windows symbol tables, BSD-3-Clause),
addresses from the twin's kernel images, which were placed by the same facts.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lab.twin.images import blueprint

BUILDS = (7601, 9600, 14393, 17763, 18362, 19041, 20348, 22000)
"""The kernels that dumps can be written of."""

LABS = {
    7601: "7601.24540.amd64fre.win7sp1_ldr_escrow.190925-1700",
    9600: "9600.21620.amd64fre.winblue_ltsb_escrow.231010-1854",
    14393: "14393.6343.amd64fre.rs1_release.230913-1727",
    17763: "17763.1.amd64fre.rs5_release.180914-1434",
    18362: "18362.1.amd64fre.19h1_release.190318-1202",
    19041: "19041.1.amd64fre.vb_release.191206-1406",
    20348: "20348.1.amd64fre.fe_release.210507-1500",
    22000: "22000.1.amd64fre.co_release.210604-1628",
}


@dataclass(frozen=True)
class Kernel:
    """One kernel's facts. `new` tells Windows 8.1 and the 10 family from 7601."""

    build: int
    pdb_guid: str
    pdb_age: int
    version: str  # "10.0.17763.5933"
    offsets: dict[str, dict[str, int]]  # of KTHREAD, ETHREAD, EPROCESS, KPRCB
    sizes: dict[str, int]
    rvas: Mapping[str, int]

    @property
    def new(self) -> bool:
        return self.build > 7601

    @property
    def context_frame(self) -> int:
        """Offset of KPROCESSOR_STATE.ContextFrame: the special registers before it grew with 17763."""
        return 0xF0 if self.build >= 17763 else 0xE0

    @property
    def system_thread(self) -> int:
        """KTHREAD.MiscFlags of a system thread: its bit SystemThread."""
        if self.build == 7601:
            return 1 << 13
        return 1 << 11 if self.build == 9600 else 1 << 10

    def rva(self, name: str) -> int:
        return self.rvas[name]

    def at(self, field: str) -> int:
        """Offset of "KTHREAD.StackBase"."""
        structure, name = field.split(".")
        return self.offsets[structure][name]


@cache
def kernel(build: int) -> Kernel:
    """The kernel of one of BUILDS; KeyError for another build."""
    if build not in BUILDS:
        raise KeyError(build)
    built = blueprint(f"nt-{build}")
    assert built.pdb_id is not None
    guid, age = built.pdb_id
    packed = files("lab.symbols").joinpath("data/kernels.json.xz").read_bytes()
    rows: list[dict[str, Any]] = json.loads(lzma.decompress(packed))
    row = next(row for row in rows if row["guid_age"] == f"{guid}-{age:X}")
    structures = ("KTHREAD", "ETHREAD", "EPROCESS", "KPRCB")
    return Kernel(
        build=build,
        pdb_guid=guid,
        pdb_age=age,
        version=built.version,
        offsets={name: {k: v for k, v in row[name].items() if v is not None} for name in structures},
        sizes={name: row[f"{name}_size"] for name in structures},
        rvas=built.symbols,
    )
