"""What a vCenter refuses, in its own words."""

from __future__ import annotations

import http.client
import ssl
from typing import Any
from xml.parsers.expat import ExpatError

from lab.model import InfrastructureError

LOST = (OSError, http.client.HTTPException, ExpatError)
"""What pyvmomi and http.client raise when the connection was lost, or never made."""


class VcenterFault(InfrastructureError):
    """A vCenter said no. `fault` is its fault's class, as `DuplicateName`; `detail` is the fault itself."""

    help = "See the task's own entry in the vCenter; the fault's name is in the vSphere API reference."

    def __init__(self, message: str, detail: Any, *, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.detail = detail
        self.fault = type(detail).__name__.rpartition(".")[2]


def refusal(place: str, user: str, about: str, fault: Any) -> VcenterFault:
    """The error for a fault that `about` met; `place` and `user` say where, and who lacks a privilege."""
    kind = type(fault).__name__.rpartition(".")[2]
    privilege = getattr(fault, "privilegeId", None) if kind == "NoPermission" else None
    return VcenterFault(
        f"{place} refused {about}: {fault_text(fault)} ({kind})",
        fault,
        help=f"Give {user} the privilege {privilege} on it." if privilege else None,
    )


def fault_text(fault: Any) -> str:
    """What a fault says of itself, in one line: its own message, those that it wraps, or its name."""
    texts = [getattr(fault, "msg", None) or ""]
    texts += [each.message for each in getattr(fault, "faultMessage", None) or [] if each.message]
    said = "; ".join(dict.fromkeys(" ".join(text.split()) for text in texts if text and text.strip()))
    return said[:400] or "no reason given"


def said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__
