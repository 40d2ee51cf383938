"""Prefect inside a command: the journal tells the story, so nothing is logged to its server."""

from __future__ import annotations

import os

import flows  # noqa: F401  sets Prefect's surroundings before it is imported

os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
