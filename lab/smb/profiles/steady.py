"""A fixed number of READs in flight, all the time."""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile

PROFILE = Profile(
    name="steady",
    summary="32 random READs in flight without a pause",
    exercises="srv2's read path itself, Smb2ExecuteRead and the filters under it, by threads that live on.",
    phases=(Phase("steady", seconds=1.0, in_flight=32),),
)
