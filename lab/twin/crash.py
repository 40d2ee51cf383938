"""The state of a simulated Windows at the moment it stops: all that its dump file is made from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stop(StrEnum):
    """Why the machine stopped, in the words of the bug check reference."""

    APC_PENDING_DURING_EXIT = "0x20"
    DISPATCH_CHANGED_APC = "0xC4/0xC5"
    NMI = "0x80"
    MANUAL = "0xE2"
    PAGED_AT_DISPATCH = "0xD1"
    POWER_IRP_BLOCKED = "0x9F/3"
    POOL_LEAKED = "0xC4/0x62"
    DPC_WATCHDOG = "0x133"


@dataclass(frozen=True)
class Image:
    """A loaded image: its file name ("BadDriver.sys") and its least size in memory, in bytes.

    `company` and `version` go into its version resource; empty ones are made up.
    """

    name: str
    third_party: bool
    size: int = 0x40000
    company: str = ""
    version: str = ""


@dataclass(frozen=True)
class RegionLogEntry:
    """One call of KeEnterCriticalRegion ("enter") or KeLeaveCriticalRegion ("leave").

    `thread` is the key of a thread (any small integer); `image` is the caller's file name.
    """

    thread: int
    direction: str
    image: str


@dataclass(frozen=True)
class Instance:
    """A minifilter's instance on the volume. `image` is the file name of the filter's driver."""

    name: str
    altitude: str
    image: str


@dataclass(frozen=True)
class IrpLogEntry:
    """A request that was allocated ("allocate") or completed ("complete") by an image, and the signed kernel
    APC disable count of the thread at that moment. `thread` is its key."""

    thread: int
    action: str
    image: str
    apc: int = 0


@dataclass(frozen=True)
class Unloaded:
    """A driver that was unloaded `seconds` before the stop."""

    name: str
    size: int = 0x20000
    seconds: float = 60.0


@dataclass(frozen=True)
class CrashState:
    """Everything the dump of one stop says. Equal states give equal dump files, byte for byte."""

    build: int  # one of lab.twin.memory.BUILDS
    seed: int
    stop: Stop
    images: tuple[Image, ...]  # load order, ntoskrnl.exe first; with hal.dll, fltmgr.sys, Ntfs.sys, srv2.sys
    thread: int  # key of the crashing thread
    apc_before: int = 0  # signed kernel APC disable count before the dispatch routine was called
    apc_now: int = -1  # the same at the stop; give 0 for stops that the lab causes itself
    dispatch_owner: str = "fltmgr.sys"  # image whose dispatch routine 0xC4/0xC5 names, or that 0xD1 ... blame
    instances: tuple[Instance, ...] = ()  # on the volume, in any order
    volume: str = r"\Device\HarddiskVolume3"
    verifier_level: int = 0
    verified: tuple[str, ...] = ()  # file names of verified drivers
    region_log: tuple[RegionLogEntry, ...] = ()  # oldest first, at most 128
    processors: int = 2
    uptime_seconds: float = 86400.0
    system_time: float = 1325376000.0  # seconds since 1970, UTC
    computer: str = ""
    irp_log: tuple[IrpLogEntry, ...] = ()  # oldest first, at most 128; with level 0x10, not on 7601
    unloaded: tuple[Unloaded, ...] = ()  # oldest first; behind those that every boot unloads
    leaks: int = 3  # pool blocks that the driver of POOL_LEAKED did not free
    log_paged_out: bool = False  # the critical region log is not in the dump
    state_on_stack: bool = False  # Verifier's record of a call is on the stack instead of in pool
    without_headers: tuple[str, ...] = ()  # images whose first page is not in the dump
    five_levels: bool = False  # page tables of a processor with LA57
    encoded_kdbg: bool = False  # KDDEBUGGER_DATA64 as it is while Windows runs; not on 7601


__all__ = ["CrashState", "Image", "Instance", "IrpLogEntry", "RegionLogEntry", "Stop", "Unloaded"]
