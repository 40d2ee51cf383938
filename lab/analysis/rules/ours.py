"""0x80 and 0xE2: stops the lab causes itself."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Strength


@rule(0x80, 0xE2)
def caused_by_the_lab(facts: Facts) -> Iterator[Evidence | Note]:
    """An NMI or a manual crash says what the machine did, never who is guilty."""
    how = "an NMI" if facts.bugcheck.code == 0x80 else "a manually initiated crash"
    yield Evidence(
        rule="ours",
        statement=f"The stop was caused on purpose by {how}; it says nothing against any driver.",
        strength=Strength.PROOF,
        where="bugcheck code in the dump header",
    )
    yield Note("A stop caused on purpose has no suspects.")
