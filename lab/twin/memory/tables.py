"""Structure offsets and symbol addresses of the kernels that the twin runs.

From the built-in kernel tables (facts of JPCERT/CC's Windows symbol tables, BSD-3-Clause); `_MORE` holds
RVAs of the same PDBs that the built-in tables leave out.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_PDB = {
    7601: "339E74133576439CBCDF7E0229DA3773-1",
    17763: "1806D020A6E46538D7AC3325FAC114D8-1",
    20348: "879AD95F3461091BB6318FA98072AD8E-1",
}
_COLUMN = {7601: 0, 17763: 1, 20348: 2}
_MORE: dict[str, tuple[int, int, int]] = {
    "KiIdleLoop": (0x973D0, 0x1BE670, 0x424C60),
    "KxNmiInterrupt": (0x9D980, 0x1C6BC0, 0x42DC80),
    "KiProcessNMI": (0x107C50, 0x28D500, 0x254410),
    "HalBugCheckSystem": (0, 0, 0x4FC190),  # in hal.dll before 20348
    "HalHandleNMI": (0, 0, 0x500810),
    "KdpSendWaitContinue": (0x4F66D0, 0x917100, 0xA46630),
    "KdpReportExceptionStateChange": (0x4F6ED0, 0x916954, 0xA4A344),
    "KdpReport": (0x12908, 0x28C770, 0x252C98),
    "KdpTrap": (0x4F305C, 0x919518, 0xA4631C),
    "KiDispatchException": (0x17AD70, 0xEE200, 0x266510),
    "KiExceptionDispatch": (0xA2300, 0x1CDF80, 0x435740),
    "KiBreakpointTrap": (0x9DA80, 0x1C6CC0, 0x42DD80),
    "DbgBreakPointWithStatus": (0x9A720, 0x1C34A0, 0x42A160),
    "KdCheckForDebugBreak": (0xEFAB0, 0x142DC8, 0x33DF78),
    "KeAccumulateTicks": (0x7C360, 0x672C0, 0x288490),
    "KiInterruptDispatchNoLock": (0x94D40, 0x1BC0A0, 0x422380),
    "KeRemoveQueueEx": (0x32B00, 0x5FA90, 0x2FEAE0),
    "KiCommitThreadWait": (0x32280, 0x5C800, 0x2D5610),
    "KiSwapContext": (0x962E0, 0x1C20C0, 0x4293B0),
    "SwapContext": (0x96600, 0x1C2410, 0x429700),
    "MmPfnDatabase": (0x29D280, 0x5413A8, 0xD108D0),
    "MmSystemRangeStart": (0x29D100, 0x361538, 0x24B28),
    "MmHighestUserAddress": (0x29D010, 0x361550, 0x24B30),
    "MmPhysicalMemoryBlock": (0x29D038, 0x541388, 0xD10890),
    "PsInitialSystemProcess": (0x29D028, 0x5412E0, 0xD107E0),
    "PspCidTable": (0x21B988, 0x541468, 0xD10998),
    "KeNumberProcessors": (0x29D018, 0x5412C4, 0xD107C4),
    "KdpDebuggerDataListHead": (0x200610, 0x430780, 0xC4A5D0),
    "KernelVerifier": (0x20F4F4, 0x40D654, 0xC254F8),
    "KiInitialPCR": (0x1E4000, 0, 0),
}
IMAGE_SIZES = {7601: 0x5E9000, 17763: 0xA6E000, 20348: 0x1047000}
"""SizeOfImage of ntoskrnl.exe: above every symbol of the build."""
HEADERS_END = {7601: 0x5A1000, 17763: 0xA22000, 20348: 0xE03000}
"""First RVA above every symbol of ntoskrnl.exe: here its .pdata and debug directory go."""
LABS = {
    7601: "7601.24540.amd64fre.win7sp1_ldr_escrow.190925-1700",
    17763: "17763.1.amd64fre.rs5_release.180914-1434",
    20348: "20348.1.amd64fre.fe_release.210507-1500",
}


@dataclass(frozen=True)
class Kernel:
    """One kernel's facts. `new` tells the 10 family from 7601."""

    build: int
    pdb_guid: str
    pdb_age: int
    offsets: dict[str, dict[str, int]]  # of KTHREAD, ETHREAD, EPROCESS, KPRCB
    sizes: dict[str, int]
    rvas: dict[str, int]

    @property
    def new(self) -> bool:
        return self.build > 7601

    def rva(self, name: str) -> int:
        return self.rvas[name]

    def at(self, field: str) -> int:
        """Offset of "KTHREAD.StackBase"."""
        structure, name = field.split(".")
        return self.offsets[structure][name]


@cache
def kernel(build: int) -> Kernel:
    """The kernel of 7601, 17763 or 20348; KeyError for another build."""
    key = _PDB[build]
    packed = files("lab.symbols").joinpath("data/kernels.json.xz").read_bytes()
    rows: list[dict[str, Any]] = json.loads(lzma.decompress(packed))
    row = next(row for row in rows if row["guid_age"] == key)
    rvas = {name: value for name, value in row["rva"].items() if value}
    rvas |= {name: values[_COLUMN[build]] for name, values in _MORE.items() if values[_COLUMN[build]]}
    structures = ("KTHREAD", "ETHREAD", "EPROCESS", "KPRCB")
    guid, age = key.split("-")
    return Kernel(
        build=build,
        pdb_guid=guid,
        pdb_age=int(age, 16),
        offsets={name: {k: v for k, v in row[name].items() if v is not None} for name in structures},
        sizes={name: row[f"{name}_size"] for name in structures},
        rvas=rvas,
    )
