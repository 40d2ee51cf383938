"""More third-party drivers, of a server that many have had their hands on. All invented, as the others.

With them come drivers that need each other, and more that the lab must never switch off.
"""

from __future__ import annotations

from lab.model import StartType
from lab.twin.driver import (
    DISK_CLASS,
    HARDWARE_SIGNER,
    NET_CLASS,
    CatalogueDriver,
    FilterPlace,
    Kind,
    class_filter,
    minifilter,
)
from lab.twin.thirdparty import BRAMWICK, GRIVELT, OSKETH, TARNVALE, VELORUNE

_CORVANE = "Corvane Telemetry"
_ISSELBURN = "Isselburn Access"

_BOOT, _SYSTEM, _AUTO, _DEMAND = StartType.BOOT, StartType.SYSTEM, StartType.AUTO, StartType.DEMAND


def _other(
    service: str,
    image: str,
    start: StartType,
    company: str,
    version: str,
    display_name: str,
    *,
    group: str = "",
    depends_on: tuple[str, ...] = (),
    places: tuple[FilterPlace, ...] = (),
    vital: str = "",
) -> CatalogueDriver:
    return CatalogueDriver(
        service,
        image,
        Kind.OTHER,
        start,
        group=group,
        company=company,
        signer=HARDWARE_SIGNER,
        version=version,
        display_name=display_name,
        depends_on=depends_on,
        places=places,
        vital=vital,
    )


CROWD: tuple[CatalogueDriver, ...] = (
    _other(
        "VlrMultipath",
        "vlrmpio.sys",
        _BOOT,
        VELORUNE,
        "10.2.6.0",
        "Velorune multipath bus",
        group="System Bus Extender",
        vital="the system disk",
    ),
    _other(
        "BwVideo",
        "bwvga64.sys",
        _SYSTEM,
        BRAMWICK,
        "1.12.0.0",
        "Bramwick console display",
        group="Video",
        vital="the console",
    ),
    _other("CorvaneBase", "cvbase.sys", _SYSTEM, _CORVANE, "3.0.17.2", "Corvane sensor framework"),
    minifilter(
        "CorvaneFile",
        "cvfile.sys",
        _SYSTEM,
        "Activity Monitor",
        "371064",
        _CORVANE,
        "3.0.17.2",
        "Corvane file sensor",
        depends_on=("CorvaneBase",),
    ),
    _other(
        "CorvaneNet",
        "cvnet.sys",
        _SYSTEM,
        _CORVANE,
        "3.0.17.2",
        "Corvane connection sensor",
        group="PNP_TDI",
        depends_on=("Tcpip", "CorvaneBase"),
    ),
    minifilter(
        "IsselAccess",
        "islfs.sys",
        _BOOT,
        "Security Enhancer",
        "84316",
        _ISSELBURN,
        "9.7.0.31",
        "Isselburn access control",
    ),
    class_filter(
        "IsselDevice",
        "isldev.sys",
        DISK_CLASS,
        "upper",
        _ISSELBURN,
        "9.7.0.31",
        "Isselburn removable media control",
    ),
    minifilter(
        "TvOpen",
        "tvopen.sys",
        _AUTO,
        "Open File",
        "104260",
        TARNVALE,
        "3.9.1.4",
        "Tarnvale open file agent",
        signer="Tarnvale Systems",
    ),
    minifilter(
        "GrvVault",
        "grvvault.sys",
        _SYSTEM,
        "System Recovery",
        "221790",
        GRIVELT,
        "8.0.11.0",
        "Grivelt recovery vault",
        depends_on=("GrvSnap",),
    ),
    _other(
        "OskVlan",
        "oskvlan.sys",
        _SYSTEM,
        OSKETH,
        "7.30.2.5",
        "Osketh virtual networks",
        group="PnP Filter",
        places=(FilterPlace(NET_CLASS[0], "upper"),),
    ),
    _other("OskTunnel", "osktun.sys", _DEMAND, OSKETH, "7.30.2.5", "Osketh tunnel adapter"),
)
"""In the order in which they come; what one of them needs comes before it."""
