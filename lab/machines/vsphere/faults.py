"""What a vCenter refuses, in its own words, and why there is no talking to it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vim

from lab.machines.vsphere import tls
from lab.model import CredentialsRefused, InfrastructureError

LOST = (OSError, http.client.HTTPException, ExpatError)
"""What pyvmomi and http.client raise when the connection was lost, or never made."""

_ODD = (AttributeError, KeyError, IndexError, TypeError, ValueError)
"""What pyvmomi raises for an answer with types, names or values that it does not know."""

_SOURCE = re.compile(r"^_ssl\.c:\d+: | \(_ssl\.c:\d+\)$")
"""Where OpenSSL's error was met, in Python's own source."""

_HELP = {
    "NoDiskSpace": "Make room on the datastore, or name another one.",
    "InvalidState": "It may be a template, or another task may be changing it: see the vSphere Client.",
    "TaskInProgress": "Try again when the vCenter's other task on it has ended.",
    "ResourceInUse": "Try again when nothing else uses it; the vSphere Client shows what does.",
    "RestrictedVersion": "The ESXi host's licence does not have this part of vSphere's API.",
    "ManagedObjectNotFound": "It was removed meanwhile: see what there is in the vSphere Client.",
}
"""What to do, by the fault's name."""

_NO_RESOURCES = "Power off other machines there, ask for less memory or CPU, or name another resource pool."


class VcenterFault(InfrastructureError):
    """A vCenter said no. `fault` is its fault's class, as `DuplicateName`; `detail` is the fault itself."""

    help = "Its entry in the vCenter's list of tasks and events may say more."

    def __init__(self, message: str, detail: Any, *, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.detail = detail
        self.fault = type(detail).__name__.rpartition(".")[2]


class Unreadable(InfrastructureError):
    """An answer that pyvmomi cannot take, as a fault of a newer vCenter may be."""

    help = "Update pyvmomi when the vCenter is newer than it; else look at what stands between."


def refusal(place: str, user: str, about: str, fault: Any) -> VcenterFault:
    """The error for a fault that `about` met; `place` and `user` say where, and who lacks a privilege."""
    kind = type(fault).__name__.rpartition(".")[2]
    help = _HELP.get(kind)
    if isinstance(fault, vim.fault.InsufficientResourcesFault):
        help = _NO_RESOURCES
    if privilege := getattr(fault, "privilegeId", None) if kind == "NoPermission" else None:
        help = f"Give {user} the privilege {privilege} on it."
    return VcenterFault(f"{place} refused {about}: {fault_text(fault)} ({kind})", fault, help=help)


def fault_text(fault: Any) -> str:
    """What a fault says of itself, in one line: its own message, those that it wraps, or its name."""
    texts = [getattr(fault, "msg", None) or ""]
    texts += [each.message for each in getattr(fault, "faultMessage", None) or [] if each.message]
    said = "; ".join(dict.fromkeys(" ".join(text.split()) for text in texts if text and text.strip()))
    return said[:400] or "no reason given"


def said(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what listens there does not speak TLS"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    text = _SOURCE.sub("", " ".join(str(error).split()))[:200]
    return f"{text[:1].lower()}{text[1:]}" if text else type(error).__name__


def unreachable(url: str, error: Exception) -> InfrastructureError:
    """Why there is no verified connection."""
    if isinstance(error, tls.ThumbprintMismatch):
        return InfrastructureError(f"{url}: {error.strerror}", help=error.help)
    if isinstance(error, ssl.SSLCertVerificationError):
        help = "Set the controller's ca_file to the PEM file of the issuer, or its thumbprint."
        if "mismatch" in error.verify_message:
            help = "Write the url with a name that the certificate has, or set the controller's thumbprint."
        reason = error.verify_message.rstrip(".")
        return InfrastructureError(f"the certificate of {url} is not to be trusted: {reason}", help=help)
    return InfrastructureError(
        f"{url} could not be reached: {said(error)}", help="Check the controller's url and the network."
    )


def bad_credentials(url: str, user: str, fault: Any) -> CredentialsRefused:
    if isinstance(fault, vim.fault.PasswordExpired):
        return CredentialsRefused(
            f"{url} refused the user '{user}': the password has expired",
            help="Give the user a new password, and put it where the inventory's reference leads.",
        )
    return CredentialsRefused(
        f"{url} refused the user '{user}' or the password",
        help="Correct the controller's user or password in the inventory; the password may have expired.",
    )


def readable(url: str, invoke: Callable[..., Any]) -> Callable[..., Any]:
    """pyvmomi's way of calling a method, which tells an answer that it cannot take from all other errors."""

    def call(managed: Any, info: Any, arguments: Any) -> Any:
        try:
            return invoke(managed, info, arguments)
        except _ODD as error:
            what = f"{type(error).__name__}: {said(error)}"
            raise Unreadable(f"an answer of {url} to {info.wsdlName} cannot be read: {what}") from None

    return call
