"""Eight READs in each message: the most READs that one connection can ask for."""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile

PROFILE = Profile(
    name="compound",
    summary="128 random READs in flight without a pause, 8 in one message",
    exercises="srv2's handling of compounds, at the highest request rate: a message is received once for 8 "
    "READs. Hypothesis: a compound is handled in order by one worker, so it occupies fewer workers than as "
    "many single READs.",
    phases=(Phase("compound", seconds=1.0, in_flight=128),),
    compound=8,
)
