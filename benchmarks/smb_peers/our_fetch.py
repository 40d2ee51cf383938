"""Our copy of a dump into a vault: several connections, signed; each piece hashed, and the whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import Meter
from benchmarks.smb_peers.our_security import our_target
from lab.capture import ShareSource, Vault, fetch


def main(job: Job) -> None:
    with (
        tempfile.TemporaryDirectory(dir=job.folder) as folder,
        ShareSource(our_target(job), share=job.share, file=job.file) as source,
    ):
        (ref,) = source.dumps()
        vault = Vault(Path(folder))
        meter = Meter(job)
        meter.start()
        sha256 = fetch(source, ref, vault)
        meter.stop(1, vault.path(sha256).stat().st_size)


if __name__ == "__main__":
    main(the_job())
