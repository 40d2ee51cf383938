"""What a job's protection is in our own words."""

from __future__ import annotations

from benchmarks.smb_peers.job import Job
from lab.smb.target import Encryption, Security, Signing, SmbTarget

_SECURITY = {
    "none": Security(signing=Signing.IF_ASKED, encryption=Encryption.OFF),
    "signed": Security(signing=Signing.REQUIRED, encryption=Encryption.OFF),
    "sealed": Security(encryption=Encryption.REQUIRED),
}


def our_target(job: Job) -> SmbTarget:
    return SmbTarget(
        host=job.host,
        port=job.port,
        user=job.user,
        password=job.password,
        data_share=job.share,
        admin_share=job.share,
        security=_SECURITY[job.protection],
    )
