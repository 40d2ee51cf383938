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
    class_filter,
    minifilter,
)

NOISY = "TvScout"
"""Enters and leaves critical regions in pairs all the time, on threads of its own. It does no harm."""

TAMPER_PROTECTED = "LumidrakeSelf"
"""Puts its own start value back at the next boot, when the twin is told to have a driver that sticks."""

QUILLMERE = "Quillmere Software"
TARNVALE = "Tarnvale Systems"
GRIVELT = "Grivelt Backup"
PELLUCINE = "Pellucine Data Security"
LUMIDRAKE = "Lumidrake Endpoint"
BRAMWICK = "Bramwick Instruments"
VELORUNE = "Velorune Storage"
HARROWFEN = "Harrowfen Caching"
OSKETH = "Osketh Networks"

_BOOT, _SYSTEM, _AUTO, _DEMAND = StartType.BOOT, StartType.SYSTEM, StartType.AUTO, StartType.DEMAND


THIRD_PARTY: tuple[CatalogueDriver, ...] = (
    minifilter(
        "QmShield",
        "qmshield.sys",
        _BOOT,
        "Anti-Virus",
        "321418.6",
        QUILLMERE,
        "11.4.2.190",
        "Quillmere Shield on-access scanner",
    ),
    minifilter(
        "LumidrakeAudit",
        "ldaudit.sys",
        _SYSTEM,
        "Activity Monitor",
        "385412",
        LUMIDRAKE,
        "5.2.0.77",
        "Lumidrake file activity sensor",
    ),
    minifilter(
        "TarnvaleHsm",
        "tvhsm.sys",
        _AUTO,
        "HSM",
        "189617",
        TARNVALE,
        "3.9.1.4",
        "Tarnvale tiered storage recall filter",
        signer="Tarnvale Systems",
    ),
    minifilter(
        "GrvSnap",
        "grvsnap.sys",
        _BOOT,
        "Continuous Backup",
        "281453",
        GRIVELT,
        "8.0.11.0",
        "Grivelt continuous protection",
    ),
    minifilter(
        "VlrReplica",
        "vlrrep64.sys",
        _AUTO,
        "Replication",
        "305127",
        VELORUNE,
        "2.6.40.1",
        "Velorune file replication",
    ),
    minifilter(
        "QmContent",
        "qmdlp.sys",
        _SYSTEM,
        "Content Screener",
        "266384",
        QUILLMERE,
        "11.4.2.190",
        "Quillmere content screening",
    ),
    minifilter(
        "BwQuota",
        "bwquota.sys",
        _AUTO,
        "Quota Management",
        "246217",
        BRAMWICK,
        "1.12.0.0",
        "Bramwick share quota",
        signer="Bramwick Instruments",
    ),
    minifilter(
        "PellucineCrypt",
        "plcfs.sys",
        _BOOT,
        "Encryption",
        "141874",
        PELLUCINE,
        "6.1.3.512",
        "Pellucine file encryption",
    ),
    minifilter(
        "GrvUndel",
        "grvundel.sys",
        _SYSTEM,
        "Undelete",
        "345306",
        GRIVELT,
        "8.0.11.0",
        "Grivelt recycle protection",
    ),
    class_filter(
        "HfMirror",
        "hfmirror.sys",
        VOLUME_CLASS,
        "upper",
        HARROWFEN,
        "4.4.0.18",
        "Harrowfen volume mirror",
    ),
    class_filter(
        "PellucineVolume",
        "plcvol.sys",
        VOLUME_CLASS,
        "lower",
        PELLUCINE,
        "6.1.3.512",
        "Pellucine volume encryption",
    ),
    class_filter(
        "GrvTrack",
        "grvcbt.sys",
        DISK_CLASS,
        "upper",
        GRIVELT,
        "8.0.11.0",
        "Grivelt changed block tracking",
    ),
    class_filter(
        "HfCache",
        "hfcache.sys",
        DISK_CLASS,
        "lower",
        HARROWFEN,
        "4.4.0.18",
        "Harrowfen read cache",
    ),
    CatalogueDriver(
        "OskLane",
        "osklane.sys",
        Kind.OTHER,
        _SYSTEM,
        group="PnP Filter",
        company=OSKETH,
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
        company=OSKETH,
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
        company=LUMIDRAKE,
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
        company=TARNVALE,
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
        company=BRAMWICK,
        signer=HARDWARE_SIGNER,
        version="1.12.0.0",
        display_name="Bramwick virtual instrument bus",
    ),
    CatalogueDriver(
        "BwSensor",
        "bwsens64.sys",
        Kind.OTHER,
        _DEMAND,
        company=BRAMWICK,
        signer="Bramwick Instruments",
        version="1.12.0.0",
        display_name="Bramwick board sensors",
    ),
    CatalogueDriver(
        "PellucineToken",
        "plctok.sys",
        Kind.OTHER,
        _DEMAND,
        company=PELLUCINE,
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
        company=VELORUNE,
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
        company=OSKETH,
        signer=HARDWARE_SIGNER,
        version="12.18.9.23",
        display_name="Osketh E10 10-gigabit adapter",
        vital="the network",
    ),
)
