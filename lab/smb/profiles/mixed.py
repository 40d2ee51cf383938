"""Steady READs while other clients cancel, break oplocks and vanish."""

from __future__ import annotations

from lab.smb.profiles.profile import Disturbance, Phase, Profile

PROFILE = Profile(
    name="mixed",
    summary="32 READs in flight, with cancelled READs, oplock breaks and connections lost in mid-flight",
    exercises="The ways out of a READ that are seldom taken: cancelled, its connection gone, or its file's "
    "oplock broken; a driver that forgets to clean up there is not met by READs that succeed.",
    phases=(Phase("mixed", seconds=1.0, in_flight=32),),
    unbuffered=True,
    disturbances=(
        (Disturbance.CANCEL, 0.3),
        (Disturbance.BREAK, 0.7),
        (Disturbance.DISCONNECT, 1.1),
    ),
)
