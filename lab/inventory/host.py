"""The settings of one host, as the inventory's keys. Every key says what it is for."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lab.inventory.machine import MachineSettings
from lab.inventory.secrets import Secret
from lab.inventory.settings import FilePath, Port, Seconds, Settings, Text


class PsrpShell(Settings):
    """PowerShell Remoting over WinRM. Without TLS every message is encrypted by NTLM or Kerberos."""

    kind: Literal["psrp"]
    user: Annotated[Text, Field(description=r"e.g. .\Administrator or LAB\crash")]
    password: Annotated[Secret | None, Field(description="by reference; not needed for Kerberos")] = None
    tls: Annotated[bool, Field(description="WinRM over HTTPS with a verified certificate")] = True
    port: Annotated[Port | None, Field(description="5986 with TLS, 5985 without")] = None
    ca_file: Annotated[
        FilePath | None, Field(description="PEM file that the guest's certificate is checked against")
    ] = None
    auth: Annotated[
        Literal["ntlm", "negotiate", "kerberos", "basic"],
        Field(description="how to log on; basic with tls only, and CredSSP never"),
    ] = "ntlm"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.password is None and self.auth != "kerberos":
            raise PydanticCustomError("password", "password is needed with auth {auth}", {"auth": self.auth})
        if self.auth == "basic" and not self.tls:
            raise PydanticCustomError("auth", "auth: basic sends the password as it is, and needs tls: true")
        return self

    @property
    def tcp_port(self) -> int:
        return self.port or (5986 if self.tls else 5985)


class SshShell(Settings):
    """PowerShell over OpenSSH for Windows. The host key is pinned; there is no 'trust on first use'."""

    kind: Literal["ssh"]
    user: Annotated[Text, Field(description="account of the guest")]
    host_key: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$",
            description="the guest's public host key, as in 'ssh-ed25519 AAAA...' (ssh-keyscan shows it)",
        ),
    ]
    password: Annotated[Secret | None, Field(description="by reference")] = None
    key_file: Annotated[FilePath | None, Field(description="private key, mode 0600")] = None
    key_passphrase: Annotated[Secret | None, Field(description="by reference")] = None
    port: Port = 22
    powershell: Annotated[Text, Field(description="the program to run in the guest")] = "powershell.exe"
    keep_alive: Annotated[
        Seconds,
        Field(description="a silent guest is asked for a sign of life this often, and given up after three"),
    ] = 15

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.password is None) == (self.key_file is None):
            raise PydanticCustomError("password", "exactly one of password and key_file is needed")
        return self

    @property
    def tcp_port(self) -> int:
        return self.port


ShellSettings = PsrpShell | SshShell


class GuestSettings(Settings):
    """The Windows that runs on the machine."""

    shell: Annotated[ShellSettings, Field(discriminator="kind", description="how scripts are run in it")]


Dialect = Literal["2.0.2", "2.1", "3.0", "3.0.2", "3.1.1"]
DIALECTS: tuple[Dialect, ...] = ("2.0.2", "2.1", "3.0", "3.0.2", "3.1.1")

MOST_LOAD_SECONDS = 7 * 24 * 3600.0


def _version_text(value: object) -> object:
    """YAML takes an unquoted 2.1 or 3.0 for a number."""
    return str(value) if isinstance(value, float) else value


def _off(value: object) -> object:
    """YAML 1.1 takes an unquoted off for false."""
    return "off" if value is False else value


class SmbSettings(Settings):
    """How the read load and the dump reach the guest. User and password default to the guest's."""

    port: Port = 445
    user: Annotated[str, Field(description="'' takes the guest's")] = ""
    password: Annotated[Secret | None, Field(description="by reference; none takes the guest's")] = None
    data_share: Annotated[Text, Field(description="the share that is read to make load")] = "LabData"
    admin_share: Annotated[Text, Field(description="the share of %SystemRoot%, where dumps are")] = "ADMIN$"
    dialects: Annotated[
        tuple[Annotated[Dialect, BeforeValidator(_version_text)], ...],
        Field(strict=False, description="SMB dialects to offer; the server takes the highest"),
    ] = DIALECTS
    signing: Annotated[
        Literal["required", "if-asked"],
        Field(description="sign every message, or only those that the server or the protocol wants signed"),
    ] = "required"
    encryption: Annotated[
        Literal["required", "if-asked", "off"],
        BeforeValidator(_off),
        Field(description="refuse servers that cannot, encrypt when server or share asks, or never offer it"),
    ] = "if-asked"
    authentication: Annotated[
        Literal["negotiate", "ntlm", "kerberos"], Field(description="how to log on")
    ] = "negotiate"
    most_connections: Annotated[
        int, Field(ge=1, le=1024, description="TCP connections of one load to this host, at most")
    ] = 64
    most_in_flight: Annotated[
        int, Field(ge=1, le=65535, description="READs in flight of one load over all connections, at most")
    ] = 8192
    most_reads_per_second: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False, description="READs a second of one load, at most; none: no limit"),
    ] = None
    most_seconds: Annotated[
        Seconds, Field(le=MOST_LOAD_SECONDS, description="length of one load, at most; default seven days")
    ] = MOST_LOAD_SECONDS

    @model_validator(mode="after")
    def _can_speak(self) -> Self:
        if not self.dialects:
            raise PydanticCustomError("dialects", "dialects must name at least one")
        if self.encryption == "required" and not {"3.0", "3.0.2", "3.1.1"} & set(self.dialects):
            raise PydanticCustomError("encryption", "encryption needs dialect 3.0, 3.0.2 or 3.1.1")
        return self


