"""Which verifier settings tell more about which class of bugcheck: data, one ladder a class.

Flags are those of `verifier /flags`. A new class of bugcheck is a new entry here.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Signature


@dataclass(frozen=True)
class Setting:
    """One rung's verifier setting. `tells` says what a crash under it would show."""

    flags: int
    title: str
    tells: str


@dataclass(frozen=True)
class Ladder:
    """Verifier settings to climb, mildest first."""

    name: str
    codes: frozenset[int]
    settings: tuple[Setting, ...]


MISCELLANEOUS = Setting(
    0x800,
    "miscellaneous checks (0x800)",
    "the critical-region log shows who entered a critical region and did not leave it",
)
IO_VERIFICATION = Setting(
    0x810,
    "miscellaneous checks and I/O verification (0x810)",
    "verifier compares the APC disable count around every IoCallDriver and stops at the guilty call",
)

LADDERS = (
    Ladder("APC disable count", frozenset({0x20, 0x1}), (MISCELLANEOUS, IO_VERIFICATION)),
    Ladder(
        "pool corruption",
        frozenset({0x19, 0xC1, 0xC2, 0x13A, 0x50}),
        (Setting(0x9, "special pool and pool tracking (0x9)", "an overrun or a bad free stops at once"),),
    ),
    Ladder(
        "IRQL",
        frozenset({0xA, 0xD1}),
        (
            Setting(
                0x3,
                "special pool and forced IRQL checking (0x3)",
                "a touch of pageable or freed memory at raised IRQL stops at once",
            ),
        ),
    ),
)
GENERAL = Ladder(
    "general",
    frozenset(),
    (Setting(0x209BB, "standard settings (0x209BB)", "the standard checks stop nearer to the cause"),),
)


def ladder_for(signature: Signature) -> Ladder:
    """The ladder of a bugcheck; the general one when no class has its own."""
    return next((ladder for ladder in LADDERS if signature.code in ladder.codes), GENERAL)
