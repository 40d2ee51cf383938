"""Real servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from smbd import Smbd, missing, running, version
from vcsim import PASSWORD, USER, Vcsim, build

if TYPE_CHECKING:
    from redfish_emulator import Emulator
    from redfish_front import Front

    from lab.machines.vsphere import Session


@pytest.fixture
def smbd() -> Iterator[Smbd]:
    """A running private smbd; ended with the test."""
    if reason := missing():
        pytest.skip(reason)
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Smbd]]:
    """A running smbd for each set of global settings, started when it is first asked for."""
    if reason := missing():
        pytest.skip(reason)
    if version() < (4, 15):
        pytest.skip("this Samba has neither AES-GMAC nor 256-bit ciphers: they came with 4.15")
    started: dict[str, Smbd] = {}
    with ExitStack() as ends:

        def server(extra: str) -> Smbd:
            if extra not in started:
                started[extra] = ends.enter_context(running(extra))
            return started[extra]

        yield server


@pytest.fixture
def vcenter(tmp_path: Path) -> Iterator[Vcsim]:
    """A running simulated vCenter with the templates ws2019 and ws2022; ended with the test."""
    reason = build()
    if reason:
        pytest.skip(reason)
    server = Vcsim(tmp_path, templates=["ws2019", "ws2022"])
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def session(vcenter: Vcsim) -> Iterator[Session]:
    """A log-on to it; off with the test."""
    from lab.machines.vsphere import Session  # needs pyvmomi, which is an extra

    made = Session(vcenter.url, user=USER, password=lambda: PASSWORD, ca_file=vcenter.ca_file)
    yield made
    made.close()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A running Redfish emulator for the tests of a file."""
    from redfish_emulator import Emulator  # needs sushy-tools, which is an extra

    running = Emulator(tmp_path_factory.mktemp("redfish"))
    running.start()
    yield running
    running.kill()


@pytest.fixture
def front(emulator: Emulator) -> Iterator[Front]:
    """What stands before it and misbehaves as it is told."""
    from redfish_front import front_of

    with front_of(emulator) as made:
        yield made
