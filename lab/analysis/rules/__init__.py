"""Rules: from facts of one dump to evidence. One family of bugchecks a module; importing registers it."""

from lab.analysis.rules import (
    apc_count,
    dispatch_routine,
    fault,
    framework,
    irp_log,
    named_driver,
    ours,
    pool,
    power,
    region_log,
    security_check,
    violation,
    watchdog,
)
from lab.analysis.rules.registry import Note, Rule, apply, codes, rule

__all__ = [
    "Note",
    "Rule",
    "apc_count",
    "apply",
    "codes",
    "dispatch_routine",
    "fault",
    "framework",
    "irp_log",
    "named_driver",
    "ours",
    "pool",
    "power",
    "region_log",
    "rule",
    "security_check",
    "violation",
    "watchdog",
]
