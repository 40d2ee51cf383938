"""What the rules of the analysis reason about: plain values, so that a rule needs no dump to be tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.analysis.origin import classify, may_be_in_box
from lab.kernel.power import PowerFailure
from lab.model import (
    Bugcheck,
    DispatchState,
    Driver,
    ExceptionRecord,
    FilterInstance,
    Frame,
    Module,
    Origin,
    ProcessorFacts,
    ThreadFacts,
    UnloadedDriver,
    VerifierFacts,
)

KERNEL_IMAGES = frozenset({"ntoskrnl.exe", "ntkrnlmp.exe", "hal.dll"})
"""Where a fault shows when somebody else gave them bad data."""

CHECKERS = frozenset({"verifierext.sys", "verifier.dll"})
"""Driver Verifier's own code outside the kernel."""


@dataclass(frozen=True)
class ExceptionFacts:
    """An exception the bugcheck tells of. `where` says which parameter or record it was read from."""

    code: int  # NTSTATUS
    address: int  # of the instruction
    where: str


@dataclass(frozen=True)
class TrapFacts:
    """The trap frame that the bugcheck names: where execution was when it was interrupted."""

    instruction: int
    symbol: str
    where: str


@dataclass(frozen=True)
class DeviceFacts:
    """A device object that a parameter leads to. `image` is its driver's file name, "" when not known.

    `stack` is the device stack, top first: (device, driver object name, image).
    """

    address: int
    driver: str  # "\\Driver\\usbhub"
    image: str
    stack: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True)
class RequestFacts:
    """An IRP. `device` is that of its current stack location: who holds it now; 0 when not known."""

    address: int
    major: int | None
    minor: int | None
    device: int
    image: str  # of that device's driver
    thread: int = 0


@dataclass(frozen=True)
class PoolFacts:
    """A block of pool that a parameter leads to. `users` are images whose code holds the tag."""

    address: int
    tag: str  # "Ntfs", "" when not known
    size: int  # bytes, 0 when not known
    where: str  # what it was read from
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything read from one dump, before anything is concluded.

    `texts`, `devices`, `requests`, `pool` and `stacks` hold what the parameters lead to, by address.
    `named` is the driver that the kernel itself names (nt!KiBugCheckDriver). `major` is the major function of
    the request whose call was checked. `elsewhere` are the minifilter instances of other volumes.
    """

    bugcheck: Bugcheck
    modules: tuple[Module, ...]
    thread: ThreadFacts | None = None
    stack: tuple[Frame, ...] = ()
    verifier: VerifierFacts | None = None
    dispatch: DispatchState | None = None
    exception: ExceptionFacts | None = None
    record: ExceptionRecord | None = None
    trap: TrapFacts | None = None
    named: str = ""
    major: int | None = None
    elsewhere: tuple[FilterInstance, ...] = ()
    power: PowerFailure | None = None
    processors: tuple[ProcessorFacts, ...] = ()
    unloaded: tuple[UnloadedDriver, ...] = ()
    texts: Mapping[int, str] = field(default_factory=dict)
    devices: Mapping[int, DeviceFacts] = field(default_factory=dict)
    requests: Mapping[int, RequestFacts] = field(default_factory=dict)
    pool: Mapping[int, PoolFacts] = field(default_factory=dict)
    stacks: Mapping[int, tuple[Frame, ...]] = field(default_factory=dict)
    known: Mapping[str, Driver] = field(default_factory=dict)  # see origin.by_image

    def module_at(self, address: int) -> Module | None:
        """The module whose image holds `address`."""
        return next((m for m in self.modules if m.base <= address < m.base + m.size), None)

    def module_named(self, image: str) -> Module | None:
        return next((m for m in self.modules if m.name.casefold() == image.casefold()), None)

    def module_called(self, name: str) -> Module | None:
        """A module by its file name with or without ".sys": "BadDriver" and "BadDriver.sys"."""
        wanted = stem(name)
        return next((m for m in self.modules if stem(m.name) == wanted), None) if wanted else None

    def unloaded_at(self, address: int) -> UnloadedDriver | None:
        """The driver that was at `address` before it was unloaded; the latest of several."""
        return next((u for u in reversed(self.unloaded) if u.start <= address < u.end), None)

    def accusable(self, image: str) -> bool:
        """True for an image in the dump that is not known to be in-box; nothing else may become a suspect.

        An unloaded driver counts: it may have left something behind.
        """
        module = self.module_named(image)
        if module is not None:
            return module.origin is not Origin.IN_BOX
        gone = any(u.name.casefold() == image.casefold() for u in self.unloaded)
        return gone and classify(image, self.known)[0] is not Origin.IN_BOX and not may_be_in_box(image)

    def place(self, address: int) -> str:
        """`BadDriver.sys+0x12a0`, or the bare address when no module holds it."""
        module = self.module_at(address)
        if module is not None:
            return f"{module.name}+{address - module.base:#x}"
        gone = self.unloaded_at(address)
        return f"{gone.name}+{address - gone.start:#x} (unloaded)" if gone else f"{address:#x}"


def function(symbol: str) -> str:
    """`nt!VfAfterCallDriver+0x33e` -> `nt!VfAfterCallDriver`; `BadDriver+0x12` -> `BadDriver`."""
    return symbol.split("(", 1)[0].split("+0x", 1)[0].strip()


def stem(image: str) -> str:
    """The file name without its extension, in lower case; the kernel's is "nt"."""
    name = image.casefold()
    if name in ("ntoskrnl.exe", "ntkrnlmp.exe"):
        return "nt"
    return name.removesuffix(".sys").removesuffix(".exe").removesuffix(".dll")
