"""Twins as hosts of an inventory."""

from __future__ import annotations

from typing import Any

from twin_client import Running

ENV = "BUGCHECK_LAB_TWIN_PASSWORD"
LONG = 120
YEARS = 1e9
"""Seconds. A twin's clock runs faster than ours."""


def entry(twin: Running) -> dict[str, Any]:
    password = {"env": ENV}
    ends = twin.ends
    controller = {"url": ends.redfish_url, "ca_file": ends.ca_file, "system": ends.system_id}
    shell = {"kind": "psrp", "port": ends.winrm_port, "tls": False, "user": ends.user, "password": password}
    return {
        "address": ends.host,
        "expendable": True,
        "machine": {"kind": "redfish", "user": ends.user, "password": password, **controller},
        "guest": {"shell": shell},
        "smb": {"port": ends.smb_port},
        "timeouts": {"power": 30, "boot": LONG, "reachable": LONG, "poll": 0.1},
    }
