"""User-mode minidumps (`MDMP`): not our business, but worth a few words to whoever gives us one."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from minidump.constants import MINIDUMP_STREAM_TYPE
from minidump.streams.ExceptionStream import ExceptionList
from minidump.streams.MiscInfoStream import MinidumpMiscInfo
from minidump.streams.ModuleListStream import MinidumpModuleList
from minidump.streams.SystemInfoStream import MinidumpSystemInfo

from lab.dumps.source import FileSource
from lab.model import DumpError

_MAX_STREAMS = 256
_MAX_MODULES = 8192
_MODULE_SIZE = 108
_MAX_STREAM = 1 << 20
_MAX_TEXT = 0x1000  # bytes of a module's path
_MACHINES = {0: "x86", 5: "ARM", 6: "Itanium", 9: "x64", 12: "ARM64"}
_EXCEPTIONS = {
    0x80000003: "breakpoint",
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC0000094: "integer division by zero",
    0xC00000FD: "stack overflow",
    0xC0000374: "heap corruption",
    0xC0000409: "fast fail",
    0xE06D7363: "C++ exception",
}


@dataclass(frozen=True)
class UserModule:
    """A module of the process."""

    name: str  # path as loaded
    base: int
    size: int
    timestamp: int


@dataclass(frozen=True)
class UserDumpSummary:
    """What a user-mode minidump says in short. Unknown numbers are None, unknown words ""."""

    path: str
    size: int
    machine: str  # "x64", "x86", ...
    system: str  # "Windows 10", as the package names it
    build: int | None
    process_id: int | None
    exception_code: int | None
    exception_name: str
    exception_address: int | None
    exception_module: str
    modules: tuple[UserModule, ...]
    warnings: tuple[str, ...]


def summarise(path: Path | str) -> UserDumpSummary:
    """The summary of the user-mode minidump at `path`.

    DumpError when the file is not one, or is so damaged that it says nothing.
    """
    path = Path(path)
    source = FileSource(path)
    try:
        size = source.size
        start = source.read(0, 32)
        if len(start) < 32 or start[:4] != b"MDMP":
            raise DumpError(f"{path.name} is not a user-mode minidump")
        count, directory = struct.unpack_from("<II", start, 8)
        table = source.read(directory, count * 12) if count <= _MAX_STREAMS else b""
    finally:
        source.close()
    if not 0 < count <= _MAX_STREAMS or len(table) < count * 12:
        raise DumpError(f"{path.name} is damaged: its directory of {count} streams is not within the file")
    warnings: list[str] = []
    lost = sum(1 for _kind, length, offset in struct.iter_unpack("<III", table) if offset + length > size)
    if lost:
        warnings.append(f"{lost} of {count} streams are not within the file: the dump is cut off")
    with path.open("rb") as file:
        found = {
            kind: parsed
            for entry in struct.iter_unpack("<III", table)
            if (kind := _KINDS.get(entry[0])) is not None
            if (parsed := _stream(file, kind, entry, size, warnings)) is not None
        }
    system, modules = found.get("SystemInfoStream"), found.get("ModuleListStream")
    if system is None and modules is None:
        raise DumpError(f"{path.name} is damaged: {'; '.join(warnings) or 'it describes no process'}")
    return _summary(path, size, found, tuple(warnings))


_PARSERS: dict[str, Any] = {
    "SystemInfoStream": MinidumpSystemInfo,
    "ModuleListStream": MinidumpModuleList,
    "ExceptionStream": ExceptionList,
    "MiscInfoStream": MinidumpMiscInfo,
}
_KINDS: dict[int, str] = {int(MINIDUMP_STREAM_TYPE[name].value): name for name in _PARSERS}


def _stream(
    file: BinaryIO, kind: str, entry: tuple[int, int, int], size: int, warnings: list[str]
) -> Any | None:
    """One stream as the package parses it; None with a warning when it is damaged."""
    _type, length, offset = entry
    if offset + length > size or length > _MAX_STREAM:
        warnings.append(f"the {kind} is not within the file")
        return None
    if kind == "ModuleListStream":
        # The package believes the count, whatever it is; this keeps a damaged one from running wild.
        file.seek(offset)
        modules = int.from_bytes(file.read(4), "little")
        if modules > _MAX_MODULES or 4 + modules * _MODULE_SIZE > length:
            warnings.append(f"the {kind} counts {modules} modules, more than it holds")
            return None
    try:
        return _PARSERS[kind].parse(_Directory(_Location(length, offset)), _ShortTexts(file))
    except Exception as error:  # the package raises whatever Python does on damaged input
        warnings.append(f"the {kind} cannot be read: {type(error).__name__}")
        return None


class _ShortTexts:
    """A file for one stream: its first read is the stream, those after it are texts.

    The package believes the length of every text, so that a damaged file has it read itself to the end once
    for every module.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._most = _MAX_STREAM

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        most, self._most = self._most, _MAX_TEXT
        return self._file.read(min(size, most))


@dataclass(frozen=True)
class _Location:
    """MINIDUMP_LOCATION_DESCRIPTOR, by the names the package reads."""

    DataSize: int
    Rva: int


@dataclass(frozen=True)
class _Directory:
    """What the package's stream parsers read of a MINIDUMP_DIRECTORY."""

    Location: _Location


def _summary(path: Path, size: int, found: dict[str, Any], warnings: tuple[str, ...]) -> UserDumpSummary:
    system, misc = found.get("SystemInfoStream"), found.get("MiscInfoStream")
    listed = found.get("ModuleListStream")
    modules = tuple(
        UserModule(str(m.name), int(m.baseaddress), int(m.size), int(m.timestamp))
        for m in (listed.modules if listed else ())
    )
    code = address = None
    records = found["ExceptionStream"].exception_records if "ExceptionStream" in found else ()
    if records:
        code = int(records[0].ExceptionRecord.ExceptionCode_raw)
        address = int(records[0].ExceptionRecord.ExceptionAddress)
    holder = next((m for m in modules if address is not None and m.base <= address < m.base + m.size), None)
    machine = getattr(system, "ProcessorArchitecture", None)
    build, process = getattr(system, "BuildNumber", None), getattr(misc, "ProcessId", None)
    return UserDumpSummary(
        path=str(path),
        size=size,
        machine=_MACHINES.get(getattr(machine, "value", -1), str(getattr(machine, "name", ""))),
        system=str(getattr(system, "OperatingSystem", None) or ""),
        build=int(build) if build is not None else None,
        process_id=int(process) if process is not None else None,
        exception_code=code,
        exception_name=_EXCEPTIONS.get(code or 0, ""),
        exception_address=address,
        exception_module=holder.name if holder else "",
        modules=modules,
        warnings=warnings,
    )
