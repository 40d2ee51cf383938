"""The read load against Samba with other dialects and settings than its defaults."""

from __future__ import annotations

import pytest
from smbd import Smbd

from lab.model import LoadPlan, SystemClock
from lab.smb import run_load


@pytest.mark.parametrize(
    "server",
    [
        "server max protocol = SMB2_02",
        "server max protocol = SMB3_00",
        "smb encrypt = required",
        "server signing = mandatory",
        "smb2 max credits = 16",
    ],
)
def test_every_dialect_and_server_setting(smbd: Smbd, server: str) -> None:
    smbd.kill()
    smbd.configure(server)
    smbd.start()
    report = run_load(
        smbd.target(), LoadPlan(profile="burst", seconds=0.4, connections=2), clock=SystemClock()
    )
    assert report.reads_answered == report.reads_sent > 20
    assert report.bytes_read == report.reads_sent * 4096
    assert report.failed == () and not report.target_died
