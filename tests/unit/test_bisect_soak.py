"""What a soak without a crash says of the rate."""

from __future__ import annotations

import math

import pytest

from lab.bisect.soak import rate_bound


def test_the_rule_of_three() -> None:
    assert rate_bound(3600.0) == pytest.approx(3 / 3600, rel=2e-3)
    assert math.exp(-rate_bound(50.0, 0.9) * 50.0) == pytest.approx(0.1)


@pytest.mark.parametrize(("seconds", "confidence"), [(0.0, 0.95), (-1.0, 0.95), (1.0, 0.0), (1.0, 1.0)])
def test_nothing_is_said_of_no_soak(seconds: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="seconds must be positive"):
        rate_bound(seconds, confidence)
