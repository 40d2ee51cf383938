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
    registers: tuple[tuple[str, int], ...] = ()  # nonvolatile; all of them and rip where a context has them


@dataclass(frozen=True)
class ExceptionRecord:
    """The exception that the stop is about, and the registers of the code that raised it.

    Without its EXCEPTION_RECORD only what the bugcheck's parameters say of it is known; `where` tells which.
    `registers` are rax ... r15, rip and eflags, empty when no context of the fault is in the dump.
    """

    code: int  # NTSTATUS
    name: str  # "STATUS_ACCESS_VIOLATION", "" when not known
    address: int  # of the instruction
    symbol: str  # of the instruction
    where: str
    flags: int | None = None
    parameters: tuple[int, ...] = ()
    registers: tuple[tuple[str, int], ...] = ()
    registers_where: str = ""

    @property
    def attempt(self) -> str:
        """ "Attempt to write to address ffffffffffffffff", "" for an exception that is about no address."""
        if self.code not in (0xC0000005, 0xC0000006) or len(self.parameters) < 2:
            return ""
        kind, address = self.parameters[:2]
        ways = {0: "read from", 1: "write to", 8: "execute non-executable"}
        return f"Attempt to {ways[kind]} address {address:016x}" if kind in ways else ""


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


@dataclass(frozen=True)
class DispatchState:
    """Verifier's saved state of the IoCallDriver that went wrong, and where it leads."""

    address: int
    found_in: str  # "rbx of frame 2", "stack +0x48"
    checks: tuple[str, ...]  # invariants that held
    dispatch_routine: int
    dispatch_symbol: str
    apc_before: int
    device: int
    driver: str  # "\\FileSystem\\FltMgr"
    device_stack: tuple[tuple[int, str], ...]  # (device, driver name), top first
    volume: int = 0
    volume_name: str = ""
    instances: tuple[FilterInstance, ...] = ()
    image: str = ""  # file name of the device's driver; not the one of the routine where a library serves it
    major: int | None = None  # major function of the request, None when nothing tells
    irp: int = 0  # address of the request, 0 when the dump does not hold it


@dataclass(frozen=True)
class Signature:
    """What makes two crashes the same, tolerant of builds and offsets."""

    code: int
    sub_code: int  # the parameter that tells kinds apart (0xC4: parameter 1), or the exception; else 0
    thread_start: str  # "srv2!SrvProcWorkerThread" or ""
    functions: tuple[str, ...]  # "nt!PspExitThread", ... without offsets
    fault: str = ""  # where the stop says that it went wrong: "nt!memcpy", "BadDriver" without symbols


@dataclass(frozen=True)
class Reading:
    """What one reader of kernel objects stood on.

    `facts` are the names and layouts of the build that it used, with their source; `checks` the
    invariants that it tested and that held.
    """

    reader: str  # "critical-region log"
    facts: tuple[str, ...]  # "nt!VfKeCriticalRegionTraces = nt+0x985c00 (built-in table 10.0.17763.5933)"
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class WantedSymbols:
    """Symbols that would have been of use: which PDB, and where it was looked for."""

    module: str  # file name of the image
    pdb: str  # "srv2.pdb"
    key: str  # GUID and age as in symbol paths, "339E74133576439CBCDF7E0229DA37731"
    looked_in: tuple[str, ...]


@dataclass(frozen=True)
class Triage:
    """Everything `lab triage` says of one dump."""

    dump: DumpFacts
    bugcheck: Bugcheck
    thread: ThreadFacts | None
    stack: tuple[Frame, ...]
    modules: tuple[Module, ...]
    signature: Signature
    verifier: VerifierFacts | None = None
    dispatch: DispatchState | None = None
    evidence: tuple[Evidence, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    notes: tuple[str, ...] = field(default=())  # what could not be said, and why
    unloaded: tuple[UnloadedDriver, ...] = ()
    processors: tuple[ProcessorFacts, ...] = ()
    readings: tuple[Reading, ...] = ()
    wanted: tuple[WantedSymbols, ...] = ()
    exception: ExceptionRecord | None = None

    @property
    def third_party(self) -> tuple[Module, ...]:
        return tuple(m for m in self.modules if m.origin is not Origin.IN_BOX)
