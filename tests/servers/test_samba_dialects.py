"""The read load against Samba with other dialects and settings than its defaults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from smbd import Smbd

from lab.model import LoadPlan, SystemClock
from lab.smb import Encryption, Security, Signing, run_load

PLAIN = Security(signing=Signing.IF_ASKED)
NEVER_SEALED = Security(encryption=Encryption.OFF)


@pytest.mark.parametrize("profile", ["burst", "churn"])
@pytest.mark.parametrize(
    ("server", "security", "transport"),
    [
        ("server max protocol = SMB2_02", Security(), "SMB 2.0.2, signed with HMAC-SHA256"),
        ("server max protocol = SMB2_10", PLAIN, "SMB 2.1, unsigned"),
        ("server max protocol = SMB3_00", Security(), "SMB 3.0, signed with AES-128-CMAC"),
        ("server max protocol = SMB3_02", PLAIN, "SMB 3.0.2, unsigned"),
        ("smb encrypt = required", Security(), "SMB 3.1.1, encrypted with AES-128-GCM"),
        ("server signing = mandatory", PLAIN, "SMB 3.1.1, signed with AES-128-GMAC"),
        ("smb encrypt = desired", NEVER_SEALED, "SMB 3.1.1, signed with AES-128-GMAC"),
    ],
)
def test_every_dialect_and_server_setting(
    servers: Callable[[str], Smbd], server: str, security: Security, transport: str, profile: str
) -> None:
    plan = LoadPlan(profile, seconds=0.6, connections=2, in_flight=32)
    report = run_load(servers(server).target(security=security), plan, clock=SystemClock())
    assert report.transport == transport
    assert report.reads_answered == report.reads_sent > 20
    assert report.bytes_read == report.reads_sent * 4096
    assert report.failed == () and not report.target_died and report.undelivered == ""
    assert (report.verified > 0) is ("unsigned" not in transport)
