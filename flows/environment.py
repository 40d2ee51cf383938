"""Prefect's surroundings: no telemetry, quiet logs, our own home unless the user has one."""

from __future__ import annotations

import os

DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
}

for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)