class Timeouts(Settings):
    """Every wait by its name, in seconds of the lab's clock. An error names the wait that ran out."""

    connect: Annotated[Seconds, Field(description="to open a connection and log on")] = 15
    script: Annotated[Seconds, Field(description="one guest script")] = 180
    power: Annotated[Seconds, Field(description="a power request, until it has taken effect")] = 60
    checkpoint: Annotated[Seconds, Field(description="to take, restore or remove a checkpoint")] = 900
    clone: Annotated[Seconds, Field(description="a VM of a pool, until it is made")] = 7200
    delete: Annotated[Seconds, Field(description="a VM of a pool, until it is deleted")] = 600
    customization: Annotated[Seconds, Field(description="a started clone, until Sysprep has ended")] = 1800
    first_boot: Annotated[
        Seconds, Field(description="after Sysprep, until the guest tells its certificate")
    ] = 600
    tools: Annotated[Seconds, Field(description="a started VM, until VMware Tools tell its address")] = 600
    media: Annotated[Seconds, Field(description="virtual media, until the drive is as asked for")] = 300
    reachable: Annotated[Seconds, Field(description="the guest's shell, until it answers")] = 300
    boot: Annotated[Seconds, Field(description="a restart or a crash, until the new boot answers")] = 600
    settle: Annotated[Seconds, Field(description="after a boot, until the planned drivers run")] = 60
    stop: Annotated[Seconds, Field(description="silence, until we know whether the host has stopped")] = 60
    dump: Annotated[Seconds, Field(description="the dump file, until it is whole")] = 900
    transfer: Annotated[Seconds, Field(description="to fetch a dump")] = 3600
    poll: Annotated[Seconds, Field(description="between two looks while waiting (not a limit)")] = 1.0


class Host(Settings):
    """One entry of the inventory: machine, guest, and how its dumps are fetched."""

    name: Annotated[str, Field(exclude=True)]
    address: Annotated[Text, Field(description="host name or IP address of the guest")]
    expendable: Annotated[
        bool, Field(description="true: this host may be crashed and changed. Anything else is refused")
    ] = False
    machine: Annotated[MachineSettings, Field(discriminator="kind", description="power, reset and NMI")]
    guest: GuestSettings
    smb: SmbSettings = SmbSettings()
    dumps: Annotated[
        Literal["share", "sftp"],
        Field(description="how dumps are fetched: from smb.admin_share, or over the SSH of guest.shell"),
    ] = "share"
    dump_folder: Annotated[
        Text, Field(description="with dumps: sftp, the guest's folder of MEMORY.DMP and Minidump")
    ] = "C:\\Windows"
    symbols: Annotated[
        tuple[Text, ...],
        Field(strict=False, description="where symbols are, in order: folders, URLs, srv*FOLDER*URL"),
    ] = ()
    pinned: Annotated[
        dict[str, str],
        Field(
            description="services that are never switched off, with the reason; "
            "an empty reason lifts a pin that is set by rule"
        ),
    ] = Field(default={})
    timeouts: Timeouts = Timeouts()
    notes: str = ""

    @model_validator(mode="after")
    def _smb_has_credentials(self) -> Self:
        if self.smb.password is None and self.guest.shell.password is None:
            raise PydanticCustomError("smb", "smb.password is needed, as the guest's shell has none to share")
        return self

    @model_validator(mode="after")
    def _sftp_has_ssh(self) -> Self:
        if self.dumps == "sftp" and self.guest.shell.kind != "ssh":
            raise PydanticCustomError("dumps", "dumps: sftp needs a guest.shell of kind ssh")
        return self

    @property
    def smb_user(self) -> str:
        return self.smb.user or self.guest.shell.user

    @property
    def smb_password(self) -> Secret:
        password = self.smb.password or self.guest.shell.password
        assert password is not None  # checked when the inventory was read
        return password
