"""Laws of the evidence's weight, whatever the dumps say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bisect.evidence import CAP, prior
from lab.model import Evidence, Strength

UNITS = {f"d{i}": (f"D{i}.sys",) for i in range(6)}

names = st.lists(st.sampled_from([f"d{i}.SYS" for i in range(6)]), max_size=3).map(tuple)
evidences = st.builds(
    Evidence,
    rule=st.sampled_from(["r1", "r2", "r3"]),
    statement=st.just("."),
    strength=st.sampled_from(Strength),
    where=st.just(""),
    points_to=names,
    clears=names,
)


@given(st.lists(evidences, max_size=8))
def test_evidence_never_excludes_a_unit_and_is_capped(seen: list[Evidence]) -> None:
    shares = prior(UNITS, seen)
    assert math.fsum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= (1.0 - CAP) * 0.1 / len(UNITS)
    assert max(shares.values()) <= CAP + (1.0 - CAP) / (1.0 + 0.1 * (len(UNITS) - 1))
    assert prior(UNITS, [*seen, *seen]) == shares  # seen twice is known once
