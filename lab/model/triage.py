"""All that was read from one dump, as plain values that can be stored, compared and shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.model.bugcheck import Bugcheck
from lab.model.drivers import Origin
from lab.model.evidence import Evidence, Suspect


@dataclass(frozen=True)
class DumpFacts:
    """The file itself. Times: UTC ISO 8601; uptime: seconds."""

    path: str
    size: int
    dump_type: int
    dump_type_name: str
    build: int
    machine: str  # "x64"
    processors: int
    system_time: str
    uptime: float
    complete: bool
    warnings: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()  # stable names of what is wrong with it


@dataclass(frozen=True)
class Module:
    """A loaded driver image. `pdb` is "NAME/GUIDAGE" or "" when its headers are not in the dump."""

    name: str  # file name as loaded
    base: int
    size: int
    timestamp: int
    pdb: str
    origin: Origin
    origin_because: str
    version: str = ""  # file version of its VS_VERSIONINFO, "6.1.7601.24540"; "" when not in the dump
    company: str = ""  # CompanyName of its VS_VERSIONINFO


@dataclass(frozen=True)
class UnloadedDriver:
    """A driver that had been unloaded. `when` is UTC, ISO 8601, "" when the dump does not tell."""

    name: str
    start: int
    end: int
    when: str


@dataclass(frozen=True)
class Frame:
    """One stack frame as the debugger's `kn` shows it. `how`: "context", "unwound" or "scanned"."""

    index: int
    child_sp: int
    return_address: int
    instruction: int
    symbol: str  # "nt!VfAfterCallDriver+0x33e"
    module: str  # file name, or "" when unknown
    how: str
    note: str = ""
    registers: tuple[tuple[str, int], ...] = ()  # nonvolatile registers in this frame


@dataclass(frozen=True)
class ThreadFacts:
    """The crashing thread. APC disable counts are signed 16-bit: -1 is one disable too many."""

    address: int
    process: str
    cid: str  # "4.998"
    start: str  # symbol of the Win32 start address
    kernel_apc_disable: int | None
    special_apc_disable: int | None
    stack_base: int
    stack_limit: int


@dataclass(frozen=True)
class ThreadSummary:
    """One thread of many. `state` in the debugger's word ("RUNNING", "WAIT"); counts are signed 16-bit."""

    address: int
    cid: str  # "4.998"
    state: str
    start: str  # symbol of the start address
    kernel_apc_disable: int | None
    special_apc_disable: int | None


@dataclass(frozen=True)
class ProcessFacts:
    """A process. Unknown numbers are 0, unknown text is ""."""

    address: int
    process_id: int
    name: str
    directory_table_base: int
    threads: tuple[ThreadSummary, ...] = ()


@dataclass(frozen=True)
class ProcessorFacts:
    """A processor as it was saved at the stop. `thread` is KPRCB.CurrentThread."""

    number: int
    prcb: int
    thread: int
    instruction: int
    stack_pointer: int
    symbol: str  # of the instruction
    crashed: bool


@dataclass(frozen=True)
class CriticalRegionEntry:
    """One entry of the Enter/Leave Critical Region log (`!verifier 200`), newest first."""

    thread: int
    direction: str  # "enter", "leave" or "unknown"
    caller: str  # image file name of the first frame outside nt, or ""
    stack: tuple[str, ...]


@dataclass(frozen=True)
class IrpLogEntry:
    """One entry of the IRP log (`!verifier 100`), newest first. Counts are signed 16-bit."""

    irp: int
    thread: int
    irql: int
    kernel_apc_disable: int
    special_apc_disable: int
    caller: str  # image file name of the first frame outside nt, or ""
    stack: tuple[str, ...]


@dataclass(frozen=True)
class VerifiedDriver:
    """A verified driver that was loaded when the system stopped, with verifier's own counters of it."""

    name: str
    base: int
    size: int
    counters: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class VerifierFacts:
    """Driver Verifier in the crashed kernel.

    `drivers` are named in its settings, `loaded` are those of them that were in memory. `counters` are
    the system's, by the names of MM_DRIVER_VERIFIER_DATA.
    """

    level: int
    options: tuple[str, ...]
    drivers: tuple[str, ...]
    log_allocated: bool
    log_capacity: int
    log: tuple[CriticalRegionEntry, ...] = ()
    counters: tuple[tuple[str, int], ...] = ()
    loaded: tuple[VerifiedDriver, ...] = ()
    irp_log: tuple[IrpLogEntry, ...] = ()
    log_missing: int = 0  # slots of the critical-region log that are not in the dump


@dataclass(frozen=True)
class FilterInstance:
    """A minifilter instance attached to the volume in question."""

    address: int
    name: str
    altitude: str
    filter_name: str
    image: str  # file name of the driver, "" when it could not be resolved
    origin: Origin
    handles_read: bool | None  # a callback for the request's major function; READ's if unknown
