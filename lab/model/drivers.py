"""Drivers of a guest as Windows registers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class StartType(IntEnum):
    """`Start` of a service key (Services\\X\\Start)."""

    BOOT = 0
    SYSTEM = 1
    AUTO = 2
    DEMAND = 3
    DISABLED = 4


class Origin(StrEnum):
    """Who made a driver. `UNKNOWN` is never treated as innocent."""

    IN_BOX = "in-box"
    THIRD_PARTY = "third-party"
    UNKNOWN = "unknown"


@dataclass(frozen=True, order=True)
class ClassFilter:
    """One place of a driver in UpperFilters/LowerFilters of Control\\Class\\{GUID}.

    `index` is its position in that list as found, so that it can be put back in order.
    """

    class_guid: str
    class_name: str
    position: str  # "upper" or "lower"
    index: int


@dataclass(frozen=True)
class Driver:
    """A driver service as one guest reports it. `service` is the key name and the identity."""

    service: str
    image: str  # file name, e.g. "BadDriver.sys"
    image_path: str
    start: StartType
    running: bool
    display_name: str = ""
    group: str = ""
    company: str = ""
    signer: str = ""
    version: str = ""
    error_control: int = 1
    altitudes: tuple[str, ...] = ()
    class_filters: tuple[ClassFilter, ...] = ()
    depends_on: tuple[str, ...] = ()
    origin: Origin = Origin.UNKNOWN
    origin_because: str = ""
    pinned: str = ""  # why it must never be switched off; "" when it may be

    @property
    def in_question(self) -> bool:
        """Runs, and is not known to be part of Windows: only such a driver can be the one looked for."""
        return self.running and self.origin is not Origin.IN_BOX

    @property
    def is_minifilter(self) -> bool:
        return bool(self.altitudes)


@dataclass(frozen=True)
class DriverSetting:
    """The registry state that decides whether a driver loads at the next boot."""

    service: str
    start: StartType
    class_filters: tuple[ClassFilter, ...] = ()
