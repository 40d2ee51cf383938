"""Twins for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twin_client import PASSWORD, SPEED, Running, Start

from lab.twin.server import Twin, TwinSettings


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Not the user's, and one for all stories: Prefect needs many seconds to make the tables of a new one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        yield


@pytest.fixture(autouse=True)
def no_ca_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """These variables beat the CA file that sushy is given."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts twins and waits until they answer; stops them at the end of the test."""
    twins: list[Twin] = []

    def starting(*, wait: bool = True, **settings: Any) -> Running:
        state = tmp_path / f"twin-{len(twins)}"
        settings = {"password": PASSWORD, "speed": SPEED, **settings}
        twin = Twin(TwinSettings(state=state, **settings))
        twins.append(twin)
        running = Running(twin, twin.start(), state)
        if wait:
            running.wait_boot()
        return running

    yield starting
    for twin in twins:
        twin.stop()
