"""Large READs from the server's cache."""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile

PROFILE = Profile(
    name="bandwidth",
    summary="16 READs of 1 MiB in flight without a pause, from the server's cache",
    exercises="The cached read path with large answers: memory and network are the limit, not storage; few "
    "workers are busy at a time (hypothesis).",
    phases=(Phase("bandwidth", seconds=1.0, in_flight=16),),
    size=1 << 20,
    file_bytes=64 << 20,
)
