"""More independent READs at once than the server may have worker threads, then nothing at all.

20 threads per processor of a NUMA node are the documented limit of the thread pool (Microsoft,
"Performance tuning for SMB file servers"): 640 READs in flight reach it on up to 31 processors. They are
not compounded, as related requests of a compound are handled one after the other, and unbuffered, so that
each waits for storage. Spread them over 32 connections or so (`--connections 32`).
"""

from __future__ import annotations

from lab.smb.profiles.profile import Phase, Profile

PROFILE = Profile(
    name="wide-burst",
    summary="640 independent unbuffered random READs in flight for 3 s, then 12 s without any request",
    exercises="Hypothesis: more READs wait for storage than srv2 has workers, so it makes threads up to its "
    "limit of 20 a processor; left idle for long enough they end through SrvProcTerminateWorkerThread.",
    phases=(Phase("burst", seconds=3.0, in_flight=640), Phase("idle", seconds=12.0)),
    unbuffered=True,
    file_bytes=64 << 20,
)
