"""What it means to have stood a soak."""

from __future__ import annotations

import math


def rate_bound(seconds: float, confidence: float = 0.95) -> float:
    """Upper bound of the crash rate, per second of load, after `seconds` without a crash.

    Exact for crashes that come as a Poisson process: the rate at which standing that long has
    probability 1 - `confidence` ("rule of three" at 95 %).
    """
    if not seconds > 0 or not 0 < confidence < 1:
        raise ValueError("seconds must be positive and confidence between 0 and 1")
    return -math.log(1 - confidence) / seconds
