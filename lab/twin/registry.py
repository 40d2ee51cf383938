"""What the guest keeps across boots: driver start values, class filter lists, verifier, crash control."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.model import BootMode, StartType, VerifierPlan
from lab.twin.driver import CLASS_NAMES, CatalogueDriver


class UnknownService(LookupError):
    """No driver service of that name."""


@dataclass
class CrashSettings:
    """Control\\CrashControl. Values count from the next boot."""

    crash_dump_enabled: int = 2
    auto_reboot: int = 1
    overwrite: int = 1
    always_keep: int = 1


@dataclass(frozen=True)
class Place:
    """A driver's place in one class filter list, as the registry has it now."""

    class_guid: str
    class_name: str
    position: str
    index: int


@dataclass(frozen=True)
class ControlSet:
    """What of the registry a boot is made from, as it was when one worked."""

    starts: dict[str, StartType]
    filters: dict[tuple[str, str], list[str]]
    verifier: VerifierPlan


@dataclass
class Registry:
    """Not thread-safe: the machine's lock guards it. Service names compare without case."""

    drivers: tuple[CatalogueDriver, ...]
    starts: dict[str, StartType] = field(init=False)
    filters: dict[tuple[str, str], list[str]] = field(init=False)
    verifier: VerifierPlan = field(default_factory=VerifierPlan)
    crash: CrashSettings = field(default_factory=CrashSettings)

    def __post_init__(self) -> None:
        self.starts = {driver.service: driver.start for driver in self.drivers}
        self.filters = {}
        for driver in self.drivers:
            for place in driver.places:
                self.filters.setdefault((place.class_guid, place.position), []).append(driver.service)

    def find(self, service: str) -> CatalogueDriver:
        """Raises UnknownService."""
        for driver in self.drivers:
            if driver.service.casefold() == service.casefold():
                return driver
        raise UnknownService(service)

    def places(self, service: str) -> tuple[Place, ...]:
        return tuple(
            Place(guid, CLASS_NAMES[guid], position, index)
            for (guid, position), names in sorted(self.filters.items())
            for index, name in enumerate(names)
            if name == service
        )

    def set_driver(self, service: str, start: StartType, places: list[tuple[str, str, int]]) -> None:
        """Set a start value and the whole of a driver's class filter places (GUID, position, index)."""
        name = self.find(service).service
        self.starts[name] = start
        for names in self.filters.values():
            while name in names:
                names.remove(name)
        for guid, position, index in sorted(places, key=lambda place: place[2]):
            self.filters.setdefault((guid, position), []).insert(index, name)

    def control_set(self) -> ControlSet:
        """A copy, to go back to."""
        filters = {place: list(names) for place, names in self.filters.items()}
        return ControlSet(dict(self.starts), filters, self.verifier)

    def go_back(self, known_good: ControlSet) -> None:
        """Everything of that copy holds again."""
        self.starts = dict(known_good.starts)
        self.filters = {place: list(names) for place, names in known_good.filters.items()}
        self.verifier = known_good.verifier

    def take_verifier_plan(self, *, unusual_shutdown: bool) -> VerifierPlan:
        """What holds for the boot that begins now; settings for one boot only are used up by it."""
        plan = self.verifier
        if plan.boot_mode is BootMode.RESET_ON_UNUSUAL_SHUTDOWN and unusual_shutdown:
            self.verifier = plan = VerifierPlan()
        elif plan.boot_mode is BootMode.ONE_BOOT:
            self.verifier = VerifierPlan()
        return plan
