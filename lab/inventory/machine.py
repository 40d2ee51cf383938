"""Settings of machines by kind, and of the controllers that several of them share."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from lab.inventory.secrets import Secret
from lab.inventory.settings import FilePath, Port, Settings, Text


def _thumbprint(value: object) -> object:
    """As 64 hexadecimal digits in lower case, whatever stands between them."""
    if not isinstance(value, str):
        return value
    digits = re.sub(r"[:\s-]", "", value).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise PydanticCustomError("thumbprint", "thumbprint must be a SHA-256: 64 hexadecimal digits")
    return digits


class VcenterController(Settings):
    """A vCenter Server, or a single ESXi host. Its certificate is always checked."""

    kind: Literal["vcenter"]
    url: Annotated[
        str, Field(pattern=r"^https?://[^\s/?#@]+/?$", description="e.g. https://vcenter.example, no path")
    ]
    user: Annotated[Text, Field(description="e.g. lab@vsphere.local")]
    password: Annotated[Secret, Field(description="its password, by reference")]
    ca_file: Annotated[
        FilePath | None,
        Field(description="PEM file that the certificate is checked against; none: the system's issuers"),
    ] = None
    thumbprint: Annotated[
        str | None,
        BeforeValidator(_thumbprint),
        Field(description="SHA-256 of the server's certificate; without ca_file nothing else is checked"),
    ] = None

    @model_validator(mode="after")
    def _https_only(self) -> Self:
        if self.url.startswith("http://"):
            raise PydanticCustomError("url", "url must be https: the password would travel in clear text")
        return self


ControllerSettings = VcenterController

Controller = Annotated[VcenterController, WithJsonSchema({"type": "string", "minLength": 1})]
"""In the file the name of one of `controllers`; the loader puts the controller itself in its place."""


class VsphereMachine(Settings):
    """A virtual machine of a vCenter."""

    kind: Literal["vsphere"]
    controller: Annotated[Controller, Field(description="name of one of `controllers`")]
    vm: Annotated[
        Text,
        Field(description="inventory path as in /DC0/vm/lab/srv1, UUID, unique name, or tag:CATEGORY/NAME"),
    ]


class RedfishMachine(Settings):
    """A server's management controller (or an emulator) that speaks Redfish."""

    kind: Literal["redfish"]
    url: Annotated[str, Field(pattern=r"^https?://\S+$", description="e.g. https://bmc.example")]
    user: Annotated[Text, Field(description="account of the management controller")]
    password: Annotated[Secret, Field(description="its password, by reference")]
    ca_file: Annotated[
        FilePath | None, Field(description="PEM file that the controller's certificate is checked against")
    ] = None
    system: Annotated[str, Field(description="identity of the system there; '' when there is only one")] = ""

    @model_validator(mode="after")
    def _https_only_unless_here(self) -> Self:
        if self.url.startswith("http://"):
            raise PydanticCustomError("url", "url must be https: the password would travel in clear text")
        return self


class IpmiMachine(Settings):
    """A server's management controller that speaks IPMI 2.0 over the network (RMCP+)."""

    kind: Literal["ipmi"]
    address: Annotated[Text, Field(description="host name or IP address of the management controller")]
    port: Annotated[Port, Field(description="UDP")] = 623
    user: Annotated[
        str, Field(min_length=1, max_length=16, description="account of the management controller")
    ]
    password: Annotated[Secret, Field(description="its password, by reference; 20 bytes at most")]
    cipher: Annotated[
        Literal[3, 17],
        Field(description="cipher suite: 17 (HMAC-SHA256), or 3 (HMAC-SHA1) for controllers without it"),
    ] = 17
    uefi: Annotated[bool, Field(description="boot overrides ask for an UEFI boot, not for a BIOS boot")] = (
        True
    )


class FixedMachine(Settings):
    """A machine without remote power, or one whose power is switched by commands of the user's."""

    kind: Literal["fixed"]
    on: Annotated[tuple[Text, ...], Field(strict=False, description="command and arguments; no shell")] = ()
    off: Annotated[tuple[Text, ...], Field(strict=False, description="hard power-off")] = ()
    reset: Annotated[tuple[Text, ...], Field(strict=False, description="hard reset")] = ()
    interrupt: Annotated[tuple[Text, ...], Field(strict=False, description="sends an NMI")] = ()
    state: Annotated[
        tuple[Text, ...], Field(strict=False, description="prints 'on' or 'off' on standard output")
    ] = ()


MachineSettings = RedfishMachine | IpmiMachine | FixedMachine | VsphereMachine
