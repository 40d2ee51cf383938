"""Dumps fetched from a real Samba server."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from smbd import Smbd

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from capture_sources import dump

from lab.capture import Replaced, ShareSource, Vault, fetch, header_of, wait_until_whole
from lab.capture.partial import Partial
from lab.model import SystemClock, TimedOut
from lab.smb import Security, Signing, connect
from lab.smb.remote_file import RemoteFile

CLOCK = SystemClock()


@pytest.fixture
def source(smbd: Smbd) -> Iterator[ShareSource]:
    source = ShareSource(smbd.target())
    yield source
    source.close()


def big(megabytes: int) -> bytes:
    return dump() + random.Random(megabytes).randbytes(megabytes << 20)


def test_dumps_are_listed_and_fetched_byte_for_byte(smbd: Smbd, source: ShareSource, tmp_path: Path) -> None:
    assert source.dumps() == [] and header_of(source, "MEMORY.DMP") is None
    whole = big(5) + b"odd"
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    (smbd.admin / "Minidump").mkdir()
    (smbd.admin / "Minidump" / "010126-1.dmp").write_bytes(dump(pages=1))
    (smbd.admin / "Minidump" / "notes.txt").write_bytes(b"no")
    assert [(ref.name, ref.length) for ref in source.dumps()] == [
        ("MEMORY.DMP", len(whole)),
        ("Minidump\\010126-1.dmp", len(dump(pages=1))),
    ]
    ref = wait_until_whole(source, "MEMORY.DMP", not_like=None, clock=CLOCK, seconds=10, every=0.1)
    sha = fetch(source, ref, Vault(tmp_path))
    assert sha == hashlib.sha256((smbd.admin / "MEMORY.DMP").read_bytes()).hexdigest()
    assert Vault(tmp_path).path(sha).read_bytes() == whole
    small = fetch(source, source.dumps()[1], Vault(tmp_path))
    assert Vault(tmp_path).path(small).read_bytes() == dump(pages=1)


def test_a_dump_that_is_being_written_is_waited_for(smbd: Smbd, source: ShareSource) -> None:
    whole = dump(pages=40)
    place = smbd.admin / "MEMORY.DMP"
    place.write_bytes(dump(pages=2, time=99))
    stale = header_of(source, "MEMORY.DMP")
    assert stale is not None and stale[:8] == b"PAGEDU64"
    with pytest.raises(TimedOut, match="still the one from before"):
        wait_until_whole(source, "MEMORY.DMP", not_like=stale, clock=CLOCK, seconds=0.3, every=0.1)

    def write() -> None:
        with place.open("wb", buffering=0) as file:
            for at in range(0, len(whole), 30_000):
                file.write(whole[at : at + 30_000])
                CLOCK.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    ref = wait_until_whole(source, "MEMORY.DMP", not_like=stale, clock=CLOCK, seconds=10, every=0.1)
    writer.join()
    assert ref.length == len(whole)


@pytest.fixture
def four_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several connections for a dump of a few MiB, as for one of a GiB."""
    module = import_module("lab.capture.fetch")  # the function of that name hides it
    monkeypatch.setattr(module, "A_READER_EACH", 1 << 20)
    monkeypatch.setattr(module, "SEGMENT", 2 << 20)


@pytest.mark.usefixtures("four_readers")
def test_a_fetch_goes_on_after_the_server_was_gone(smbd: Smbd, source: ShareSource, tmp_path: Path) -> None:
    whole = big(48)
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    ref = source.dumps()[0]
    starter: list[threading.Timer] = []

    def restart(at: int, of: int) -> None:
        if at > (8 << 20) and not starter:
            smbd.kill()
            starter.append(threading.Timer(0.7, smbd.start))
            starter[0].start()

    sha = fetch(source, ref, Vault(tmp_path), on_progress=restart)
    starter[0].join()
    assert sha == hashlib.sha256(whole).hexdigest()
    assert Vault(tmp_path).path(sha).read_bytes() == whole


