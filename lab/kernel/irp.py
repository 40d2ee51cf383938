"""I/O request packets: who is to serve what for whom.

Offsets of IRP, IO_STACK_LOCATION and FILE_OBJECT are the same in every x64 build (public symbols).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, unicode_string
from lab.kernel.target import Kernel
from lab.model import DumpError

IRP_TYPE = 6  # IO_TYPE_IRP
FILE_TYPE = 5  # IO_TYPE_FILE
IRP_SIZE = 0xD0
LOCATION_SIZE = 0x48
MOST_LOCATIONS = 127  # CCHAR

MAJOR_FUNCTIONS = (
    *("CREATE", "CREATE_NAMED_PIPE", "CLOSE", "READ", "WRITE", "QUERY_INFORMATION", "SET_INFORMATION"),
    *("QUERY_EA", "SET_EA", "FLUSH_BUFFERS", "QUERY_VOLUME_INFORMATION", "SET_VOLUME_INFORMATION"),
    *("DIRECTORY_CONTROL", "FILE_SYSTEM_CONTROL", "DEVICE_CONTROL", "INTERNAL_DEVICE_CONTROL", "SHUTDOWN"),
    *("LOCK_CONTROL", "CLEANUP", "CREATE_MAILSLOT", "QUERY_SECURITY", "SET_SECURITY", "POWER"),
    *("SYSTEM_CONTROL", "DEVICE_CHANGE", "QUERY_QUOTA", "SET_QUOTA", "PNP"),
)
"""IRP_MJ_* by number, without the prefix."""

READ = 3
POWER = 22
PNP = 27

POWER_MINORS = ("WAIT_WAKE", "POWER_SEQUENCE", "SET_POWER", "QUERY_POWER")


def major_name(major: int) -> str:
    """ "IRP_MJ_READ"; a number that is no major function as hexadecimal."""
    return f"IRP_MJ_{MAJOR_FUNCTIONS[major]}" if 0 <= major < len(MAJOR_FUNCTIONS) else f"{major:#x}"


@dataclass(frozen=True)
class StackLocation:
    """An IO_STACK_LOCATION. `file_name` is "" when there is no file object or its name is paged out."""

    index: int  # 1 is the lowest driver's
    current: bool
    major: int
    minor: int
    flags: int
    control: int
    device: int
    file: int
    file_name: str
    completion: int  # routine, 0 for none
    context: int

    @property
    def function(self) -> str:
        """ "IRP_MJ_READ", for power with its minor function: "IRP_MJ_POWER, IRP_MN_SET_POWER"."""
        if self.major == POWER and self.minor < len(POWER_MINORS):
            return f"{major_name(self.major)}, IRP_MN_{POWER_MINORS[self.minor]}"
        return major_name(self.major)

    @property
    def used(self) -> bool:
        """Whether anybody has filled it in."""
        return bool(self.device or self.completion or self.major or self.minor)


@dataclass(frozen=True)
class Irp:
    """An IRP. `current` is None when it has been completed, or was not sent yet."""

    address: int
    thread: int
    stack_count: int
    current_location: int  # 1 ... stack_count, one more before it is sent, two more once it is completed
    locations: tuple[StackLocation, ...]  # the lowest driver's first
    status: int  # IoStatus.Status

    @property
    def current(self) -> StackLocation | None:
        """The location of the driver that has the request now; None when nobody has."""
        return next((each for each in self.locations if each.current), None)


def is_irp(kernel: Kernel, address: int) -> bool:
    """Whether there is an IRP at `address`; False when it is not in the dump."""
    try:
        kind, size = struct.unpack("<hH", kernel.memory.read(address, 4))
    except DumpError:
        return False
    return bool(kind == IRP_TYPE and size >= IRP_SIZE)


def read_irp(kernel: Kernel, address: int) -> Irp:
    """The IRP at `address`. DumpError when there is none; locations that lack in the dump are left out."""
    with kernel.reading("IRP") as used:
        if address < KERNEL_SPACE or address & 7:
            raise DumpError(f"there is no IRP at {address:#x}")
        raw = kernel.memory.read(address, IRP_SIZE)
        kind, size = struct.unpack_from("<hH", raw)
        count, current = struct.unpack_from("<bb", raw, 0x42)
        if kind != IRP_TYPE or not 0 < count <= MOST_LOCATIONS or not 0 <= current <= count + 2:
            raise DumpError(f"there is no IRP at {address:#x} (type {kind}, location {current} of {count})")
        used.check("the object is an IRP (IO_TYPE_IRP), its location is one of its stack")
        if size >= IRP_SIZE + LOCATION_SIZE * count:
            used.check("its size holds its stack locations")
        (status,) = struct.unpack_from("<I", raw, 0x30)
        (thread,) = struct.unpack_from("<Q", raw, 0x98)
        (pointer,) = struct.unpack_from("<Q", raw, 0xB8)
        if pointer == address + IRP_SIZE + LOCATION_SIZE * (current - 1):
            used.check("CurrentStackLocation is where CurrentLocation says")
        locations = []
        for index in range(1, count + 1):
            try:
                at = kernel.memory.read(address + IRP_SIZE + LOCATION_SIZE * (index - 1), LOCATION_SIZE)
            except DumpError:
                continue
            locations.append(_location(kernel, at, index, index == current))
        return Irp(address, thread, count, current, tuple(locations), status)


def _location(kernel: Kernel, raw: bytes, index: int, current: bool) -> StackLocation:
    major, minor, flags, control = struct.unpack_from("<4B", raw)
    device, file, completion, context = struct.unpack_from("<4Q", raw, 0x28)
    return StackLocation(
        index=index,
        current=current,
        major=major,
        minor=minor,
        flags=flags,
        control=control,
        device=device,
        file=file,
        file_name=file_name(kernel, file) if file >= KERNEL_SPACE else "",
        completion=completion,
        context=context,
    )


def file_name(kernel: Kernel, address: int) -> str:
    """FILE_OBJECT.FileName, "\\Shares\\data\\report.bin"; "" when it is not in the dump."""
    try:
        if struct.unpack("<h", kernel.memory.read(address, 2))[0] != FILE_TYPE:
            return ""
        return unicode_string(kernel.memory, address + 0x58)
    except DumpError:
        return ""
