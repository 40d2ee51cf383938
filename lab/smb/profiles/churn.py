"""Files opened, read and closed in one compound, over many of them."""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile, Work

PROFILE = Profile(
    name="churn",
    summary="CREATE, READ and CLOSE in one compound, 32 at a time, over 256 small files",
    exercises="Opening and closing under srv2: each minifilter sees a create, a read, a cleanup and a close, "
    "and the compound stays on one worker (hypothesis) from its first request to its last.",
    phases=(Phase("churn", seconds=1.0, in_flight=32),),
    work=Work.FILES,
    files=256,
)