@pytest.mark.usefixtures("four_readers")
def test_the_other_connections_go_on_without_those_that_are_lost(
    smbd: Smbd, source: ShareSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = big(48)
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    ref = source.dumps()[0]
    put, killed = Partial.put, threading.Event()

    def held_up(self: Partial, start: int, data: bytes) -> None:
        if self.received > 4 << 20:
            assert killed.wait(30)
        put(self, start, data)

    def kill(at: int, of: int) -> None:
        if at > (4 << 20) and not killed.is_set():
            serving = smbd.children_serving()
            assert len(serving) > 2, "several readers, and the source itself"
            for pid in serving[2:]:
                os.kill(pid, signal.SIGKILL)
            killed.set()

    monkeypatch.setattr(Partial, "put", held_up)
    sha = fetch(source, ref, Vault(tmp_path), on_progress=kill)
    assert killed.is_set() and sha == hashlib.sha256(whole).hexdigest()


@pytest.mark.usefixtures("four_readers")
def test_an_interrupted_fetch_is_gone_on_with(smbd: Smbd, source: ShareSource, tmp_path: Path) -> None:
    whole = big(24)
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    ref = source.dumps()[0]

    def stop(at: int, of: int) -> None:
        if at > (3 << 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, ref, Vault(tmp_path), on_progress=stop)
    source.close()
    assert smbd.no_connections_left(), "every reader has closed its connection"
    seen: list[int] = []
    sha = fetch(source, ref, Vault(tmp_path), on_progress=lambda at, of: seen.append(at))
    assert seen[0] > 3 << 20 and sha == hashlib.sha256(whole).hexdigest()


KILLED = """
import os, sys, time
from pathlib import Path
from lab.capture import ShareSource, Vault, fetch
from lab.capture.partial import Partial
from lab.smb import SmbTarget

put, done = Partial.put, []

def some(self, start, data):
    if len(done) >= 10:
        os.write(1, b"now\\n")  # whole, also from several threads at once
        time.sleep(600)
    put(self, start, data)
    done.append(start)

Partial.put = some
host, port, user, password, vault = sys.argv[1:]
with ShareSource(SmbTarget(host, int(port), user, password, "Data", "Admin")) as source:
    fetch(source, source.dumps()[0], Vault(Path(vault)))
"""


def test_a_killed_process_leaves_what_the_next_one_uses(
    smbd: Smbd, source: ShareSource, tmp_path: Path
) -> None:
    """kill -9 in mid-copy, and what a loss of power may do besides: a line torn, a page not written."""
    whole = big(64)
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    ref = source.dumps()[0]
    target = smbd.target()
    arguments = [target.host, str(target.port), target.user, str(target.password), str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"now\n"
    process.kill()
    process.wait()
    process.stdout.close()
    (side,) = (tmp_path / "partial").glob("*.pieces")
    lines = side.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 2 + 10
    side.write_bytes(b"".join(lines)[:-9])
    offset, length = map(int, lines[2].split()[:2])
    with side.with_suffix(".part").open("r+b") as part:
        part.seek(offset + length // 2)
        part.write(bytes(4096))
    claimed = sum(int(line.split()[1]) for line in lines[2:-1])
    seen: list[int] = []
    sha = fetch(source, ref, Vault(tmp_path), on_progress=lambda at, of: seen.append(at))
    assert seen[0] == claimed and sha == hashlib.sha256(whole).hexdigest()
    assert Vault(tmp_path).path(sha).read_bytes() == whole
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_dump_that_is_written_to_while_it_is_fetched(
    smbd: Smbd, source: ShareSource, tmp_path: Path
) -> None:
    place = smbd.admin / "MEMORY.DMP"
    place.write_bytes(big(24))
    os.utime(place, (1e9, 1e9))
    ref = source.dumps()[0]

    def change(at: int, of: int) -> None:
        if at > 0:
            with place.open("r+b") as file:
                file.seek(20 << 20)
                file.write(b"another crash")

    with pytest.raises(Replaced):
        fetch(source, ref, Vault(tmp_path), on_progress=change)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_of_any_share(smbd: Smbd, tmp_path: Path) -> None:
    (smbd.data / "kept").mkdir()
    (smbd.data / "kept" / "old.dmp").write_bytes(dump())
    with ShareSource(smbd.target(), share="Data", file="kept\\old.dmp") as source:
        (ref,) = source.dumps()
        assert fetch(source, ref, Vault(tmp_path)) == hashlib.sha256(dump()).hexdigest()
    with ShareSource(smbd.target(), share="Data", file="none\\old.dmp") as source:
        assert source.dumps() == []


def test_dumps_are_signed_whatever_the_load_is(smbd: Smbd) -> None:
    (smbd.admin / "MEMORY.DMP").write_bytes(dump())
    careless = smbd.target(security=Security(signing=Signing.IF_ASKED))
    with connect(careless, "Admin") as share:
        assert share.session.signer is None, "this server does not ask for it"
    with ShareSource(careless) as source, closing(source.open(source.dumps()[0])) as file:
        assert isinstance(file, RemoteFile) and file.read_at(0, 8) == b"PAGEDU64"
        assert file._share.session.signer is not None
