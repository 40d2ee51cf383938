"""READs in flight rise and fall evenly, so that threads are wanted one after the other."""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile

PROFILE = Profile(
    name="sawtooth",
    summary="READs in flight rise from 0 to 512 in 10 s and fall back to 0 in 10 s",
    exercises="Hypothesis: srv2 makes and ends its worker threads singly as the queue grows and shrinks, "
    "so that starting and ending threads overlap with running ones.",
    phases=(
        Phase("rise", seconds=10.0, in_flight=512, rises_from=0),
        Phase("fall", seconds=10.0, in_flight=0, rises_from=512),
    ),
    unbuffered=True,
    file_bytes=64 << 20,
)
