"""Settings of a pool: hosts that can be had by number, made from a template or taken from a rack."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from lab.inventory.host import GuestSettings, Host, SmbSettings, Timeouts
from lab.inventory.install import InstallSettings
from lab.inventory.machine import Controller, MachineSettings
from lab.inventory.secrets import Secret
from lab.inventory.settings import Seconds, Settings, Text

COMPUTER_NAME = 15
"""Characters that a NetBIOS name may have."""

CLOCK_OFFSET = 300.0
"""Seconds by which Kerberos lets clocks differ ("maximum tolerance for computer clock synchronization")."""

RESERVED = ("list", "return")
"""Words of `lab provision`, which no pool can be called."""


def _ipv4(value: object) -> object:
    try:
        return str(ipaddress.IPv4Address(value)) if isinstance(value, str) else value
    except ValueError:
        raise PydanticCustomError("ipv4", "'{text}' is no IPv4 address", {"text": value}) from None


IPv4 = Annotated[Text, BeforeValidator(_ipv4)]


def _span(value: object) -> object:
    found = re.fullmatch(SPAN, value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError(
            "span", "'{text}' is no number of hours, days or weeks, as in 36h, 90d or 2w", {"text": value}
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


SPAN = r"([1-9][0-9]{0,3})([hdw])"
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}

Span = Annotated[
    timedelta,
    BeforeValidator(_span),
    WithJsonSchema({"type": "string", "pattern": f"^{SPAN}$"}),
]
"""A number of hours, days or weeks, as in 36h, 90d or 2w."""


class CloneNetwork(Settings):
    """Fixed addresses of a clone's first network adapter."""

    addresses: Annotated[
        tuple[IPv4, ...], Field(strict=False, description="in order: POOL-1 gets the first, and so on")
    ]
    netmask: Annotated[IPv4, Field(description="as in 255.255.255.0")]
    gateways: Annotated[tuple[IPv4, ...], Field(strict=False, description="in order")] = ()


class JoinDomain(Settings):
    """The domain that clones join."""

    name: Annotated[Text, Field(description="e.g. lab.example")]
    user: Annotated[Text, Field(description="who may join computers to it")]
    password: Annotated[Secret, Field(description="by reference")]


class Customization(Settings):
    """What Sysprep makes of a clone."""

    computer_name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9-]*\{n\}[A-Za-z0-9-]*$", description="{n} is the number of the host"),
    ] = "lab-{n}"
    administrator_password: Annotated[Secret, Field(description="of the clone, by reference")]
    product_key: Annotated[Secret | None, Field(description="by reference; none: the template's")] = None
    full_name: Text = "Bugcheck Lab"
    organization: Text = "Bugcheck Lab"
    workgroup: Annotated[Text, Field(description="without domain")] = "WORKGROUP"
    domain: Annotated[JoinDomain | None, Field(description="to join; none: the workgroup")] = None
    network: Annotated[CloneNetwork | None, Field(description="fixed addresses; none: DHCP")] = None
    dns_servers: Annotated[tuple[IPv4, ...], Field(strict=False, description="none: as DHCP says")] = ()
    dns_suffixes: Annotated[tuple[Text, ...], Field(strict=False, description="searched in order")] = ()
    per_server: Annotated[
        int | None, Field(ge=5, description="client licences of licensing per server; null: per seat")
    ] = 5
    autologon: Annotated[
        int, Field(ge=1, le=9, description="log-ons of the administrator after Sysprep; run_once needs one")
    ] = 1
    time_zone: Annotated[int, Field(ge=0, le=300, description="index of Windows time zones; 85 is UTC")] = 85
    run_once: Annotated[
        tuple[Text, ...], Field(strict=False, description="commands run at the first log-on, in order")
    ] = ()

    @model_validator(mode="after")
    def _short_enough(self) -> Self:
        if len(self.computer_name.replace("{n}", "99")) > COMPUTER_NAME:
            raise PydanticCustomError("computer_name", "computer_name must not be longer than 15 characters")
        return self


class VsphereTemplate(Settings):
    """What a vCenter makes a pool's machines from: a template, or a machine's snapshot as linked clones."""

    kind: Literal["vsphere"]
    controller: Annotated[Controller, Field(description="name of one of `controllers`")]
    template: Annotated[
        Text | None, Field(description="path, UUID or unique name of a template; each host is a full clone")
    ] = None
    clone_of: Annotated[
        Text | None, Field(description="the same of a machine; each host is a linked clone of its `snapshot`")
    ] = None
    snapshot: Annotated[Text | None, Field(description="name of a snapshot of `clone_of`")] = None
    folder: Annotated[Text | None, Field(description="where clones are put; none: beside their source")] = (
        None
    )
    resource_pool: Annotated[Text | None, Field(description="path or unique name; none: the source's")] = None
    datastore: Annotated[
        Text | None,
        Field(description="path or unique name of a datastore or a datastore cluster; none: the source's"),
    ] = None
    network: Annotated[Text | None, Field(description="path or unique name; none: the source's")] = None
    cpus: Annotated[int | None, Field(ge=1, le=768, description="none: the source's")] = None
    memory_mb: Annotated[int | None, Field(ge=512, description="none: the source's")] = None
    firmware: Annotated[Literal["bios", "efi"] | None, Field(description="none: the source's")] = None
    secure_boot: Annotated[
        bool | None, Field(description="false where test-signed drivers are to load; none: the source's")
    ] = None
    serial: Annotated[
        Text | None,
        Field(description="URI of a serial port for a kernel debugger, e.g. telnet://lab.example:4000"),
    ] = None
    extra: Annotated[dict[str, str], Field(description="keys and values of the machine's ExtraConfig")] = (
        Field(default={})
    )
    customization: Annotated[
        Customization | None, Field(description="Sysprep; none: the clone stays as its source is")
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.template is None) == (self.clone_of is None):
            raise PydanticCustomError("template", "exactly one of template and clone_of is needed")
        if (self.clone_of is None) != (self.snapshot is None):
            raise PydanticCustomError("snapshot", "clone_of and snapshot belong together")
        return self


