"""Where real management controllers leave the Redfish standard, as data.

Each quirk names its source. None was tried on the hardware by us ("unverified") unless it says where it was
seen. What sushy does by itself is not repeated here: the parameters that some controllers want with
InsertMedia, PATCH instead of InsertMedia (Lenovo SD530), If-Match with every ETag and without it when that is
refused (AMI on Lenovo SR655: github.com/stmcginnis/gofish/issues/171), UsbCd for Cd (Supermicro X11, X12).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Behaviour:
    """How a controller behaves; the defaults are the standard's."""

    once_reads_back: frozenset[str] = frozenset({"Once"})
    """What BootSourceOverrideEnabled may show after it was set to Once."""

    cd_reads_back: frozenset[str] = frozenset({"Cd"})
    """What BootSourceOverrideTarget may show after it was set to Cd."""

    names_everything: bool = False
    """A boot override needs mode and Enabled in each request, also when they do not change."""

    cd_attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Manager attributes that boot from the virtual CD once, instead of the boot override."""

    attributes_at: tuple[str, ...] = ("Attributes",)
    """Where the manager attributes are, below the manager; the first one that is there."""

    cd_refusal: str = ""
    """Why it cannot be told to boot from its virtual CD."""

    drives: str = ""
    """Pattern of the names of the virtual drives that take an image, where others look alike; "" for all."""

    media_hint: str = ""
    """What to look for when it does not take an image."""


@dataclass(frozen=True)
class Quirk:
    """Patterns match without regard to case, from the start; `controller` is the manager's own model."""

    manufacturer: str
    changes: Mapping[str, Any]
    model: str = ""
    controller: str = ""

    def fits(self, manufacturer: str, model: str, controller: str) -> bool:
        asked = ((self.manufacturer, manufacturer), (self.model, model), (self.controller, controller))
        return all(re.match(pattern, text, re.IGNORECASE) for pattern, text in asked)


QUIRKS = (
    # Enabled must be sent each time: storyboard.openstack.org/#!/story/2008547, by ironic's redfish driver.
    # The mode falls back to its default when not sent: github.com/DMTF/Redfishtool/pull/106. X10 boards
    # have no mode, and refuse it: github.com/ironcore-dev/metal-operator/issues/982. sushy asks for UsbCd
    # instead of Cd. No issuer can be made known for images over HTTPS:
    # github.com/suse-edge/suse-edge.github.io/issues/220. Unverified.
    Quirk(
        r"super\s*micro",
        {
            "names_everything": True,
            "cd_reads_back": frozenset({"Cd", "UsbCd"}),
            "media_hint": "Supermicro controllers cannot be told whom to trust: serve the image over HTTP.",
        },
    ),
    # Cd means the physical drive; the virtual one is chosen by manager attributes, which iDRAC 9 and later
    # have: github.com/dell/iDRAC-Redfish-Scripting/issues/90; iDRAC 10 the same: issues/324 there. They have
    # moved, and both places are in use: github.com/dsx-ai-factory/libredfish/pull/38. AutoAttach:
    # github.com/openshift/openshift-docs/pull/32022. Unverified.
    Quirk(
        r"dell",
        {
            "cd_attributes": MappingProxyType(
                {"ServerBoot.1.BootOnce": "Enabled", "ServerBoot.1.FirstBootDevice": "VCD-DVD"}
            ),
            "attributes_at": ("Oem/Dell/DellAttributes/{manager}", "Attributes"),
            "media_hint": "Look whether Virtual Media is set to AutoAttach in the iDRAC.",
        },
    ),
    # iDRAC 7 and 8 have no such attributes: github.com/dell/iDRAC-Redfish-Scripting/issues/256 and
    # github.com/dell/dellemc-openmanage-ansible-modules/issues/693. Their manager's model tells them, of the
    # 12th or 13th generation (issues/174 of the former), and not its version: iDRAC 10 began at 1
    # again, github.com/openshift/openshift-docs/pull/104493. Unverified.
    Quirk(
        r"dell",
        {
            "cd_attributes": MappingProxyType({}),
            "cd_refusal": "an iDRAC 8 boots from its physical CD drive only when asked by Redfish",
        },
        controller=r"1[23]G",
    ),
    # Of its drives RDOC…, EXT… and Remote…, all of them CD and DVD, only EXT… take an image from a server:
    # pubs.lenovo.com/xcc-restapi/insert_eject_virtual_media_patch (likewise xcc2 and xcc3);
    # github.com/lenovo/python-redfish-lenovo/issues/21. The first XCC reads HTTP and NFS alone. Unverified.
    Quirk(
        r"lenovo",
        {
            "drives": r"EXT\d+",
            "media_hint": "An XCC of the first generation takes images over HTTP, not HTTPS.",
        },
    ),
    # Its virtual media are read over HTTPS or CIFS: github.com/openbmc/openbmc/issues/3991. Unverified.
    Quirk(r"", {"media_hint": "OpenBMC takes images over HTTPS or CIFS, not HTTP."}, controller=r"openbmc"),
    # An insertion is reported as done although nothing was inserted, when the address is not one that iLO can
    # fetch: github.com/HewlettPackard/python-redfish-utility/issues/1. The mode of a boot override cannot be
    # written, so it is not sent: github.com/ansible-collections/community.general/issues/3509. Unverified.
    Quirk(
        r"hpe?\b",
        {"media_hint": "iLO takes an image from a web server only, and may report success without it."},
    ),
    # Seen with sushy-tools 2.2: Once is accepted, and Continuous is what it always shows.
    Quirk("Sushy Emulator", {"once_reads_back": frozenset({"Once", "Continuous"})}),
)

RESET_INSTEAD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # IBM's OpenBMC offers PowerCycle without ForceRestart: github.com/ibm-openbmc/bmcweb/pull/157.
        "ForceRestart": ("PowerCycle",),
        "On": ("ForceOn",),
    }
)
"""What is used when a controller does not offer a reset type, in this order."""

BUSY = (
    "SYS446",  # iDRAC: "Retry the operation after a few minutes", iDRAC-Redfish-Scripting/issues/60 and /68
    "SYS518",  # iDRAC is not ready after what came before: sushy's connector knows it too
    "InvalidOperationForSystemState",  # iLO likewise, in sushy's connector
)
"""In an answer to InsertMedia: worth another try a little later."""


LATER = (
    # iLO, while the firmware of the server runs; "after the system is booted or powered off, retry":
    # github.com/ironcore-dev/metal-operator/issues/997
    "UnableToModifyDuringSystemPOST",
)
"""In an answer to anything: as if the controller had said that it is busy."""


def behaviour(manufacturer: str, model: str, controller: str) -> Behaviour:
    """What the controller does, by all quirks that fit it; later ones win."""
    found = Behaviour()
    for quirk in QUIRKS:
        if quirk.fits(manufacturer, model, controller):
            found = replace(found, **quirk.changes)
    return found
