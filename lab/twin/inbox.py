"""Drivers that come with Windows: real names, groups and altitudes."""

from __future__ import annotations

from lab.model import StartType
from lab.twin.driver import (
    DISK_CLASS,
    KEYBOARD_CLASS,
    VOLUME_CLASS,
    CatalogueDriver,
    FilterPlace,
    Kind,
)

_WIN10 = frozenset({14393, 17763, 20348})
_SINCE_8 = frozenset({9600}) | _WIN10
_WIN7 = frozenset({7601})


def _in_box(
    service: str,
    start: StartType,
    image: str = "",
    *,
    group: str = "",
    altitude: str = "",
    places: tuple[FilterPlace, ...] = (),
    depends_on: tuple[str, ...] = (),
    file_system: bool = False,
    vital: str = "the system",
    data_volume: bool = False,
    builds: frozenset[int] = _WIN7 | _SINCE_8,
) -> CatalogueDriver:
    return CatalogueDriver(
        service,
        image or f"{service}.sys",
        Kind.IN_BOX,
        start,
        group=group,
        altitude=altitude,
        places=places,
        depends_on=depends_on,
        file_system=file_system,
        vital=vital,
        data_volume=data_volume,
        display_name=f"{service} driver",
        folder=r"System32\drivers" if start is StartType.BOOT else r"\SystemRoot\System32\drivers",
        error_control=3 if start is StartType.BOOT else 1,
        builds=builds,
    )


_BOOT, _SYSTEM, _AUTO, _DEMAND = StartType.BOOT, StartType.SYSTEM, StartType.AUTO, StartType.DEMAND

IN_BOX: tuple[CatalogueDriver, ...] = (
    _in_box("ACPI", _BOOT, group="Core"),
    _in_box("pci", _BOOT, group="Boot Bus Extender"),
    _in_box("msahci", _BOOT, group="SCSI Miniport", vital="", builds=_WIN7),
    _in_box("storahci", _BOOT, group="SCSI Miniport", vital="", builds=_SINCE_8),
    _in_box("FltMgr", _BOOT, "fltmgr.sys", group="FSFilter Infrastructure", file_system=True),
    _in_box("FileInfo", _BOOT, group="FSFilter Bottom", altitude="45000", vital="", data_volume=True),
    _in_box(
        "WdFilter",
        _BOOT,
        group="FSFilter Anti-Virus",
        altitude="328010",
        vital="",
        data_volume=True,
        depends_on=("FltMgr",),
        builds=_WIN10,
    ),
    _in_box("CNG", _BOOT, "cng.sys", group="Core"),
    _in_box("KSecDD", _BOOT, "ksecdd.sys", group="Base"),
    _in_box("NDIS", _BOOT, "ndis.sys", group="NDIS Wrapper", vital="the network"),
    _in_box("disk", _BOOT),
    _in_box("partmgr", _BOOT, group="Boot Bus Extender", places=(FilterPlace(DISK_CLASS[0], "upper"),)),
    _in_box("volmgr", _BOOT, group="System Bus Extender"),
    _in_box("mountmgr", _BOOT, group="System Bus Extender"),
    _in_box("fvevol", _BOOT, group="Filter", places=(FilterPlace(VOLUME_CLASS[0], "lower"),)),
    _in_box("volsnap", _BOOT, places=(FilterPlace(VOLUME_CLASS[0], "upper"),)),
    _in_box("Ntfs", _BOOT, group="Boot File System", file_system=True),
    _in_box("Tcpip", _BOOT, "tcpip.sys", group="PNP_TDI", vital="the network"),
    _in_box("MUP", _BOOT, "mup.sys", group="Network", file_system=True),
    _in_box("AFD", _SYSTEM, "afd.sys", group="PNP_TDI", vital="the network"),
    _in_box("rdbss", _SYSTEM, group="Network", file_system=True),
    _in_box("npsvctrig", _SYSTEM, altitude="46000", vital="", builds=_SINCE_8),
    _in_box("kbdclass", _DEMAND, group="Keyboard Class", places=(FilterPlace(KEYBOARD_CLASS[0], "upper"),)),
    _in_box("luafv", _AUTO, group="FSFilter Virtualization", altitude="135000", vital=""),
    _in_box("HTTP", _DEMAND, "http.sys", vital="WinRM"),
    _in_box("srvnet", _DEMAND, group="Network", file_system=True, vital="SMB"),
    _in_box("srv2", _DEMAND, group="Network", file_system=True, depends_on=("srvnet",), vital="SMB"),
    _in_box("mrxsmb", _DEMAND, group="Network", file_system=True, depends_on=("rdbss",)),
)
