"""Who we are, proven by NTLM or Kerberos: the tokens of a log-on, made by pyspnego."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import spnego
from spnego.exceptions import BadMechanismError, InvalidTokenError, SpnegoError

from lab.model import CredentialsRefused, InfrastructureError, LabError
from lab.smb.errors import Malformed, NotOffered
from lab.smb.target import Authentication, SmbTarget, revealed

_NO_KDC = "Cannot contact any KDC"
_MEANS = {
    "Decrypt integrity check failed": "the password is wrong",
    "Preauthentication failed": "the password is wrong",
    "in cache collection": "there is neither a Kerberos ticket nor a password",
    "No Kerberos credentials available": "there is neither a Kerberos ticket nor a password",
}
"""What some of the Kerberos library's own words mean here."""


class Proof:
    """One log-on's exchange of tokens."""

    def __init__(self, target: SmbTarget) -> None:
        """Raises InfrastructureError where Kerberos is wanted and not to be had, and CredentialsRefused."""
        self._target = target
        self._protocol = _protocol(target)
        make: Callable[..., Any] = spnego.client
        try:
            self._context = make(
                target.user,
                revealed(target.password) or None,
                hostname=target.host,
                service="cifs",
                protocol=self._protocol.value,
                options=spnego.NegotiateOptions.session_key,
            )
        except ImportError:
            raise self._without_kerberos() from None
        except Exception as error:  # those of the Kerberos library have no common base
            raise self._cannot(error) from None

    @property
    def complete(self) -> bool:
        """True when nothing is left to be said, and the server has proven itself too."""
        return bool(self._context.complete)

    def begin(self, hint: bytes) -> bytes:
        """The first token; `hint` is what the server said in NEGOTIATE that it takes."""
        # Kerberos and NTLM on their own go without SPNEGO around them, which the hint is of.
        return self.answer(hint if self._protocol is Authentication.NEGOTIATE else b"")

    def answer(self, token: bytes) -> bytes:
        """What to say to the server's token."""
        try:
            return self._context.step(in_token=token or None) or b""
        except BadMechanismError:
            raise NotOffered(
                f"{self._target.place} takes no way of logging on that there is here",
                help="Let the server take NTLM, or install Kerberos: pip install 'bugcheck-lab[kerberos]'",
            ) from None
        except SpnegoError as error:
            if not isinstance(error, InvalidTokenError):
                raise self._cannot(error) from None
        except Exception:  # whatever a strange token makes its parser raise
            pass
        raise Malformed(f"{self._target.place} sent a log-on token that cannot be read")

    def session_key(self) -> bytes:
        """The key that both ends now have. Malformed when the server has not proven itself."""
        if not self.complete:
            raise Malformed(f"{self._target.place} ended the log-on before it proved who it is")
        return bytes(self._context.session_key)

    def _cannot(self, error: Exception) -> LabError:
        why, target = _plain(error), self._target
        if self._protocol is Authentication.KERBEROS and "not available" in why:
            return self._without_kerberos()
        if _NO_KDC in why:
            return InfrastructureError(
                f"no Kerberos ticket for '{target.user}' at {target.place}: {why}",
                help="See that the realm's KDC is up, and that krb5.conf or DNS names it.",
            )
        return CredentialsRefused(f"cannot log on as '{target.user}' to {target.place}: {why}")

    def _without_kerberos(self) -> InfrastructureError:
        return InfrastructureError(
            f"Kerberos is not installed here, and {self._target.place} is to be logged on to by it",
            help="Install it with: pip install 'bugcheck-lab[kerberos]'",
        )


def _protocol(target: SmbTarget) -> Authentication:
    """NTLM in place of NEGOTIATE where no ticket is to be had: for a server that is named by its address (as
    Windows has it, too), and for an account of the server itself.

    The Kerberos library would only find that out after seconds, where DNS does not answer it.
    """
    wanted = target.security.authentication
    if wanted is Authentication.NEGOTIATE and (
        _is_address(target.host) or (revealed(target.password) and not set("@\\") & set(target.user))
    ):
        return Authentication.NTLM
    return wanted


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _plain(error: Exception) -> str:
    """The cause alone, without codes and what the libraries wrap around it."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    minor = re.search(r"Minor \(\d+\): (.+?)(?:, Context:|$)", text)
    if minor and minor[1] != "Success":
        text = minor[1]
    text = re.sub(r"^SpnegoError \(\d+\): |, Context: .*$| -\d{7,}$", "", text)
    meaning = next((meaning for words, meaning in _MEANS.items() if words in text), "")
    return f"{meaning} ({text})" if meaning else text
