"""Real servers for the tests of this folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbd import Smbd, missing


@pytest.fixture
def smbd() -> Iterator[Smbd]:
    """A running private smbd; ended with the test."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="lab-smbd-"))
    server = Smbd(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
