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

    cd_refusal: str = ""
    """Why it cannot be told to boot from its virtual CD."""

    media_hint: str = ""
    """What to look for when it does not take an image."""


@dataclass(frozen=True)
class Quirk:
    """Patterns match without regard to case, from the start; `firmware` is the management controller's."""

    manufacturer: str
    changes: Mapping[str, Any]
    model: str = ""
    firmware: str = ""

    def fits(self, manufacturer: str, model: str, firmware: str) -> bool:
        asked = ((self.manufacturer, manufacturer), (self.model, model), (self.firmware, firmware))
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
    # have: github.com/dell/iDRAC-Redfish-Scripting/issues/90. AutoAttach:
    # github.com/openshift/openshift-docs/pull/32022. Unverified.
    Quirk(
        r"dell",
        {
            "cd_attributes": MappingProxyType(
                {"ServerBoot.1.BootOnce": "Enabled", "ServerBoot.1.FirstBootDevice": "VCD-DVD"}
            ),
            "media_hint": "Look whether Virtual Media is set to AutoAttach in the iDRAC.",
        },
        firmware=r"[3-9]\.",
    ),
    # iDRAC 8 (firmware 2): the same issue, and github.com/dell/dellemc-openmanage-ansible-modules/issues/693.
    # Unverified.
    Quirk(
        r"dell",
        {"cd_refusal": "an iDRAC 8 boots from its physical CD drive only when asked by Redfish"},
        firmware=r"2\.",
    ),
    # An insertion is reported as done although nothing was inserted, when the address is not one that iLO can
    # fetch: github.com/HewlettPackard/python-redfish-utility/issues/1. Unverified.
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


def behaviour(manufacturer: str, model: str, firmware: str) -> Behaviour:
    """What the controller does, by all quirks that fit it; later ones win."""
    found = Behaviour()
    for quirk in QUIRKS:
        if quirk.fits(manufacturer, model, firmware):
            found = replace(found, **quirk.changes)
    return found
