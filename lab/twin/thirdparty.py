"""Third-party drivers of the simulated server. Every vendor and product here is invented.

Altitudes lie in the ranges Microsoft allocates to their load order groups.
"""

from __future__ import annotations

from lab.model import StartType
from lab.twin.driver import (
    DISK_CLASS,
    HARDWARE_SIGNER,
    NET_CLASS,
    VOLUME_CLASS,
    CatalogueDriver,
    FilterPlace,
    Kind,
)

NOISY = "TvScout"
"""Enters and leaves critical regions in pairs all the time, on threads of its own. It does no harm."""

TAMPER_PROTECTED = "LumidrakeSelf"
"""Puts its own start value back at the next boot, when the twin is told to have a driver that sticks."""

_QUILLMERE = "Quillmere Software"
_TARNVALE = "Tarnvale Systems"
_GRIVELT = "Grivelt Backup"
_PELLUCINE = "Pellucine Data Security"
_LUMIDRAKE = "Lumidrake Endpoint"
_BRAMWICK = "Bramwick Instruments"
_VELORUNE = "Velorune Storage"
_HARROWFEN = "Harrowfen Caching"
_OSKETH = "Osketh Networks"

_BOOT, _SYSTEM, _AUTO, _DEMAND = StartType.BOOT, StartType.SYSTEM, StartType.AUTO, StartType.DEMAND


def _minifilter(
    service: str,
    image: str,
    start: StartType,
    group: str,
    altitude: str,
    company: str,
    version: str,
    display_name: str,
    signer: str = HARDWARE_SIGNER,
) -> CatalogueDriver:
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
        depends_on=("FltMgr",),
    )


def _class_filter(
    service: str,
    image: str,
    setup_class: tuple[str, str],
    position: str,
    company: str,
    version: str,
    display_name: str,
) -> CatalogueDriver:
    return CatalogueDriver(
        service,
        image,
        Kind.CLASS_FILTER,
        _BOOT,
        group="PnP Filter",
        company=company,
        signer=HARDWARE_SIGNER,
        version=version,
        display_name=display_name,
        folder=r"System32\drivers",
        places=(FilterPlace(setup_class[0], position),),
        error_control=1,
    )


