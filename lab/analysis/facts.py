"""What the rules of the analysis reason about: plain values, so that a rule needs no dump to be tested."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Bugcheck, DispatchState, Frame, Module, Origin, ThreadFacts, VerifierFacts

KERNEL_IMAGES = frozenset({"ntoskrnl.exe", "ntkrnlmp.exe", "hal.dll"})
"""Where a fault shows when somebody else gave them bad data."""


@dataclass(frozen=True)
class ExceptionFacts:
    """An exception the bugcheck tells of. `where` says which parameter or record it was read from."""

    code: int  # NTSTATUS
    address: int  # of the instruction
    where: str


@dataclass(frozen=True)
class Facts:
    """Everything read from one dump, before anything is concluded."""

    bugcheck: Bugcheck
    modules: tuple[Module, ...]
    thread: ThreadFacts | None = None
    stack: tuple[Frame, ...] = ()
    verifier: VerifierFacts | None = None
    dispatch: DispatchState | None = None
    exception: ExceptionFacts | None = None

    def module_at(self, address: int) -> Module | None:
        """The module whose image holds `address`."""
        return next((m for m in self.modules if m.base <= address < m.base + m.size), None)

    def module_named(self, image: str) -> Module | None:
        return next((m for m in self.modules if m.name.casefold() == image.casefold()), None)

    def accusable(self, image: str) -> bool:
        """True for a loaded image that is not known to be in-box; nothing else may become a suspect."""
        module = self.module_named(image)
        return module is not None and module.origin is not Origin.IN_BOX

    def place(self, address: int) -> str:
        """`BadDriver.sys+0x12a0`, or the bare address when no module holds it."""
        module = self.module_at(address)
        return f"{module.name}+{address - module.base:#x}" if module else f"{address:#x}"


def function(symbol: str) -> str:
    """`nt!VfAfterCallDriver+0x33e` -> `nt!VfAfterCallDriver`; `BadDriver+0x12` -> `BadDriver`."""
    return symbol.split("(", 1)[0].split("+0x", 1)[0].strip()
