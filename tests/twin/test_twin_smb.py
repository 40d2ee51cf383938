"""The guest's shares, with unmodified smbprotocol (which insists on signing)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import smbclient
import smbclient.path
from smbprotocol.exceptions import SMBException, SMBResponseException
from twin_client import Running, Start, forget


@pytest.fixture
def twin(start: Start) -> Running:
    return start()


def test_data_is_listed_and_read(twin: Running) -> None:
    cache: dict[str, Any] = {}
    share, session = twin.share("LabData"), twin.smb(cache)
    names = sorted(smbclient.listdir(share, **session))
    assert names == [f"data-{number:02}.bin" for number in range(8)]
    path = share + r"\data-03.bin"
    assert smbclient.stat(path, **session).st_size == 4 << 20
    on_disk = (twin.state / "disk" / "LabData" / "data-03.bin").read_bytes()
    with smbclient.open_file(path, "rb", **session) as file:
        assert file.read() == on_disk
    with smbclient.open_file(path, "rb", buffering=0, **session) as file:
        file.seek((4 << 20) - 100)
        assert file.read(4096) == on_disk[-100:]
        assert file.read(4096) == b""
    forget(cache)


def test_names_compare_without_case(twin: Running) -> None:
    cache: dict[str, Any] = {}
    (twin.state / "disk" / "Windows" / "MEMORY.DMP").write_bytes(b"PAGEDU64")
    assert smbclient.stat(twin.share("ADMIN$") + r"\Memory.dmp", **twin.smb(cache)).st_size == 8
    assert not smbclient.path.exists(twin.share("ADMIN$") + r"\other.dmp", **twin.smb(cache))
    forget(cache)


def test_files_are_written_and_removed(twin: Running) -> None:
    cache: dict[str, Any] = {}
    path, session = twin.share("LabData") + r"\mine.txt", twin.smb(cache)
    with smbclient.open_file(path, "wb", **session) as file:
        file.write(b"x" * 100_000)
    assert smbclient.stat(path, **session).st_size == 100_000
    smbclient.remove(path, **session)
    assert not smbclient.path.exists(path, **session)
    forget(cache)


def test_a_wrong_log_on_is_refused(twin: Running) -> None:
    for changes in ({"password": "wrong"}, {"username": "nobody"}, {"username": ""}):
        cache: dict[str, Any] = {}
        session = {**twin.smb(cache), **changes}
        with pytest.raises((SMBException, ValueError)):
            smbclient.listdir(twin.share("LabData"), **session)
        forget(cache)


def test_nothing_is_served_outside_the_shares(twin: Running) -> None:
    cache: dict[str, Any] = {}
    for path in (r"LabData\..\..\pagefile.sys", r"Windows", r"C$", r"LabData\..\Windows"):
        with pytest.raises((SMBException, SMBResponseException, ValueError)):
            smbclient.listdir(twin.share(path), **twin.smb(cache))
    forget(cache)


def test_sixteen_connections_read_at_a_time(twin: Running) -> None:
    twin.script("Set-LabDriver", Service=[twin.twin.reveal()["culprit"]], Start=[4], ClassFilter=[])
    twin.restart()
    read: list[int] = []

    def load() -> None:
        read.append(twin.burst(100))

    threads = [threading.Thread(target=load) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [100] * 16
