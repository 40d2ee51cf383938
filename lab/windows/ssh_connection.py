"""One SSH connection: the host key pinned, the log-on, and a keep-alive that notices a dead peer."""

from __future__ import annotations

import base64
import errno
import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.packet import Packetizer

from lab.inventory import SshShell, Timeouts
from lab.model import ConfigurationError, CredentialsRefused, InfrastructureError, LabError

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its errors reach the user as ours

UNANSWERED = 3
"""Keep-alive intervals of silence after which the peer is given up, as OpenSSH's ServerAliveCountMax."""

RECENT = 2.0
"""Seconds for which a connection that was heard of is believed to be there still."""

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Preferred: encryption and integrity in one pass of the processor's own instructions."""

MOST_PACKET = 1 << 20
"""Bytes of one packet: more than any that we allow a server to send (RFC 4253, 6.1, asks for 35,000)."""

_GLOBAL_REQUEST = bytes([80])  # RFC 4254, 4

_SILENCE = ("No existing session", "protocol banner", "Timeout opening channel", "Authentication timeout")
"""Of paramiko's messages, those of a server that accepts connections and says nothing useful."""


@dataclass(frozen=True)
class SshAccess:
    """Where and as whom to log on. `connect` and `keep_alive` in seconds."""

    address: str
    port: int
    user: str
    host_key: str
    password: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    key_passphrase: str | None = field(default=None, repr=False)
    connect: float = 15.0
    keep_alive: float = 15.0

    @property
    def place(self) -> str:
        return f"SSH of {self.address}:{self.port}"

    def trouble(self, what: str, help: str | None = None) -> InfrastructureError:
        return InfrastructureError(f"{self.place} {what}", help=help)


def access_of(address: str, settings: SshShell, timeouts: Timeouts) -> SshAccess:
    """Those settings with their secrets. Raises ConfigurationError when one, or the key file, is missing."""
    if settings.key_file is not None and not settings.key_file.is_file():
        raise ConfigurationError(f"the key file {settings.key_file} of guest.shell.key_file does not exist")
    public_key(settings.host_key)
    return SshAccess(
        address,
        settings.port,
        user=settings.user,
        host_key=settings.host_key,
        password=settings.password.reveal() if settings.password else None,
        key_file=settings.key_file,
        key_passphrase=settings.key_passphrase.reveal() if settings.key_passphrase else None,
        connect=timeouts.connect,
        keep_alive=settings.keep_alive,
    )


