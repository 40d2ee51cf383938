"""Many READs at once, then silence: worker threads are created, and exit when nothing is left to do.

128 in flight is more than the 20 threads per processor of a NUMA node that the server's thread pool
is said to have (Microsoft, "Performance tuning for SMB file servers") on a lab machine of up to 6
processors. No document gives the idle time after which a worker exits, so the pause is the longer part.
"""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile

PROFILE = Profile(
    name="burst",
    summary="128 random READs in flight for 0.8 s, then 1.7 s of silence, again and again",
    exercises="Hypothesis: the queue grows, srv2 makes worker threads, they run Smb2ExecuteRead and exit "
    "in the silence. The short period repeats that often in a short trial.",
    phases=(Phase("burst", seconds=0.8, in_flight=128), Phase("idle", seconds=1.7)),
    unbuffered=True,
)
