"""The wide burst with an idle phase twice as long each time: which silence ends the worker threads?"""

from __future__ import annotations

from dataclasses import replace

from lab.smb.profiles.profile import Phase
from lab.smb.profiles.wide_burst import PROFILE as WIDE_BURST

PROFILE = replace(
    WIDE_BURST,
    name="idle-sweep",
    summary="wide bursts of 3 s; the silence after each is twice as long as the last, 1 s to 10 min",
    exercises="Hypothesis: there is an idle time after which srv2's workers exit. No document gives it; the "
    "first silence in which the server's thread count falls, or after which it stops, measures it.",
    phases=(Phase("burst", seconds=3.0, in_flight=640), Phase("idle", seconds=1.0)),
    idle_growth=2.0,
    longest_idle=600.0,
)
