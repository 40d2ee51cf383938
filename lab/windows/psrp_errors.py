"""What went wrong with WinRM, as one sentence."""

from __future__ import annotations

import re
import ssl

import requests
from pypsrp.exceptions import AuthenticationError, WinRMTransportError
from spnego.exceptions import SpnegoError

_ISSUER = (
    "has a certificate whose issuer is not known here",
    "Set guest.shell.ca_file to the PEM file of its issuer.",
)
_NAME = (
    "has a certificate for another name than {address}",
    "Set 'address' to a name in the certificate, or give the guest's listener one for this address.",
)
_CERTIFICATE = {  # X509_V_ERR_… of OpenSSL
    9: ("has a certificate that is not valid yet", "Set the clocks of the guest and of this computer."),
    10: ("has a certificate that has expired", "Give the guest's listener a new certificate."),
    18: _ISSUER,
    19: _ISSUER,
    20: _ISSUER,
    21: _ISSUER,
    62: _NAME,
    64: _NAME,
}


_KDC_REFUSES = frozenset(
    {
        -1765328353,  # KRB5KRB_AP_ERR_BAD_INTEGRITY: the password is not the one that the KDC knows
        -1765328360,  # KRB5KDC_ERR_PREAUTH_FAILED
        -1765328361,  # KRB5KDC_ERR_KEY_EXP
        -1765328366,  # KRB5KDC_ERR_CLIENT_REVOKED
        -1765328378,  # KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN
    }
)


def is_refusal(error: Exception) -> bool:
    """Whether the guest, or the KDC, does not accept user and password."""
    if isinstance(error, AuthenticationError):
        return str(error).startswith("Failed to authenticate")
    return _is_kerberos(error) and getattr(error, "err_code", None) in _KDC_REFUSES


def explain(error: Exception, address: str, auth: str) -> tuple[str, str | None]:
    """What follows the guest's name in the sentence, and what to do about it when that is special."""
    if isinstance(error, AuthenticationError):
        return (
            f"does not offer the log-on {auth}",
            "Set guest.shell.auth, or the service's Auth in the guest.",
        )
    if isinstance(error, SpnegoError) or _is_kerberos(error):
        return f"could not be logged on to with {auth}: {first_lines(str(error))}", None
    if isinstance(error, WinRMTransportError):
        return f"answered with HTTP status {error.code} and no WinRM message", "Is this the port of WinRM?"
    if isinstance(error, requests.exceptions.SSLError):
        return _explain_tls(error, address)
    if isinstance(error, requests.exceptions.Timeout):
        return f"did not answer in time ({_reason(error)})", None
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"could not be reached: {_reason(error)}", None
    return f"broke the protocol: {type(error).__name__}: {first_lines(str(error))}", None


def _is_kerberos(error: Exception) -> bool:
    return type(error).__name__ == "Krb5Error"  # of a package that is only there for Kerberos


def _explain_tls(error: Exception, address: str) -> tuple[str, str]:
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLEOFError):  # as of a guest that goes down, whose port was still open
        return (
            "could not be reached: it ended the TLS handshake",
            "Is guest.shell.tls right for this port, unless the guest is going down?",
        )
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return f"does not speak TLS: {_reason(error)}", "Is guest.shell.tls right for this port?"
    found = _CERTIFICATE.get(cause.verify_code)
    if found is None:
        return f"has a certificate that was not accepted: {cause.verify_message}", _ISSUER[1]
    what, help = found
    return what.format(address=address), help


def first_lines(text: str, most: int = 400) -> str:
    return " ".join(text.split())[:most]


def _innermost(error: BaseException) -> BaseException:
    """The cause: urllib3 wraps it several times, each with the whole of the inner text."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [a for a in (*error.args, getattr(error, "reason", None)) if isinstance(a, BaseException)]
        if not inner:
            break
        error = inner[-1]
    return error


def _reason(error: BaseException) -> str:
    error = _innermost(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).rpartition(": ")[2] or type(error).__name__
    return first_lines(re.sub(r"\[Errno -?\d+\] ", "", text), 200)
