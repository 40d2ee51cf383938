"""0x80 and 0xE2: stops by which the lab itself gets a dump of a hang. Others cause them, too."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.rules.registry import Note, rule
from lab.model import Evidence, Strength


@rule(0x80)
def interrupt(facts: Facts) -> Iterator[Evidence | Note]:
    """An NMI says what the machine did, never who is guilty; nor does the stop tell who sent it."""
    yield Evidence(
        rule="ours",
        statement="A non-maskable interrupt stopped the system; it says nothing against any driver.",
        strength=Strength.WEAK,
        where="bugcheck code in the dump header",
    )
    yield Note(
        "An NMI is sent on purpose, by a management controller or a hypervisor, to get a dump of a hang, or "
        "by hardware that failed: the event log of the machine's management controller tells which."
    )


@rule(0xE2)
def asked_for(facts: Facts) -> Iterator[Evidence | Note]:
    """A manual crash says what the machine did, never who is guilty."""
    yield Evidence(
        rule="ours",
        statement="The stop was caused on purpose; it says nothing against any driver.",
        strength=Strength.PROOF,
        where="bugcheck code in the dump header",
    )
