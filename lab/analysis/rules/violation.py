"""0xC4, 0xC9 and 0xE6: what Driver Verifier caught, and who made the call it was caught in.

The kinds whose parameter 2 is a routine that broke the rule are `dispatch_routine`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.analysis.facts import Facts
from lab.analysis.rules.caller import caller
from lab.analysis.rules.dispatch_routine import KINDS as ROUTINES
from lab.analysis.rules.parameters import leads
from lab.analysis.rules.registry import Note, rule
from lab.analysis.stops import Role, describe
from lab.model import Evidence, Strength
from lab.model.relation import POOL_VIOLATIONS

NAMED = frozenset({(0xC4, 0x62), (0xC4, 0xDA), (0xC4, 0xDD), (0xC9, 0x5), (0xE6, 0x26)})
"""Kinds whose parameters name the driver, whatever the stack says."""

_TWO_SIDES = frozenset({(0xC4, kind) for kind in (0x1000, 0x1001, 0x1003, 0x1004, 0x100A, 0x100B)})
_POOL_DAMAGE = frozenset((0xC4, kind) for kind in POOL_VIOLATIONS)
_NOT_ITS_CALL = frozenset({(0xC4, kind) for kind in (0xA0, 0xA1, 0xA2, 0x115, 0x135)})

CALLER: Mapping[int, Strength] = {0xC4: Strength.STRONG, 0xC9: Strength.STRONG, 0xE6: Strength.MODERATE}

_STRENGTHS = {(0xC9, 0x5): {Role.DEVICE: Strength.STRONG}, (0xE6, 0x26): {Role.DEVICE: Strength.STRONG}}


@rule(0xC4, 0xC9, 0xE6)
def violation(facts: Facts) -> Iterator[Evidence | Note]:
    """The meaning of the kind, what its parameters lead to, and the caller on the stack."""
    code, kind = facts.bugcheck.code, facts.bugcheck.parameters[0]
    if (code, kind) in ROUTINES:
        return
    stop = describe(facts.bugcheck)
    if stop is None:
        yield Note(
            f"The tables do not know sub-code {kind:#x} of bugcheck {code:#x}; only the facts are shown."
        )
        return
    family = f"{code:#x}.{kind:x}"
    yield Evidence(
        f"{family}.violation", f"Driver Verifier: {stop.meaning}.", Strength.WEAK, "bugcheck parameter 1"
    )
    yield from leads(facts, stop, family, _STRENGTHS.get((code, kind)))
    if (code, kind) in NAMED or any(p.role is Role.CODE for p in stop.parameters):
        return
    if (code, kind) in _NOT_ITS_CALL:
        yield Note("The stack is verifier's own: it says nothing of who is at fault.")
        return
    strength = CALLER[code]
    said = "made the call that Driver Verifier stopped"
    if (code, kind) in _TWO_SIDES:
        strength = Strength.MODERATE
        said += "; the other holder of the lock may be the one that is wrong"
    elif (code, kind) in _POOL_DAMAGE:
        strength = Strength.MODERATE
        said += "; it frees the block, and another may have damaged it"
    yield from caller(facts, family, strength, said)
    yield from _only_verified(facts, family)


def _only_verified(facts: Facts, family: str) -> Iterator[Evidence]:
    """Verifier checks the drivers it was told to: when one alone was loaded, it made the call."""
    verified = facts.verifier.loaded if facts.verifier else ()
    if len(verified) == 1 and facts.accusable(verified[0].name):
        yield Evidence(
            rule=f"{family}.only-verified",
            statement=f"{verified[0].name} was the only verified driver in memory, and most checks are made "
            "for verified drivers alone.",
            strength=Strength.MODERATE,
            where="nt!ViTargetDriversAvl",
            points_to=(verified[0].name,),
        )