THIRD_PARTY: tuple[CatalogueDriver, ...] = (
    _minifilter(
        "QmShield",
        "qmshield.sys",
        _BOOT,
        "Anti-Virus",
        "321418.6",
        _QUILLMERE,
        "11.4.2.190",
        "Quillmere Shield on-access scanner",
    ),
    _minifilter(
        "LumidrakeAudit",
        "ldaudit.sys",
        _SYSTEM,
        "Activity Monitor",
        "385412",
        _LUMIDRAKE,
        "5.2.0.77",
        "Lumidrake file activity sensor",
    ),
    _minifilter(
        "TarnvaleHsm",
        "tvhsm.sys",
        _AUTO,
        "HSM",
        "189617",
        _TARNVALE,
        "3.9.1.4",
        "Tarnvale tiered storage recall filter",
        signer="Tarnvale Systems",
    ),
    _minifilter(
        "GrvSnap",
        "grvsnap.sys",
        _BOOT,
        "Continuous Backup",
        "281453",
        _GRIVELT,
        "8.0.11.0",
        "Grivelt continuous protection",
    ),
    _minifilter(
        "VlrReplica",
        "vlrrep64.sys",
        _AUTO,
        "Replication",
        "305127",
        _VELORUNE,
        "2.6.40.1",
        "Velorune file replication",
    ),
    _minifilter(
        "QmContent",
        "qmdlp.sys",
        _SYSTEM,
        "Content Screener",
        "266384",
        _QUILLMERE,
        "11.4.2.190",
        "Quillmere content screening",
    ),
    _minifilter(
        "BwQuota",
        "bwquota.sys",
        _AUTO,
        "Quota Management",
        "246217",
        _BRAMWICK,
        "1.12.0.0",
        "Bramwick share quota",
        signer="Bramwick Instruments",
    ),
    _minifilter(
        "PellucineCrypt",
        "plcfs.sys",
        _BOOT,
        "Encryption",
        "141874",
        _PELLUCINE,
        "6.1.3.512",
        "Pellucine file encryption",
    ),
    _minifilter(
        "GrvUndel",
        "grvundel.sys",
        _SYSTEM,
        "Undelete",
        "345306",
        _GRIVELT,
        "8.0.11.0",
        "Grivelt recycle protection",
    ),
    _class_filter(
        "HfMirror",
        "hfmirror.sys",
        VOLUME_CLASS,
        "upper",
        _HARROWFEN,
        "4.4.0.18",
        "Harrowfen volume mirror",
    ),
    _class_filter(
        "PellucineVolume",
        "plcvol.sys",
        VOLUME_CLASS,
        "lower",
        _PELLUCINE,
        "6.1.3.512",
        "Pellucine volume encryption",
    ),
    _class_filter(
        "GrvTrack",
        "grvcbt.sys",
        DISK_CLASS,
        "upper",
        _GRIVELT,
        "8.0.11.0",
        "Grivelt changed block tracking",
    ),
    _class_filter(
        "HfCache",
        "hfcache.sys",
        DISK_CLASS,
        "lower",
        _HARROWFEN,
        "4.4.0.18",
        "Harrowfen read cache",
    ),
    CatalogueDriver(
        "OskLane",
        "osklane.sys",
        Kind.OTHER,
        _SYSTEM,
        group="PnP Filter",
        company=_OSKETH,
        signer=HARDWARE_SIGNER,
        version="7.30.2.5",
        display_name="Osketh traffic shaping filter",
        places=(FilterPlace(NET_CLASS[0], "upper"),),
    ),
    CatalogueDriver(
        "OskethWfp",
        "oskwfp.sys",
        Kind.OTHER,
        _SYSTEM,
        group="PNP_TDI",
        company=_OSKETH,
        signer="Osketh Networks",
        version="7.30.2.5",
        display_name="Osketh connection inspection callout",
        depends_on=("Tcpip",),
    ),
    CatalogueDriver(
        "LumidrakeSelf",
        "ldself.sys",
        Kind.OTHER,
        _SYSTEM,
        company=_LUMIDRAKE,
        signer=HARDWARE_SIGNER,
        version="5.2.0.77",
        display_name="Lumidrake self protection",
        folder=r"\??\C:\Program Files\Lumidrake\Endpoint",
    ),
    CatalogueDriver(
        "TvScout",
        "tvscout.sys",
        Kind.OTHER,
        _AUTO,
        company=_TARNVALE,
        signer="Tarnvale Systems",
        version="3.9.1.4",
        display_name="Tarnvale discovery agent",
    ),
    CatalogueDriver(
        "BwVirtualBus",
        "bwvbus.sys",
        Kind.OTHER,
        _DEMAND,
        group="Extended Base",
        company=_BRAMWICK,
        signer=HARDWARE_SIGNER,
        version="1.12.0.0",
        display_name="Bramwick virtual instrument bus",
    ),
    CatalogueDriver(
        "BwSensor",
        "bwsens64.sys",
        Kind.OTHER,
        _DEMAND,
        company=_BRAMWICK,
        signer="Bramwick Instruments",
        version="1.12.0.0",
        display_name="Bramwick board sensors",
    ),
    CatalogueDriver(
        "PellucineToken",
        "plctok.sys",
        Kind.OTHER,
        _DEMAND,
        company=_PELLUCINE,
        signer=HARDWARE_SIGNER,
        version="2.0.8.1",
        display_name="Pellucine USB token",
        present=False,
    ),
    CatalogueDriver(
        "VlrScsi",
        "vlrscsi.sys",
        Kind.OTHER,
        _BOOT,
        group="SCSI Miniport",
        company=_VELORUNE,
        signer=HARDWARE_SIGNER,
        version="10.2.6.0",
        display_name="Velorune VS-9400 host bus adapter",
        folder=r"System32\drivers",
        error_control=3,
        vital="the system disk",
    ),
    CatalogueDriver(
        "OskE10",
        "oske10x64.sys",
        Kind.OTHER,
        _DEMAND,
        group="NDIS",
        company=_OSKETH,
        signer=HARDWARE_SIGNER,
        version="12.18.9.23",
        display_name="Osketh E10 10-gigabit adapter",
        vital="the network",
    ),
)
