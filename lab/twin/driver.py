"""One driver service of the simulated server, as its maker ships it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lab.model import StartType

VOLUME_CLASS = ("{71a27cdd-812a-11d0-bec7-08002be2092f}", "Volume")
DISK_CLASS = ("{4d36e967-e325-11ce-bfc1-08002be10318}", "DiskDrive")
NET_CLASS = ("{4d36e972-e325-11ce-bfc1-08002be10318}", "Net")
KEYBOARD_CLASS = ("{4d36e96b-e325-11ce-bfc1-08002be10318}", "Keyboard")
CLASS_NAMES = dict((VOLUME_CLASS, DISK_CLASS, NET_CLASS, KEYBOARD_CLASS))
"""GUID to name of the device setup classes that have filters here (Control\\Class\\{GUID}\\Class)."""

NO_BOOT_CLASSES = frozenset({VOLUME_CLASS[0], DISK_CLASS[0]})
"""A filter listed there that does not load keeps the system disk from starting: STOP 0x7B."""

WINDOWS = "Microsoft Corporation"
WINDOWS_SIGNER = "Microsoft Windows"
HARDWARE_SIGNER = "Microsoft Windows Hardware Compatibility Publisher"


class Kind(StrEnum):
    """Where a driver sits. Only the first two are on the path of an IoCallDriver that serves a READ."""

    MINIFILTER = "minifilter"
    CLASS_FILTER = "class filter"
    OTHER = "other"
    IN_BOX = "in-box"


@dataclass(frozen=True)
class FilterPlace:
    """One place in UpperFilters or LowerFilters of a device setup class."""

    class_guid: str
    position: str  # "upper" or "lower"


@dataclass(frozen=True)
class CatalogueDriver:
    """One driver service as shipped. `altitude` is that of its only instance."""

    service: str
    image: str
    kind: Kind
    start: StartType
    group: str = ""
    company: str = WINDOWS
    signer: str = WINDOWS_SIGNER
    version: str = ""
    display_name: str = ""
    folder: str = r"\SystemRoot\System32\drivers"
    altitude: str = ""
    places: tuple[FilterPlace, ...] = ()
    depends_on: tuple[str, ...] = ()
    error_control: int = 1
    file_system: bool = False
    present: bool = True  # a demand-start driver whose device exists
    vital: str = ""  # what stops working without it, "" when the server runs on
    data_volume: bool = False  # an in-box minifilter that always attaches to the data volume
    builds: frozenset[int] = field(default=frozenset({7601, 9600, 14393, 17763, 20348}))

    @property
    def third_party(self) -> bool:
        return self.kind is not Kind.IN_BOX

    @property
    def image_path(self) -> str:
        return f"{self.folder}\\{self.image}"

    @property
    def service_type(self) -> int:
        """`Type` of the service key: 2 for file system drivers and minifilters, else 1."""
        return 2 if self.altitude or self.file_system else 1


def minifilter(
    service: str,
    image: str,
    start: StartType,
    group: str,
    altitude: str,
    company: str,
    version: str,
    display_name: str,
    signer: str = HARDWARE_SIGNER,
    depends_on: tuple[str, ...] = (),
) -> CatalogueDriver:
    """A third-party minifilter; `group` is its load order group without "FSFilter"."""
    return CatalogueDriver(
        service,
        image,
        Kind.MINIFILTER,
        start,
        group=f"FSFilter {group}",
        altitude=altitude,
        company=company,
        signer=signer,
        version=version,
        display_name=display_name,
        depends_on=("FltMgr", *depends_on),
    )


def class_filter(
    service: str,
    image: str,
    setup_class: tuple[str, str],
    position: str,
    company: str,
    version: str,
    display_name: str,
) -> CatalogueDriver:
    """A third-party boot-start filter in the list of a device setup class (GUID and name)."""
    return CatalogueDriver(
        service,
        image,
        Kind.CLASS_FILTER,
        StartType.BOOT,
        group="PnP Filter",
        company=company,
        signer=HARDWARE_SIGNER,
        version=version,
        display_name=display_name,
        folder=r"System32\drivers",
        places=(FilterPlace(setup_class[0], position),),
        error_control=1,
    )
