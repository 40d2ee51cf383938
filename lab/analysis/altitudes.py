"""What a minifilter's altitude tells of it: its load order group, by the ranges Microsoft publishes.

(Windows driver documentation, "Load order groups and altitudes for minifilter drivers".) Nothing stops a
driver from using an altitude of another group, so a range is a hint and never decides anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A load order group. `reserved` altitudes are for Microsoft's own filters."""

    name: str
    lowest: int
    highest: int
    reserved: bool = False


GROUPS = (
    Group("Filter", 420000, 429999),
    Group("FSFilter Top", 400000, 409999),
    Group("FSFilter Activity Monitor", 360000, 389999),
    Group("FSFilter Undelete", 340000, 349999),
    Group("FSFilter Anti-Virus", 320000, 329999),
    Group("FSFilter Replication", 300000, 309999),
    Group("FSFilter Continuous Backup", 280000, 289999),
    Group("FSFilter Content Screener", 260000, 269999),
    Group("FSFilter Quota Management", 240000, 249999),
    Group("FSFilter System Recovery", 220000, 229999),
    Group("FSFilter Cluster File System", 200000, 209999),
    Group("FSFilter HSM", 180000, 189999),
    Group("FSFilter Imaging", 170000, 175000),
    Group("FSFilter Compression", 160000, 169999),
    Group("FSFilter Encryption", 140000, 149999),
    Group("FSFilter Virtualization", 130000, 139999),
    Group("FSFilter Physical Quota Management", 120000, 129999),
    Group("FSFilter Open File", 100000, 109999),
    Group("FSFilter Security Enhancer", 80000, 89999),
    Group("FSFilter Copy Protection", 60000, 69999),
    Group("FSFilter Bottom", 40000, 49999),
    Group("FSFilter System", 20000, 29999, reserved=True),
    Group("FSFilter Infrastructure", 0, 19999, reserved=True),
)


def group_of(altitude: str) -> Group | None:
    """The group whose range holds an altitude ("189600", "328010.5"); None for any other text."""
    if not re.fullmatch(r"\d{1,9}(\.\d*)?", altitude, re.ASCII):
        return None
    number = int(altitude.partition(".")[0])
    return next((group for group in GROUPS if group.lowest <= number <= group.highest), None)
