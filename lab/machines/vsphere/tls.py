"""The one kind of TLS that is spoken with a vCenter: verified by an issuer, by a thumbprint, or by both."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from pathlib import Path
from typing import Any

from lab.model import ConfigurationError


class ThumbprintMismatch(ssl.SSLError):
    """The server has another certificate than the one that is pinned."""

    help = "If the certificate was replaced on purpose, put the new SHA-256 thumbprint into the inventory."


class _Context(ssl.SSLContext):
    """Looks at the certificate after each handshake, before a byte of ours is sent."""

    thumbprint: str | None = None
    seconds: float = 60

    def wrap_socket(self, sock: Any, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        if sock.gettimeout() is None:  # some of pyvmomi's own
            sock.settimeout(self.seconds)
        made = super().wrap_socket(sock, *args, **kwargs)
        if self.thumbprint is not None:
            found = hashlib.sha256(made.getpeercert(binary_form=True) or b"").hexdigest()
            if not hmac.compare_digest(found, self.thumbprint):
                made.close()
                raise ThumbprintMismatch(
                    0, f"its certificate's SHA-256 is {found}, which is not the pinned one"
                )
        return made


def context(ca_file: Path | None, thumbprint: str | None, seconds: float) -> ssl.SSLContext:
    """For sockets that give up after `seconds` of silence, unless they have a time-out of their own.

    `thumbprint` (SHA-256 of the leaf certificate, hexadecimal) without `ca_file`: nothing else is checked,
    neither issuer nor name nor dates. With neither of them: the issuers that the system trusts.
    Raises ConfigurationError when the CA file is not there or is none.
    """
    made = _Context(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name unless told otherwise
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.seconds = seconds
    if thumbprint is not None:
        made.thumbprint = thumbprint.replace(":", "").lower()
    if ca_file is not None:
        _load(made, ca_file)
    elif thumbprint is not None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made.load_default_certs()
    return made


def _load(made: ssl.SSLContext, ca_file: Path) -> None:
    help = "Give the PEM file of the certificate's issuer as the controller's ca_file."
    if not ca_file.is_file():
        raise ConfigurationError(f"the certificate file {ca_file} of a controller does not exist", help=help)
    try:
        made.load_verify_locations(cafile=ca_file)
    except (ssl.SSLError, OSError):
        raise ConfigurationError(f"{ca_file} of a controller is no PEM certificate", help=help) from None
