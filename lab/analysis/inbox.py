"""Names of kernel images that come with Windows, lower case. What a name proves is `origin`'s business."""

from __future__ import annotations

from pathlib import Path


def _names(file: str) -> frozenset[str]:
    # Not importlib.resources: importing that costs more than a whole triage.
    lines = (Path(__file__).parent / "data" / file).read_text("utf-8").splitlines()
    return frozenset(line.strip().casefold() for line in lines if line.strip() and not line.startswith("#"))


IN_BOX = _names("in-box.txt")
"""Shipped by Microsoft alone, as part of Windows."""

SHARED = _names("shared.txt")
"""Shipped with Windows, and in newer versions by the device's maker."""
