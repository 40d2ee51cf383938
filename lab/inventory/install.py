"""Settings of an unattended installation of Windows on bare metal."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lab.inventory.secrets import Secret
from lab.inventory.settings import FilePath, Port, Seconds, Settings, Text


def _mac(value: object) -> object:
    """As Setup takes it for an adapter: 00-15-5D-01-02-03."""
    if not isinstance(value, str):
        return value
    digits = re.sub(r"[:.-]", "", value).upper()
    if not re.fullmatch(r"[0-9A-F]{12}", digits):
        raise PydanticCustomError("adapter", "adapter must be a MAC address, as in 00-15-5D-01-02-03")
    return "-".join(digits[at : at + 2] for at in range(0, 12, 2))


class InstallNetwork(Settings):
    """A fixed address. Without it the installed Windows asks DHCP."""

    adapter: Annotated[str, BeforeValidator(_mac), Field(description="MAC address of the network adapter")]
    address: Annotated[Text, Field(description="address and prefix length, as in 192.0.2.10/24")]
    gateway: Annotated[str, Field(description="'' for none")] = ""
    dns: Annotated[tuple[Text, ...], Field(strict=False, description="name servers, in order")] = ()

    @model_validator(mode="after")
    def _are_addresses(self) -> Self:
        for name, texts in (("gateway", (self.gateway,) if self.gateway else ()), ("dns", self.dns)):
            for text in texts:
                try:
                    ipaddress.ip_address(text)
                except ValueError:
                    raise PydanticCustomError(
                        "network", "{name} must be an IP address, not '{text}'", {"name": name, "text": text}
                    ) from None
        try:
            ipaddress.ip_interface(self.address)
        except ValueError:
            raise PydanticCustomError(
                "network", "address must be an address with its prefix length, as in 192.0.2.10/24"
            ) from None
        if "/" not in self.address:
            raise PydanticCustomError("network", "address lacks its prefix length, as in 192.0.2.10/24")
        return self


class InstallMedia(Settings):
    """How the management controller reads the image: from this computer over HTTP(S), or from a share."""

    listen: Annotated[str, Field(description="address of this computer that controllers can reach")] = ""
    port: Annotated[
        int, Field(ge=0, le=65535, description="0: any free one; else hosts are installed in turn")
    ] = 0
    advertise: Annotated[
        str,
        Field(description="host name or address in the URL, when it is not `listen` (NAT, a certificate)"),
    ] = ""
    certificate_file: Annotated[
        FilePath | None, Field(description="PEM chain: serve over HTTPS; needs certificate_key_file")
    ] = None
    certificate_key_file: Annotated[FilePath | None, Field(description="PEM key of that certificate")] = None
    image_folder: Annotated[
        FilePath | None,
        Field(description="instead of listen: a shared folder that the image is written to; needs url"),
    ] = None
    url: Annotated[
        str, Field(description="the folder as controllers name it, as in nfs://lab.example/images")
    ] = ""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.certificate_file is None) != (self.certificate_key_file is None):
            raise PydanticCustomError("media", "certificate_file and certificate_key_file go together")
        if bool(self.listen) == (self.image_folder is not None):
            raise PydanticCustomError("media", "exactly one of listen and image_folder is needed")
        if (self.image_folder is not None) != ("://" in self.url):
            raise PydanticCustomError(
                "media", "image_folder and url go together, as in nfs://lab.example/images"
            )
        if not self.advertise and self.listen in ("0.0.0.0", "::"):
            raise PydanticCustomError(
                "media", "advertise is needed when listen is every address: the URL must name one"
            )
        return self


class InstallTimeouts(Settings):
    """The waits of an installation, in seconds of the lab's clock."""

    power: Annotated[Seconds, Field(description="a power request, until it has taken effect")] = 300
    media: Annotated[Seconds, Field(description="after power-on, until the controller reads the medium")] = (
        900
    )
    install: Annotated[Seconds, Field(description="after power-on, until WinRM of Windows answers")] = 7200
    poll: Annotated[Seconds, Field(description="between two looks while waiting (not a limit)")] = 5


class InstallSettings(Settings):
    """Windows from its ISO onto bare metal, by virtual media of a management controller."""

    iso: Annotated[FilePath, Field(description="Microsoft's ISO as it is; it is read, never changed")]
    edition: Annotated[
        str | int,
        Field(description="name of the image as in 'Windows Server 2019 SERVERDATACENTER', or its number"),
    ]
    accept_license_terms: Annotated[
        Literal[True], Field(description="true: you accept Microsoft's licence terms for this Windows")
    ]
    administrator_password: Annotated[Secret, Field(description="by reference")]
    media: InstallMedia
    answer_file: Annotated[
        FilePath | None,
        Field(
            description="an answer file of your own; NAME.j2 is a Jinja2 template that gets these settings"
        ),
    ] = None
    drivers: Annotated[
        FilePath | None, Field(description="folder of INF drivers that Setup takes (storage, network)")
    ] = None
    product_key: Annotated[
        Secret | None, Field(description="by reference; none for evaluation and volume editions")
    ] = None
    computer_name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9-]{0,15}$", description="NetBIOS name; '' takes the host's own name"),
    ] = ""
    firmware: Annotated[
        Literal["uefi", "bios"], Field(description="uefi makes a GPT disk, bios an MBR disk")
    ] = "uefi"
    disk: Annotated[int, Field(ge=0, le=255, description="number of the disk; it is wiped")] = 0
    language: Annotated[
        str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="of the ISO, as in en-US")
    ] = "en-US"
    keyboard: Annotated[str, Field(description="as in 0407:00000407; '' takes the language's")] = ""
    time_zone: Annotated[Text, Field(description="Windows' name, as in W. Europe Standard Time")] = "UTC"
    network: Annotated[InstallNetwork | None, Field(description="none: DHCP")] = None
    winrm_port: Annotated[
        Port,
        Field(description="WinRM over HTTPS is opened there; the members' guest.shell has the same port"),
    ] = 5986
    commands: Annotated[
        tuple[Text, ...],
        Field(strict=False, description="more command lines, run once at the first log-on, in order"),
    ] = ()
    dump: Annotated[
        Literal["kernel", "complete", "automatic", "active"], Field(description="crash dump to set up")
    ] = "kernel"
    console: Annotated[
        bool, Field(description="read the serial console meanwhile, to tell what was last seen there")
    ] = False
    timeouts: InstallTimeouts = InstallTimeouts()