PoolMachine = VsphereTemplate
"""What machines can be made from, by `kind`."""


class Acceptance(Settings):
    """What a host must be like before it is handed out, beyond what `lab host check` looks at."""

    drivers: Annotated[
        tuple[Text, ...] | None,
        Field(
            strict=False,
            description="services of the third-party drivers that run, neither more nor fewer; "
            "none: the hosts are only compared with each other",
        ),
    ] = None
    clock_offset: Annotated[
        Seconds, Field(description="seconds by which the guest's clock may differ from the lab's, at most")
    ] = CLOCK_OFFSET


class Pool(Settings):
    """Hosts that can be had by number. Either `machine` (they are made) or `members` (they exist)."""

    name: Annotated[str, Field(exclude=True)]
    members: Annotated[
        tuple[Text, ...], Field(strict=False, description="hosts of the inventory that the pool consists of")
    ] = ()
    install: Annotated[
        InstallSettings | None,
        Field(description="with members: Windows is installed on each, whenever it is provisioned"),
    ] = None
    machine: Annotated[
        PoolMachine | None, Field(description="what hosts are made from; they are called POOL-1, POOL-2, …")
    ] = None
    expendable: Annotated[
        bool, Field(description="with machine: true lets its hosts be crashed and changed; else refused")
    ] = False
    guest: Annotated[GuestSettings | None, Field(description="with machine: as of a host")] = None
    smb: Annotated[SmbSettings, Field(description="with machine: as of a host")] = SmbSettings()
    symbols: Annotated[tuple[Text, ...], Field(strict=False, description="with machine: as of a host")] = ()
    pinned: Annotated[dict[str, str], Field(description="with machine: as of a host")] = Field(default={})
    timeouts: Annotated[Timeouts, Field(description="with machine: as of a host")] = Timeouts()
    most: Annotated[int, Field(ge=1, le=999, description="hosts that may be out at the same time")] = 8
    build: Annotated[
        int | None, Field(ge=6000, le=99999, description="Windows build of its hosts, e.g. 17763")
    ] = None
    baseline: Annotated[
        Text, Field(description="name of the checkpoint that a host is put back to, where it can be")
    ] = "baseline"
    accept: Annotated[Acceptance, Field(description="what a host must be like")] = Acceptance()
    make_seconds: Annotated[
        Seconds | None, Field(description="what one host usually takes, for the plan; none: as past ones")
    ] = None
    keep_for: Annotated[
        Span,
        Field(
            description="with machine: how long a host may be kept, as in 36h, 90d or 2w; after that 'lab "
            "machine reap' deletes it when nobody uses it",
            json_schema_extra={"default": "90d"},
        ),
    ] = timedelta(days=90)
    notes: str = ""

    @model_validator(mode="after")
    def _made_or_taken(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", self.name) or self.name in RESERVED:
            raise PydanticCustomError(
                "name", "its name must be of letters, digits and '-', and neither 'list' nor 'return'"
            )
        if bool(self.members) == (self.machine is not None):
            raise PydanticCustomError("members", "exactly one of machine and members is needed")
        if self.members and "keep_for" in self.model_fields_set:
            raise PydanticCustomError("keep_for", "keep_for is for hosts that are made")
        if self.members and (own := self.model_fields_set & _OF_A_HOST):
            raise PydanticCustomError("members", "members bring {key} of their own", {"key": min(own)})
        if self.install is not None and not self.members:
            raise PydanticCustomError("install", "install is for members")
        if self.install is not None and len(self.members) > 1:
            for key in ("computer_name", "network"):
                if getattr(self.install, key):
                    raise PydanticCustomError(
                        "install", "install.{key} would be that of all members", {"key": key}
                    )
        if self.machine is not None and (sysprep := self.machine.customization) is not None:
            network = sysprep.network
            if network is not None and len(network.addresses) < self.most:
                raise PydanticCustomError(
                    "network",
                    "most is {most}, and customization.network has fewer addresses",
                    {"most": self.most},
                )
        if self.machine is not None and self.guest is None:
            raise PydanticCustomError("guest", "guest is needed with machine")
        if len({each.casefold() for each in self.members}) != len(self.members):
            raise PydanticCustomError("members", "members are named twice")
        return self

    def host(self, name: str, address: str, machine: MachineSettings) -> Host:
        """The inventory entry of a host that was made from this pool."""
        assert self.guest is not None
        settings: dict[str, Any] = {
            each: getattr(self, each) for each in ("guest", "smb", "symbols", "pinned", "timeouts")
        }
        return Host(name=name, address=address, expendable=self.expendable, machine=machine, **settings)


_OF_A_HOST = frozenset({"guest", "smb", "symbols", "pinned", "timeouts", "expendable"})
