"""What a file is that is not the dump of a 64-bit x64 kernel."""

from __future__ import annotations

from lab.dumps.defects import Defect, Finding
from lab.dumps.header import HEADER_SIZE, DumpHeader, parse_header, parse_header32

X64 = 0x8664
MACHINES = {X64: "x64", 0xAA64: "ARM64", 0x14C: "x86", 0x200: "Itanium", 0x1C4: "ARM"}
"""MachineImageType in words."""

_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"MSCF": "a cabinet",
    b"Rar!": "a RAR archive",
    b"\xfd7zXZ\0": "an xz file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
}


def look(start: bytes, size: int) -> tuple[DumpHeader | None, Finding | None]:
    """(header, what is wrong) from the first 0x2000 bytes of a file of `size` bytes.

    No finding: the whole header of an x64 kernel dump. No header: the file says nothing of a kernel.
    """
    foreign = _foreign(start, size)
    if foreign is not None:
        return None, foreign
    if start[:8] == b"PAGEDUMP":
        sentence = "it is a dump of a 32-bit system; only x64 systems are supported"
        return parse_header32(start), Finding(Defect.SYSTEM_32_BIT, sentence)
    header = parse_header(start)
    if len(start) < HEADER_SIZE:
        sentence = f"the dump is cut off within its header: {len(start)} of {HEADER_SIZE} bytes are there"
        return header, Finding(Defect.HEADER_CUT_OFF, sentence)
    if header.machine not in (None, X64):
        machine = MACHINES.get(header.machine or 0, f"machine type {header.machine:#x}")
        sentence = f"it is a dump of an {machine} system; only x64 systems are supported"
        return header, Finding(Defect.OTHER_MACHINE, sentence)
    return header, None


def _foreign(start: bytes, size: int) -> Finding | None:
    if size == 0 or not start:
        return Finding(Defect.EMPTY, "the file is empty")
    if start[:8] in (b"PAGEDU64", b"PAGEDUMP"):
        return None
    if start[:4] == b"MDMP":
        return Finding(Defect.USER_MODE, "it is a dump of a user-mode process, not of the kernel")
    if start[:4] == b"PAGE" or not any(start):
        return Finding(Defect.NOT_WRITTEN, "the dump is still being written: its header is not there yet")
    for magic, what in _PACKED.items():
        if start.startswith(magic):
            return Finding(Defect.PACKED, f"it is {what}, not a dump")
    return Finding(Defect.NOT_A_DUMP, f"it is not a Windows dump: it begins with {start[:8]!r}")
