"""Rules: from facts of one dump to evidence. One family of bugchecks a module; importing registers it."""

from lab.analysis.rules import apc_count, dispatch_routine, fault, ours, security_check
from lab.analysis.rules.registry import Note, Rule, apply, rule

__all__ = [
    "Note",
    "Rule",
    "apc_count",
    "apply",
    "dispatch_routine",
    "fault",
    "ours",
    "rule",
    "security_check",
]
