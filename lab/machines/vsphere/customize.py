"""Sysprep by a vCenter: what a clone becomes at its first boot.

Passwords are looked up when the specification is built, travel in it (in plain text, inside of the verified
TLS session), and stand nowhere else.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any, Protocol

from pyVmomi import vim

from lab.machines import first_boot
from lab.model import ConfigurationError

SCRIPT_KEY = "guestinfo.bugchecklab.script"
"""ExtraConfig that carries the first-boot script into the guest: it is too long for a run-once command."""

MOST_COMMAND = 259
"""Characters that Windows takes as a run-once command."""

RUN_SCRIPT = (
    'powershell.exe -NoProfile -ExecutionPolicy Bypass -Command "& ([scriptblock]::Create('
    "[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String((& ($env:ProgramFiles+"
    f"'\\VMware\\VMware Tools\\rpctool.exe') 'info-get {SCRIPT_KEY}')))))\""
)

GREENWICH = 85
"""Windows' number of the time zone GMT Standard Time."""


class Hidden(Protocol):
    """A secret by reference: `lab.inventory.Secret`."""

    def reveal(self) -> str: ...


@dataclass(frozen=True)
class FixedAddress:
    """IPv4, of the first adapter."""

    address: str
    netmask: str
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True)
class Domain:
    """The domain to join, and who may join it."""

    name: str
    user: str
    password: Hidden


@dataclass(frozen=True)
class Customization:
    """`network` None asks DHCP. Without `domain` the machine is in `workgroup`.

    `per_server` is the number of client licences of licensing per server; None means per seat.
    `autologon` is how often the administrator is logged on after Sysprep; run-once commands need one.
    `open_winrm` runs `lab.machines.first_boot`, before `run_once`.
    """

    computer_name: str
    administrator_password: Hidden
    network: FixedAddress | None = None
    dns_servers: tuple[str, ...] = ()
    dns_suffixes: tuple[str, ...] = ()
    time_zone: int = GREENWICH
    domain: Domain | None = None
    workgroup: str = "WORKGROUP"
    product_key: Hidden | None = None
    per_server: int | None = 5
    full_name: str = "Bugcheck Lab"
    organization: str = "Bugcheck Lab"
    autologon: int = 1
    open_winrm: bool = True
    run_once: tuple[str, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        return ((RUN_SCRIPT,) if self.open_winrm else ()) + self.run_once

    @property
    def extra(self) -> dict[str, str]:
        """ExtraConfig that the commands need."""
        if not self.open_winrm:
            return {}
        return {SCRIPT_KEY: base64.b64encode(first_boot.script().encode()).decode()}


def check(wanted: Customization) -> None:
    """Raises ConfigurationError for what Sysprep would refuse, long after the clone was made."""
    name = wanted.computer_name
    if not re.fullmatch(r"(?!\d+$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,13}[A-Za-z0-9])?", name):
        raise ConfigurationError(
            f"'{name}' is no name for a Windows computer",
            help="Take 1 to 15 letters, digits and hyphens, with a letter, and no hyphen at its ends.",
        )
    if wanted.commands and wanted.autologon < 1:
        raise ConfigurationError(
            f"run-once commands of {name} need an autologon", help="Set autologon to 1 or more."
        )
    for command in wanted.commands:
        if len(command) > MOST_COMMAND:
            raise ConfigurationError(
                f"a run-once command of {name} has {len(command)} characters: '{command[:40]}…'",
                help=f"Windows takes {MOST_COMMAND} at most; put the rest into a script of the template.",
            )
    if not 0 <= wanted.time_zone <= 300:
        raise ConfigurationError(
            f"{wanted.time_zone} is no time zone for {name}",
            help="Give Windows' own number of it, as 85 for Greenwich or 110 for western Europe.",
        )


def specification(wanted: Customization, adapters: int) -> Any:
    """The specification for a machine with that many network adapters; it contains the passwords."""
    custom = vim.vm.customization
    sysprep = custom.Sysprep(
        guiUnattended=custom.GuiUnattended(
            password=_password(wanted.administrator_password),
            timeZone=wanted.time_zone,
            autoLogon=wanted.autologon > 0,
            autoLogonCount=wanted.autologon,
        ),
        userData=custom.UserData(
            fullName=wanted.full_name,
            orgName=wanted.organization,
            computerName=custom.FixedName(name=wanted.computer_name),
            productId=wanted.product_key.reveal() if wanted.product_key else "",
        ),
        identification=_identification(wanted),
        licenseFilePrintData=_licences(wanted.per_server),
    )
    if wanted.commands:
        sysprep.guiRunOnce = custom.GuiRunOnce(commandList=list(wanted.commands))
    return custom.Specification(
        options=custom.WinOptions(changeSID=True, deleteAccounts=False, reboot="reboot"),
        identity=sysprep,
        globalIPSettings=custom.GlobalIPSettings(
            dnsServerList=list(wanted.dns_servers), dnsSuffixList=list(wanted.dns_suffixes)
        ),
        nicSettingMap=[_adapter(wanted if at == 0 else None) for at in range(adapters)],
    )


def _password(secret: Hidden) -> Any:
    return vim.vm.customization.Password(value=secret.reveal(), plainText=True)


def _identification(wanted: Customization) -> Any:
    custom = vim.vm.customization
    if wanted.domain is None:
        return custom.Identification(joinWorkgroup=wanted.workgroup)
    return custom.Identification(
        joinDomain=wanted.domain.name,
        domainAdmin=wanted.domain.user,
        domainAdminPassword=_password(wanted.domain.password),
    )


def _licences(per_server: int | None) -> Any:
    custom = vim.vm.customization
    if per_server is None:
        return custom.LicenseFilePrintData(autoMode="perSeat")
    return custom.LicenseFilePrintData(autoMode="perServer", autoUsers=per_server)


def _adapter(wanted: Customization | None) -> Any:
    """Of the first adapter what is wanted; the others ask DHCP."""
    custom = vim.vm.customization
    settings = custom.IPSettings(ip=custom.DhcpIpGenerator())
    if wanted is not None and wanted.network is not None:
        settings.ip = custom.FixedIp(ipAddress=wanted.network.address)
        settings.subnetMask = wanted.network.netmask
        settings.gateway = list(wanted.network.gateways)
    if wanted is not None:
        settings.dnsServerList = list(wanted.dns_servers)
    return custom.AdapterMapping(adapter=settings)
