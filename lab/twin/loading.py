"""Which drivers a boot loads, and what does not work when one is missing."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import StartType
from lab.twin.driver import NET_CLASS, NO_BOOT_CLASSES, CatalogueDriver
from lab.twin.registry import Registry


@dataclass(frozen=True)
class Loaded:
    """`drivers` in load order. `broken` holds what does not work: "the system", "the network", ..."""

    drivers: tuple[CatalogueDriver, ...]
    broken: frozenset[str]

    @property
    def services(self) -> frozenset[str]:
        return frozenset(driver.service for driver in self.drivers)

    @property
    def boots(self) -> bool:
        """False: STOP 0x7B at every boot."""
        return not self.broken & {"the system", "the system disk"}

    @property
    def smb(self) -> bool:
        return not self.broken & {"SMB", "the network"}

    @property
    def winrm(self) -> bool:
        return not self.broken & {"WinRM", "the network"}


def load(registry: Registry) -> Loaded:
    """A driver loads when it is not disabled, its device exists, and what it depends on is loaded.

    A class filter loads only from its class filter list. A name in such a list whose driver does not load
    keeps every device of the class from starting.
    """
    wanted = {d.service: d for d in registry.drivers if _wanted(d, registry)}
    while True:
        lacking = [d for d in wanted.values() if any(need not in wanted for need in d.depends_on)]
        if not lacking:
            break
        for driver in lacking:
            del wanted[driver.service]
    broken = {d.vital for d in registry.drivers if d.vital and d.present and d.service not in wanted}
    for (guid, _), names in registry.filters.items():
        if all(name in wanted for name in names):
            continue
        if guid in NO_BOOT_CLASSES:
            broken.add("the system disk")
        elif guid == NET_CLASS[0]:
            broken.add("the network")
    order = sorted(wanted.values(), key=lambda d: registry.starts[d.service])
    return Loaded(tuple(order), frozenset(broken))


def _wanted(driver: CatalogueDriver, registry: Registry) -> bool:
    if registry.starts[driver.service] is StartType.DISABLED or not driver.present:
        return False
    return not driver.places or bool(registry.places(driver.service))
