"""What runs in a guest at its first log-on, so that the lab can reach it: WinRM over HTTPS."""

from __future__ import annotations

from importlib.resources import files

SCRIPT = "Enable-LabRemoting"
CERTIFICATE = "guestinfo.bugchecklab.certificate"
"""Where a guest on VMware tells the certificate that its WinRM has: base64 of the DER."""

TROUBLE = "guestinfo.bugchecklab.trouble"
"""Where it tells why it has none."""


def script() -> str:
    """The PowerShell that is run once, by an administrator."""
    return files("lab.machines").joinpath("scripts", f"{SCRIPT}.ps1").read_text("utf-8")
