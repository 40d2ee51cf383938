"""A dump that lies elsewhere, read in place: the same bytes, few requests, little for nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from dumps_builder import NT, dump, small_world
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.dumps import NotInDump, RemoteSource, open_dump
from lab.dumps.source import BytesSource, FileSource, Source
from lab.model import InfrastructureError

BLOCK = RemoteSource.BLOCK
CONTENT = random.Random(7).randbytes(40 * BLOCK + 123)


class Far:
    """Bytes that are asked for one request at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.requests: list[tuple[int, int]] = []
        self.closed = False

    def read_at(self, offset: int, size: int) -> bytes:
        self.requests.append((offset, size))
        return self.data[offset : offset + size]

    def close(self) -> None:
        self.closed = True

    @property
    def asked(self) -> int:
        return sum(size for _, size in self.requests)


@given(st.lists(st.tuples(st.integers(-5, len(CONTENT) + 5), st.integers(-1, 9 * BLOCK)), max_size=20))
@settings(max_examples=50, deadline=None)
def test_every_kind_of_source_reads_the_same(reads: list[tuple[int, int]]) -> None:
    far = Far(CONTENT)
    remote, here = RemoteSource(far, len(CONTENT)), BytesSource(CONTENT)
    for offset, size in reads:
        assert remote.read(offset, size) == here.read(offset, size)
    assert far.asked <= len(CONTENT)  # nothing is fetched twice
    assert all(offset + size <= len(CONTENT) for offset, size in far.requests)


def test_scattered_reads_bring_one_block_each() -> None:
    far = Far(CONTENT)
    remote = RemoteSource(far, len(CONTENT))
    for index in range(0, 40, 2):
        remote.read(index * BLOCK + 77, 8)
        remote.read(index * BLOCK + 99, 8)
    assert far.requests == [(index * BLOCK, BLOCK) for index in range(0, 40, 2)]


def test_reading_on_brings_more_and_more_at_once() -> None:
    far = Far(CONTENT)
    remote = RemoteSource(far, len(CONTENT))
    got = b"".join(remote.read(offset, 4096) for offset in range(0, len(CONTENT), 4096))
    assert got == CONTENT
    assert [size // BLOCK for _, size in far.requests[:5]] == [1, 2, 4, 8, 16]
    assert far.asked == len(CONTENT)


def test_a_large_read_is_one_request() -> None:
    far = Far(CONTENT)
    assert RemoteSource(far, len(CONTENT)).read(0, len(CONTENT)) == CONTENT
    assert len(far.requests) == 1


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteSource, "_KEPT", 8)
    far = Far(CONTENT)
    remote = RemoteSource(far, len(CONTENT))
    assert remote.read(0, len(CONTENT)) == CONTENT
    assert len(remote._blocks) <= 8
    assert remote.read(5, 10) == CONTENT[5:15]


def test_a_file_that_became_shorter() -> None:
    far = Far(CONTENT[: 3 * BLOCK + 10])
    remote = RemoteSource(far, len(CONTENT))
    assert remote.read(2 * BLOCK, 5 * BLOCK) == CONTENT[2 * BLOCK : 3 * BLOCK + 10]
    assert remote.read(20 * BLOCK, 10) == b""


def test_a_dump_in_place() -> None:
    world = small_world()
    far = Far(dump(world, 6))
    with open_dump(RemoteSource(far, len(far.data)), name="MEMORY.DMP") as opened:
        assert opened.memory.read(NT, 2) == b"MZ"
        assert opened.path.name == "MEMORY.DMP"
        far.data = far.data[: len(far.data) // 2]
        with pytest.raises(NotInDump):
            for frame in world.frames:
                opened.physical.page(frame)  # type: ignore[union-attr]
    assert far.closed


def test_a_lost_connection_is_not_taken_for_a_damaged_dump() -> None:
    class Lost(Far):
        def read_at(self, offset: int, size: int) -> bytes:
            raise InfrastructureError("the connection was lost")

    far = Lost(b"")
    with pytest.raises(InfrastructureError):
        open_dump(RemoteSource(far, 1 << 20))
    assert far.closed


def test_a_file_reads_no_further_than_it_was_long(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    source: Source = FileSource(path)
    with path.open("ab") as file:
        file.write(b"more")
    assert source.read(8, 10) == b"89"
    assert [source.read(*args) for args in ((-1, 4), (10, 1), (0, 0), (3, -1))] == [b""] * 4
    source.close()
    source.close()
