"""The partial copy: whatever came in which order, whoever was killed, the same bytes and hash come out."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.capture.extents import Extents
from lab.capture.partial import Partial
from lab.model import InfrastructureError

SIZE = 50_000
DATA = random.Random(3).randbytes(20_000) + bytes(10_000) + random.Random(4).randbytes(20_000)
SHA = hashlib.sha256(DATA).hexdigest()


def opened(folder: Path, identity: str = "monday") -> Partial:
    return Partial(folder / "key", SIZE, identity)


def finished(partial: Partial) -> int:
    """Fetch and hash what is missing; gives how many bytes were fetched."""
    fetched = 0
    while partial.hashed < SIZE:
        while not partial.hash_on(0) and partial.received == SIZE and partial.hashed < SIZE:
            pass
        if partial.received < SIZE and (taken := partial.take(7_000)):
            partial.put(taken[0], DATA[slice(*taken)])
            partial.give_back(*taken)
            fetched += taken[1] - taken[0]
    return fetched


ranges = st.tuples(st.integers(0, 60), st.integers(0, 60))


@given(st.lists(st.tuples(st.booleans(), ranges), max_size=40), ranges)
@settings(deadline=None)
def test_extents_are_a_set_of_numbers(
    changes: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    extents, numbers = Extents(), set[int]()
    for add, (start, end) in changes:
        (extents.add if add else extents.remove)(start, end)
        numbers = numbers | set(range(start, end)) if add else numbers - set(range(start, end))
        assert {n for low, high in extents for n in range(low, high)} == numbers
        assert extents.total == len(numbers)
        assert all(low < high for low, high in extents)
        assert all(a[1] < b[0] for a, b in zip(list(extents), list(extents)[1:], strict=False))
    missing = [n for low, high in extents.gaps(*asked) for n in range(low, high)]
    assert missing == [n for n in range(*asked) if n not in numbers]
    assert extents.run_from(asked[0]) == next(n for n in range(asked[0], 99) if n not in numbers)


places = st.integers(0, SIZE - 1)
steps = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 9_000), st.booleans()),
    st.tuples(st.just("read"), places, st.integers(1, 9_000)),
    st.tuples(st.just("hash"), st.just(0), st.just(0)),
    st.tuples(st.just("kill"), st.just(0), st.just(0)),
    st.tuples(st.just("tear the side file"), st.integers(0, 200), st.binary(max_size=90)),
    st.tuples(st.just("spoil the copy"), places, st.binary(min_size=1, max_size=50)),
    st.tuples(st.just("cut the copy"), places, st.just(0)),
    st.tuples(st.just("write and die"), places, st.integers(1, 5_000)),
)


@given(st.lists(steps, max_size=25))
@settings(deadline=None, max_examples=150)
def test_any_order_and_any_kills_give_the_same_file(script: list[tuple[str, int, object]]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="partial-"))
    partial, spoilt = opened(folder), False
    try:
        for what, number, more in script:
            if what == "take" and partial.received < SIZE and (taken := partial.take(number)):
                if more:
                    partial.put(taken[0], DATA[slice(*taken)])
                partial.give_back(*taken)
            elif what == "read":
                assert isinstance(more, int)
                end = min(SIZE, number + more)
                seen = b""
                for (start, stop), data in partial.read(number, end):
                    if data is None:
                        partial.put(start, DATA[start:stop])
                    seen += data or DATA[start:stop]
                assert seen == DATA[number:end]
            elif what == "hash":
                partial.hash_on(0)
            elif what not in ("take", "hash"):
                partial.close()
                spoilt = _die(folder, what, number, more) or spoilt
                partial = opened(folder)
        before = partial.received
        fetched = finished(partial)
        assert partial.sha256 == SHA
        assert spoilt or fetched == SIZE - before, "what was held is not fetched again"
        partial.move_to(folder / "done" / "dump")
        assert (folder / "done" / "dump").read_bytes() == DATA
        assert list(folder.glob("key*")) == []
    finally:
        partial.close()
        shutil.rmtree(folder)


def _die(folder: Path, what: str, number: int, more: object) -> bool:
    """Leave the files as a kill or a loss of power may; whether pieces may have been lost by it."""
    part, pieces = folder / "key.part", folder / "key.pieces"
    if what == "tear the side file":
        text = pieces.read_bytes()
        assert isinstance(more, bytes)
        pieces.write_bytes(text[: max(0, len(text) - number)] + more)
    elif what == "spoil the copy":
        assert isinstance(more, bytes)
        with part.open("r+b") as file:
            file.seek(number)
            file.write(more[: SIZE - number])
    elif what == "cut the copy":
        with part.open("r+b") as file:
            file.truncate(number)
    elif what == "write and die":
        assert isinstance(more, int)
        with part.open("r+b") as file:
            file.seek(number)
            file.write((b"?" * more)[: SIZE - number])
    return what != "kill"


def test_a_piece_whose_bytes_never_reached_the_disk_is_fetched_again(tmp_path: Path) -> None:
    with opened(tmp_path) as partial:
        partial.put(0, DATA[:30_000])
        partial.put(40_000, DATA[40_000:45_000])
    with (tmp_path / "key.part").open("r+b") as file:
        file.seek(41_000)
        file.write(b"\0\0\0")
    with opened(tmp_path) as partial:
        assert partial.received == 35_000
        assert b"".join(data or b"" for _, data in partial.read(40_000, 45_000)) == b""
        assert partial.received == 30_000
        assert finished(partial) == 20_000 and partial.sha256 == SHA


def test_a_torn_line_costs_its_own_piece_only(tmp_path: Path) -> None:
    with opened(tmp_path) as partial:
        for start in (0, 10_000, 20_000):
            partial.put(start, DATA[start : start + 10_000])
    side = tmp_path / "key.pieces"
    side.write_bytes(side.read_bytes()[:-20])
    with opened(tmp_path) as partial:
        assert partial.received == 20_000
        partial.put(20_000, DATA[20_000:30_000])
    with opened(tmp_path) as partial:
        assert partial.received == 30_000, "the new line does not continue the torn one"


def test_claims_that_cannot_be_are_not_believed(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with (tmp_path / "key.pieces").open("ab") as side:
        for offset, length in ((SIZE - 1, 2), (0, 0), (10**18, 1), (0, 10**8 - 1)):
            side.write(b"%d %d %s\n" % (offset, length, b"0" * 64))
        side.write(b"0 10 nonsense\n-5 10 " + b"0" * 64 + b"\n")
    with opened(tmp_path) as partial:
        assert partial.received == 0


def test_the_copy_of_another_file_is_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as partial:
        partial.put(0, b"x" * SIZE)
    with opened(tmp_path, "tuesday") as partial:
        assert partial.received == 0 and (tmp_path / "key.part").stat().st_blocks == 0
        finished(partial)
        assert partial.sha256 == SHA


def test_what_is_put_in_after_the_end_is_refused(tmp_path: Path) -> None:
    partial = opened(tmp_path)
    partial.close()
    with pytest.raises(InfrastructureError, match="closed"):
        partial.put(0, b"late")


def test_two_readers_never_take_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as partial:
        first, second = partial.take(10_000), partial.take(10_000)
        assert (first, second) == ((0, 10_000), (10_000, 20_000))
        partial.put(5_000, DATA[5_000:6_000])  # read in place meanwhile
        partial.give_back(0, 10_000)
        assert partial.take(10_000) == (0, 5_000)
        assert partial.take(10_000) == (6_000, 10_000)
