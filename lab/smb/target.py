"""Where a load or a fetch goes, and how its messages are protected."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lab.smb.sealing import Cipher
from lab.smb.signing import SigningAlgorithm

DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
"""SMB 2.0.2, 2.1, 3.0, 3.0.2 and 3.1.1 (MS-SMB2 2.2.3)."""


class Secret(Protocol):
    """A secret that is shown only when asked for by name."""

    def reveal(self) -> str: ...


class Signing(StrEnum):
    """When messages are signed. What the protocol itself wants signed always is."""

    REQUIRED = "required"
    IF_ASKED = "if asked"  # when the server requires it


class Encryption(StrEnum):
    """When messages are encrypted. IF_ASKED: when the server or the share asks; OFF: it is not offered."""

    REQUIRED = "required"
    IF_ASKED = "if asked"
    OFF = "off"


class Authentication(StrEnum):
    """How to log on. NEGOTIATE takes Kerberos where a ticket can be had, else NTLM (SPNEGO, RFC 4178).

    There is none for a server named by its address, nor for a user without domain or realm whose password is
    given: that is an account of the server itself. Both can be had by asking for KERBEROS.
    """

    NEGOTIATE = "negotiate"
    NTLM = "ntlm"
    KERBEROS = "kerberos"


@dataclass(frozen=True)
class Security:
    """What to offer to a server, each in order of preference, and what to insist on.

    AES-GMAC comes first: at 64 KiB it costs a thirteenth of AES-CMAC.
    """

    dialects: tuple[int, ...] = DIALECTS
    signing: Signing = Signing.REQUIRED
    encryption: Encryption = Encryption.IF_ASKED
    signing_algorithms: tuple[SigningAlgorithm, ...] = (
        SigningAlgorithm.AES_GMAC,
        SigningAlgorithm.AES_CMAC,
        SigningAlgorithm.HMAC_SHA256,
    )
    ciphers: tuple[Cipher, ...] = (
        Cipher.AES_128_GCM,
        Cipher.AES_128_CCM,
        Cipher.AES_256_GCM,
        Cipher.AES_256_CCM,
    )
    authentication: Authentication = Authentication.NEGOTIATE


@dataclass(frozen=True)
class SmbTarget:
    """An SMB2 server of the inventory. Its representation never holds the password.

    `user` is "name", "DOMAIN\\name" or "name@REALM". `data_share` is read by the load and holds its
    data file; `admin_share` is the share whose root is %SystemRoot% (ADMIN$ on a Windows server).
    """

    host: str
    port: int
    user: str
    password: Secret | str = field(repr=False)
    data_share: str
    admin_share: str
    security: Security = Security()

    @property
    def place(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"


def revealed(password: Secret | str) -> str:
    """The password's text. Never put it into a message or a log."""
    return password if isinstance(password, str) else password.reveal()