class SshConnection:
    """Connected and logged on from the start; never connects again.

    Raises CredentialsRefused, ConfigurationError for a key file that cannot be used, and InfrastructureError
    for everything else. A silent server is asked for a sign of life every `keep_alive` seconds.
    """

    def __init__(self, access: SshAccess) -> None:
        self.access = access
        wanted, key = public_key(access.host_key), _private_key(access)
        try:
            link = socket.create_connection((access.address, access.port), timeout=access.connect)
        except OSError as error:
            raise lost(access, error) from None
        with suppress(OSError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # ends a write that nobody takes: paramiko would try it again for ever
            limit = int(1000 * UNANSWERED * access.keep_alive)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit)
        self.transport = paramiko.Transport(link, packetizer_class=_Packets)
        assert isinstance(self.transport.packetizer, _Packets)
        self._packets = self.transport.packetizer
        try:
            self._log_on(wanted, key)
        except LabError:
            self.close()
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            raise refused(access, error) from None
        except BaseException:
            self.close()
            raise
        self._packets.set_keepalive(int(access.keep_alive) or 1, self._ask)

    @property
    def silent(self) -> float:
        """Seconds since the server was last heard of."""
        return time.monotonic() - self._packets.heard

    def open_channel(self, **sizes: int) -> paramiko.Channel:
        """A new session channel, whose waits end after `connect` seconds."""
        try:
            channel = self.transport.open_session(timeout=self.access.connect, **sizes)
        except paramiko.ChannelException as error:
            raise self.access.trouble(f"opened no channel: {error.text}") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise lost(self.access, error) from None
        channel.settimeout(self.access.connect)
        return channel

    def check(self, doing: str) -> None:
        """Raise InfrastructureError when the connection is lost, or silent for too long."""
        if not self.transport.is_active():
            raise self.access.trouble(f"broke off while {doing}")
        if self.silent >= UNANSWERED * self.access.keep_alive:
            raise self.access.trouble(
                f"was silent for {self.silent:.0f} s while {doing}, and did not answer the keep-alive"
            )

    def alive(self) -> bool:
        """Whether the server is there: one not heard of just now is asked, for up to `connect` seconds."""
        if not self.transport.is_active():
            return False
        before = self.silent
        if before < RECENT:
            return True
        until = time.monotonic() + self.access.connect
        with suppress(paramiko.SSHException, OSError, EOFError):
            self._ask()
            while self.transport.is_active() and time.monotonic() < until:
                if self.silent < before:
                    return True
                time.sleep(0.02)
        return False

    def close(self) -> None:
        """Never raises, never waits for the server."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self.transport.close()

    def _ask(self) -> None:
        """Ask for a reply; any server gives one, if only that it does not know the request."""
        if not self.transport.clear_to_send.is_set():  # in the middle of a key exchange: it speaks anyway
            return
        message = paramiko.Message()
        message.add_byte(_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self._packets.send_message(message)

    def _log_on(self, wanted: paramiko.PKey, key: paramiko.PKey | None) -> None:
        access, transport = self.access, self.transport
        transport.banner_timeout = transport.auth_timeout = access.connect
        transport.handshake_timeout = 2 * access.connect  # start_client gives up before that, and says so
        options = transport.get_security_options()
        options.ciphers = (*CIPHERS, *(c for c in options.ciphers if c not in CIPHERS))
        kinds = tuple(k for k in options.key_types if _same_kind(k, wanted.get_name()))
        options.key_types = kinds
        transport.start_client(timeout=access.connect)
        given = transport.get_remote_server_key()
        if (given.get_name(), given.asbytes()) != (wanted.get_name(), wanted.asbytes()):
            raise access.trouble(
                f"has another host key ({given.get_name()} {given.fingerprint}) than the inventory says",
                "Find out why it changed; then set guest.shell.host_key.",
            )
        if key is not None:
            more = transport.auth_publickey(access.user, key)
        else:
            more = transport.auth_password(access.user, access.password or "")
        if more:
            raise CredentialsRefused(
                f"{access.place} wants more than one proof of {access.user}: {', '.join(more)} as well",
                help="Let the guest's sshd accept a key or a password alone (AuthenticationMethods).",
            )


class _Packets(Packetizer):
    """Knows when a packet last came, and takes none of any size: paramiko would collect 4 GiB of one."""

    heard = 0.0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > MOST_PACKET:
            raise paramiko.SSHException(f"it began a packet of {n} bytes")
        return super().read_all(n, check_rekey)

    def read_message(self) -> tuple[int, paramiko.Message]:
        message = super().read_message()
        self.heard = time.monotonic()
        return message


def public_key(line: str) -> paramiko.PKey:
    """The key of a line like `ssh-ed25519 AAAA…`. Raises ConfigurationError."""
    try:
        kind, data, *_ = line.split()
        return paramiko.PKey.from_type_string(kind, base64.b64decode(data, validate=True))
    except (ValueError, paramiko.SSHException, IndexError, KeyError):
        raise ConfigurationError(
            f"guest.shell.host_key is not a public key: {line[:40]!r}",
            help="Set it to a line that ssh-keyscan shows, without the host's name.",
        ) from None


def _private_key(access: SshAccess) -> paramiko.PKey | None:
    path = access.key_file
    if path is None:
        return None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(str(path), access.key_passphrase)
        except paramiko.PasswordRequiredException:
            raise ConfigurationError(
                f"the key file {path} needs a passphrase", help="Set guest.shell.key_passphrase."
            ) from None
        except FileNotFoundError:
            raise ConfigurationError(f"the key file {path} does not exist") from None
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the key file {path}: {os.strerror(error.errno or errno.EIO).lower()}"
            ) from None
        except (paramiko.SSHException, ValueError, TypeError):  # of another kind, or the passphrase is wrong
            continue
    raise ConfigurationError(
        f"the key file {path} cannot be used: it is no private key that we know, or its passphrase is wrong",
        help="Check guest.shell.key_file and key_passphrase.",
    )


def refused(access: SshAccess, error: Exception) -> LabError:
    """Why no log-on came about."""
    said = str(error)
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        if "host key" in said:
            return access.trouble(
                "has no host key of the kind the inventory pins",
                "Set guest.shell.host_key to a line that ssh-keyscan shows.",
            )
        return access.trouble(f"has no algorithms in common with us: {reason(error)}")
    if "Illegal info request" in said:  # SSH_MSG_USERAUTH_PASSWD_CHANGEREQ, RFC 4252, 8
        return CredentialsRefused(
            f"{access.place} wants a new password for {access.user}: the old one has expired",
            help="Change the password in the guest, then what guest.shell.password refers to.",
        )
    if isinstance(error, paramiko.AuthenticationException) and not _hung_up(error):
        return CredentialsRefused(
            f"{access.place} refused the credentials of {access.user}",
            help="Check user and key or password of guest.shell in the inventory, "
            "and that the account is neither locked nor expired.",
        )
    return lost(access, error)


def lost(access: SshAccess, error: BaseException) -> InfrastructureError:
    """A connection that could not be made, or broke."""
    if isinstance(error, TimeoutError) or any(sign in str(error) for sign in _SILENCE):
        return access.trouble(f"did not answer as an SSH server within {access.connect:g} s")
    return access.trouble(f"could not be reached: {reason(error)}")


def _same_kind(offered: str, pinned: str) -> bool:
    """An RSA key signs by several algorithms."""
    return offered == pinned or (pinned == "ssh-rsa" and offered in ("rsa-sha2-512", "rsa-sha2-256"))


def _hung_up(error: paramiko.AuthenticationException) -> bool:
    """Whether the server fell silent or hung up in the middle of the log-on, as a guest that goes down does.

    paramiko has no class of its own for that.
    """
    return any(sign in str(error) for sign in ("Authentication timeout", "transport shut down"))


def reason(error: BaseException) -> str:
    """The plain cause of a lost or refused connection."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown name"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or "the connection was closed"
