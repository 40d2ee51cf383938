"""Who made a driver, and whether it may ever be switched off. Pure rules over what a guest reports."""

from __future__ import annotations

from collections.abc import Mapping

from lab.model import Origin

WINDOWS_SIGNERS = frozenset(
    {
        "microsoft windows",
        "microsoft windows publisher",
        "microsoft windows early launch anti-malware publisher",  # also signs other vendors' ELAM drivers
    }
)
"""Common names of the certificates that sign parts of Windows (with company Microsoft)."""

WHQL_SIGNER = "microsoft windows hardware compatibility publisher"
"""Signs other vendors' drivers that passed the hardware lab kit: third-party."""


def classify(company: str, signer: str, version: str, *, running: bool) -> tuple[Origin, str]:
    """Origin of a driver image and why, from its version resource and its certificate's common name.

    In-box needs both: company Microsoft and a signer of Windows itself; a version resource alone can be
    copied. All three empty and not running: the image is most likely gone, so we do not know.
    """
    name = signer.strip().casefold()
    microsoft = company.strip().casefold().startswith("microsoft")
    if not (company.strip() or name or version.strip()):
        if running:
            return Origin.THIRD_PARTY, "it runs, yet its image has no vendor, version or signature"
        return Origin.UNKNOWN, "its image is missing or cannot be read"
    if name == WHQL_SIGNER:
        return Origin.THIRD_PARTY, f"certified by Microsoft, made by {company.strip() or 'a vendor unnamed'}"
    if not name:
        return Origin.THIRD_PARTY, "its image is not signed"
    if microsoft and name in WINDOWS_SIGNERS:
        return Origin.IN_BOX, f"signed as part of Windows ({signer.strip()})"
    if microsoft:
        return Origin.THIRD_PARTY, f"claims to be Microsoft's, but is signed by {signer.strip()}"
    return Origin.THIRD_PARTY, f"made by {company.strip() or 'a vendor unnamed'}, signed by {signer.strip()}"


GROUP_PINS: Mapping[str, str] = {
    "boot bus extender": "a bus that Windows boots through",
    "system bus extender": "a bus that Windows boots through",
    "scsi miniport": "a storage adapter, perhaps that of the boot disk",
    "scsi class": "a storage class driver, perhaps that of the boot disk",
    "primary disk": "a disk driver, perhaps that of the boot disk",
    "boot file system": "a file system that Windows boots from",
    "ndis": "a network driver, perhaps the one we reach the guest through",
    "video": "a display adapter: the console is needed for rescue",
}
"""Load order groups (Services\\X\\Group) whose drivers are never switched off, and why."""


def pin(service: str, group: str, pinned: Mapping[str, str]) -> str:
    """Why that driver must never be switched off; "" when it may.

    `pinned` is the inventory's map: a reason adds a pin, an empty reason lifts one set by rule.
    """
    for name, reason in pinned.items():
        if name.casefold() == service.casefold():
            return reason
    return GROUP_PINS.get(group.strip().casefold(), "")
