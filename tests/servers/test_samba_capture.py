"""Dumps fetched from a real Samba server."""

from __future__ import annotations

import hashlib
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbd import Smbd

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from capture_sources import dump

from lab.capture import ShareSource, Vault, fetch, header_of, wait_until_whole
from lab.model import SystemClock, TimedOut

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


def test_a_fetch_goes_on_after_the_server_was_gone(smbd: Smbd, source: ShareSource, tmp_path: Path) -> None:
    whole = big(24)
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    ref = source.dumps()[0]
    restarted: list[int] = []
    starter: list[threading.Thread] = []

    def restart(at: int, of: int) -> None:
        if at > (8 << 20) and not restarted:
            restarted.append(at)
            smbd.kill()
            starter.append(threading.Timer(0.7, smbd.start))
            starter[0].start()

    sha = fetch(source, ref, Vault(tmp_path), on_progress=restart)
    starter[0].join()
    assert restarted and sha == hashlib.sha256(whole).hexdigest()
    assert Vault(tmp_path).path(sha).read_bytes() == whole


def test_a_killed_process_leaves_a_partial_file_that_the_next_one_uses(
    smbd: Smbd, source: ShareSource, tmp_path: Path
) -> None:
    whole = big(8)
    (smbd.admin / "MEMORY.DMP").write_bytes(whole)
    ref = source.dumps()[0]

    def stop(at: int, of: int) -> None:
        if at > (3 << 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, ref, Vault(tmp_path), on_progress=stop)
    seen: list[int] = []
    sha = fetch(source, ref, Vault(tmp_path), on_progress=lambda at, of: seen.append(at))
    assert seen[0] >= 3 << 20 and sha == hashlib.sha256(whole).hexdigest()
