"""Prefect's surroundings: no telemetry, unless the user's environment says otherwise."""

from __future__ import annotations

import os

DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLI_PROMPT": "false",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
