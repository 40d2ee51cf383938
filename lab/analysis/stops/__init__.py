"""What each kind of stop means, and what its parameters lead to: data, one table a bugcheck."""

from __future__ import annotations

from collections.abc import Mapping

from lab.analysis.stops import dma, io_manager, plain, pool, verifier
from lab.analysis.stops.shape import Kinds, Parameter, Role, Stop, violation
from lab.model import Bugcheck

KINDS: Mapping[int, Kinds] = {
    0x19: pool.BAD_POOL_HEADER,
    0x9F: plain.POWER,
    0xC1: pool.SPECIAL_POOL,
    0xC2: pool.BAD_POOL_CALLER,
    0xC4: verifier.VIOLATIONS,
    0xC9: io_manager.VIOLATIONS,
    0xE6: dma.VIOLATIONS,
    0x10D: plain.FRAMEWORK,
    0x133: plain.WATCHDOG,
    0x13A: pool.HEAP_CORRUPTION,
}
"""Bugchecks of several kinds."""

KIND_PARAMETER = {code: 4 if code == 0xC1 else 1 for code in KINDS}
"""Which parameter (1..4) tells the kinds apart."""


def kind(bugcheck: Bugcheck) -> int | None:
    """What the parameter that tells kinds apart says; None for a bugcheck that has only one."""
    number = KIND_PARAMETER.get(bugcheck.code)
    return None if number is None else bugcheck.parameters[number - 1]


def describe(bugcheck: Bugcheck) -> Stop | None:
    """What the tables say of this very stop; None for a code or a kind that they do not know."""
    which = kind(bugcheck)
    if which is None:
        return plain.PLAIN.get(bugcheck.code)
    found = KINDS[bugcheck.code].get(which)
    if found is None and bugcheck.code == 0xC4 and which >= verifier.FIRST_RULE:
        return verifier.rule_stop(which)
    if found is None and bugcheck.code == 0xC9 and which >= io_manager.FIRST_WDM:
        return io_manager.wdm_stop(which)
    return found


__all__ = ["KINDS", "KIND_PARAMETER", "Kinds", "Parameter", "Role", "Stop", "describe", "kind", "violation"]
