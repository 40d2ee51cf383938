"""Fetching a dump: whole, resumed, or refused."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from capture_sources import HandClock, ManySource, MemorySource, StreamSource, dump
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.capture import DumpRef, Fetch, Replaced, Vault, fetch
from lab.capture.patience import TRIES
from lab.dumps import RemoteSource
from lab.model import InfrastructureError, TimedOut
from lab.smb import CredentialsRefused

NAME = "MEMORY.DMP"
MIB = 1 << 20
BIG = dump(pages=60) + bytes(range(256)) * 12_000  # some 3.2 MiB: several pieces
SHA = hashlib.sha256(BIG).hexdigest()
REF = DumpRef(NAME, len(BIG), "2026-01-01T00:00:00Z")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pieces and readers as for a dump a hundred times as large."""
    module = import_module("lab.capture.fetch")  # the function of that name hides it
    monkeypatch.setattr(module, "SEGMENT", MIB)
    monkeypatch.setattr(module, "GENTLE", MIB // 16)
    monkeypatch.setattr(module, "A_READER_EACH", MIB // 4)
    yield
    assert [t.name for t in threading.enumerate() if t.name.startswith("fetch-")] == []


def partials(vault: Vault) -> list[Path]:
    return list((vault.root / "partial").glob("*"))


def received(vault: Vault) -> int:
    """Bytes that the side file of the one partial copy tells of."""
    (side,) = (vault.root / "partial").glob("*.pieces")
    return sum(int(line.split()[1]) for line in side.read_text().splitlines()[2:])


def test_a_fetched_dump_is_the_same_bytes(tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG})
    seen: list[tuple[int, int]] = []
    assert fetch(source, REF, vault, on_progress=lambda *at: seen.append(at), clock=HandClock()) == SHA
    assert vault.path(SHA).read_bytes() == BIG
    assert seen[0] == (0, len(BIG)) and seen[-1] == (len(BIG), len(BIG))
    assert [at for at, _ in seen] == sorted({at for at, _ in seen})
    assert partials(vault) == []
    reads = source.bytes_read
    assert fetch(source, REF, vault) == SHA, "it is here already"
    assert source.bytes_read - reads <= 0x3000


def test_an_empty_file_can_be_fetched(tmp_path: Path) -> None:
    ref = DumpRef(NAME, 0, REF.modified)
    assert fetch(MemorySource({NAME: b""}), ref, Vault(tmp_path)) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("failures", [{1}, {3}, {4, 5}, {3, 6, 9}])
def test_a_lost_connection_is_gone_on_with(tmp_path: Path, failures: set[int]) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG}, fail_reads=failures)
    assert fetch(source, REF, vault, clock=HandClock()) == SHA
    assert vault.path(SHA).read_bytes() == BIG
    assert source.bytes_read <= len(BIG) + 0x3000 * (3 + len(failures))  # no piece was read twice


def test_what_came_before_a_loss_is_not_fetched_again(tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), StreamSource({NAME: BIG}, fail_reads={7, 20, 21})
    assert fetch(source, REF, vault, clock=HandClock(), readers=1) == SHA
    assert source.bytes_read == len(BIG) + 0x3000 * (2 + 3)  # the head: before, after, and at each opening


def test_a_stream_that_ends_too_soon_is_of_another_dump(tmp_path: Path) -> None:
    source = StreamSource({NAME: BIG})

    def cut(number: int) -> None:
        if number == 9:
            source.files[NAME] = BIG[:1_000_000]

    source.on_read = cut
    with pytest.raises(Replaced):
        fetch(source, REF, Vault(tmp_path), readers=1)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path: Path) -> None:
    vault, clock = Vault(tmp_path), HandClock()
    source = MemorySource({NAME: BIG}, fail_reads=set(range(5, 50)))
    with pytest.raises(InfrastructureError) as caught:
        fetch(source, REF, vault, clock=clock)
    assert f"failed {TRIES} times after 2097152 of {len(BIG)} bytes" in caught.value.message
    assert clock.time > 5 and len(partials(vault)) == 2
    again = MemorySource({NAME: BIG})
    seen: list[int] = []
    assert fetch(again, REF, vault, on_progress=lambda at, _: seen.append(at), clock=clock) == SHA
    assert seen[0] == 2097152 and again.bytes_read < len(BIG) - 2097152 + 4 * 0x3000
    assert vault.path(SHA).read_bytes() == BIG and partials(vault) == []


def test_a_dump_replaced_during_a_loss_is_not_mixed_with_the_old_one(tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG}, fail_reads={4})
    other = b"PAGEDU64 other" + BIG[14:]

    def replace(number: int) -> None:
        if number == 4:
            source.files[NAME] = other

    source.on_read = replace
    with pytest.raises(Replaced, match=r"MEMORY\.DMP was replaced or cut short"):
        fetch(source, REF, vault, clock=HandClock())
    assert partials(vault) == [] and not vault.has(SHA)


@pytest.mark.parametrize("then", [BIG[:1_500_000], BIG + b"more", b"PAGEDU64 other" + BIG[14:], BIG])
def test_a_dump_that_changes_while_it_is_read_is_refused(tmp_path: Path, then: bytes) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG})

    def change(number: int) -> None:
        if number == 4:
            source.files[NAME] = then
            source.modified = "2026-01-01T00:00:09Z"  # in the middle, where no length and no header tells

    source.on_read = change
    with pytest.raises(Replaced):
        fetch(source, REF, vault, clock=HandClock())
    assert partials(vault) == []
    assert list(vault.root.rglob("*.dmp")) == []


def test_a_dump_that_is_not_the_one_asked_for_is_not_begun(tmp_path: Path) -> None:
    for files in ({NAME: BIG[:-1]}, {"other.dmp": BIG}):
        with pytest.raises(Replaced):
            fetch(MemorySource(files), REF, Vault(tmp_path))
    assert not tmp_path.joinpath("partial").exists()


def test_refused_credentials_are_not_tried_again(tmp_path: Path) -> None:
    class Locked(MemorySource):
        def open(self, ref: DumpRef):  # type: ignore[no-untyped-def]
            raise CredentialsRefused("credentials refused for user 'x' at y")

    clock = HandClock()
    with pytest.raises(CredentialsRefused):
        fetch(Locked({NAME: BIG}), REF, Vault(tmp_path), clock=clock)
    assert clock.time == 0


def test_an_interrupt_keeps_what_came(tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG})

    def interrupt(at: int, of: int) -> None:
        if at > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, REF, vault, on_progress=interrupt, clock=HandClock())
    kept, before = received(vault), source.bytes_read
    assert kept >= MIB
    assert fetch(source, REF, vault, clock=HandClock()) == SHA
    assert source.bytes_read - before <= len(BIG) - kept + 4 * 0x3000


def test_a_transfer_that_takes_too_long_keeps_what_came(tmp_path: Path) -> None:
    vault, source, clock = Vault(tmp_path), MemorySource({NAME: BIG}), HandClock()
    source.on_read = lambda number: clock.sleep(20)  # a slow line
    with pytest.raises(
        TimedOut, match=f"waited 70 s for transfer; last seen: [1-9][0-9]* of {len(BIG)} bytes"
    ) as caught:
        fetch(source, REF, vault, clock=clock, seconds=70)
    assert caught.value.wait == "transfer" and "kept" in caught.value.help
    assert received(vault) >= MIB
    assert fetch(source, REF, vault, clock=clock) == SHA  # no limit, and from there on


def test_the_limit_of_a_transfer_counts_pauses_after_losses(tmp_path: Path) -> None:
    clock = HandClock()
    with pytest.raises(TimedOut, match="0 of"):
        fetch(MemorySource({NAME: BIG}, down=True), REF, Vault(tmp_path), clock=clock, seconds=1)
    assert clock.time < 3


# --- several readers -------------------------------------------------------------------------


def test_every_byte_comes_once_over_any_of_the_connections(tmp_path: Path) -> None:
    barrier = threading.Barrier(3, timeout=20)  # no reader gets far before the others have begun
    begun: set[int] = set()

    def together(way: int, offset: int, size: int) -> None:
        if way and size == MIB and way not in begun:
            begun.add(way)
            barrier.wait()

    source = ManySource({NAME: BIG}, on_read=together)
    assert fetch(source, REF, Vault(tmp_path), readers=3) == SHA
    pieces = sorted((offset, size) for way, offset, size in source.asked if size != 0x3000)
    assert [offset for offset, _ in pieces] == list(range(0, len(BIG), MIB))
    assert sum(size for _, size in pieces) == len(BIG)
    assert {way for way, _, size in source.asked if size == MIB} == {1, 2, 3}
    assert sorted(source.closed) == [1, 2, 3]


def test_a_small_dump_is_not_worth_several_connections(tmp_path: Path) -> None:
    small = dump(pages=1)
    source = ManySource({NAME: small})
    fetch(source, DumpRef(NAME, len(small), REF.modified), Vault(tmp_path))
    assert source.ways == [0, 1]


def test_one_connection_may_stay_lost_as_long_as_others_go_on(tmp_path: Path) -> None:
    """The third never works: its pieces are fetched by the others."""
    source = ManySource({NAME: BIG}, lose=lambda way, offset: way == 3)
    assert fetch(source, REF, Vault(tmp_path), readers=3, clock=HandClock()) == SHA


def test_the_first_trouble_that_cannot_be_helped_ends_it(tmp_path: Path) -> None:
    refused = threading.Event()

    def refuse(way: int, offset: int) -> bool:
        if way == 2:
            refused.set()
            raise CredentialsRefused("credentials refused for user 'x' at y")
        if way == 1:
            refused.wait(20)
        return False

    with pytest.raises(CredentialsRefused):
        fetch(ManySource({NAME: BIG}, lose=refuse), REF, Vault(tmp_path), readers=2, clock=HandClock())


def test_a_programming_error_in_a_reader_is_not_swallowed(tmp_path: Path) -> None:
    def broken(way: int, offset: int) -> bool:
        if way:
            raise ZeroDivisionError
        return False

    with pytest.raises(ZeroDivisionError):
        fetch(ManySource({NAME: BIG}, lose=broken), REF, Vault(tmp_path))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3 * MIB)), max_size=6),
    st.lists(st.integers(1, len(BIG)), max_size=3),
    st.integers(1, 4),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_losses_and_interrupts_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    losses: list[tuple[int, int]],
    interrupts: list[int],
    readers: int,
) -> None:
    vault = Vault(tmp_path_factory.mktemp("vault"))
    left = list(losses)

    def lose(way: int, offset: int) -> bool:
        hit = next((each for each in left if each[0] == way and abs(each[1] - offset) < MIB), None)
        if hit is not None:
            left.remove(hit)
        return hit is not None

    for limit in interrupts:

        def interrupt(at: int, of: int, limit: int = limit) -> None:
            if at >= limit:
                raise KeyboardInterrupt

        source = ManySource({NAME: BIG}, lose=lose)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, REF, vault, readers=readers, on_progress=interrupt, clock=HandClock())
    source = ManySource({NAME: BIG}, lose=lose)
    assert fetch(source, REF, vault, readers=readers, clock=HandClock()) == SHA
    assert vault.path(SHA).read_bytes() == BIG and partials(vault) == []


# --- in place and copied ---------------------------------------------------------------------


def test_what_is_read_in_place_is_part_of_the_copy(tmp_path: Path) -> None:
    source = ManySource({NAME: BIG})
    with Fetch(source, REF, Vault(tmp_path)) as fetching:
        file = fetching.in_place()
        assert file.read_at(100_000, 50_000) == BIG[100_000:150_000]
        assert file.read_at(90_000, 70_000) == BIG[90_000:160_000]
        assert file.read_at(len(BIG) - 5, 100) == BIG[-5:]
        assert file.bytes_read == 70_005 == fetching.received
        file.close()
        assert fetching.finish() == SHA
    wanted = [0] * len(BIG)
    for way, offset, size in source.asked:
        if way and size != 0x3000:
            for at in range(offset, min(offset + size, len(BIG))):
                wanted[at] += 1
    assert set(wanted) == {1}, "no byte is fetched twice"


def test_what_was_read_in_place_is_kept_for_the_next_time(tmp_path: Path) -> None:
    with Fetch(ManySource({NAME: BIG}), REF, Vault(tmp_path)) as fetching:
        fetching.in_place().read_at(100_000, 50_000)
    with Fetch(ManySource({NAME: BIG}), REF, Vault(tmp_path)) as fetching:
        file = fetching.in_place()
        assert file.read_at(110_000, 1000) == BIG[110_000:111_000] and file.bytes_read == 0


def test_reads_in_place_go_before_the_copy(tmp_path: Path) -> None:
    """While one waits, no piece of the copy is begun, and before the end there is one reader only."""
    waiting, order = threading.Event(), list[tuple[int, int]]()
    background = threading.Event()

    def note(way: int, offset: int, size: int) -> None:
        if size == 0x3000:
            return
        order.append((way, size))
        if way == 1:
            waiting.set()
            background.wait(0.3)  # the copy has every chance to begin a piece
            waiting.clear()
        else:
            background.set()
            assert not waiting.is_set(), "finish says so"

    source = ManySource({NAME: BIG}, on_read=note)
    with Fetch(source, REF, Vault(tmp_path), readers=3) as fetching:
        file = fetching.in_place()  # the first way
        remote = RemoteSource(file, len(BIG))
        hold = threading.Thread(target=remote.read, args=(1_000_000, 10))
        hold.start()
        waiting.wait(20)
        fetching.start()
        hold.join(20)
        assert background.wait(20), "afterwards the copy begins"
        assert max(size for way, size in order if way != 1) <= MIB // 16
        assert fetching.finish() == SHA


def test_a_source_that_can_be_opened_only_once_is_read_in_turns(tmp_path: Path) -> None:
    source = MemorySource({NAME: BIG})
    with Fetch(source, REF, Vault(tmp_path)) as fetching:
        file = fetching.in_place()
        fetching.start()
        for at in random.Random(1).sample(range(len(BIG) - 9), 50):
            assert file.read_at(at, 9) == BIG[at : at + 9]
        assert fetching.finish() == SHA


def test_a_full_vault_does_not_stop_reading_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fetch(ManySource({NAME: BIG}), REF, Vault(tmp_path)) as fetching:
        file = fetching.in_place()

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("lab.capture.incoming.os.pwrite", full)
        assert file.read_at(5000, 10) == BIG[5000:5010]
        assert file.read_at(5000, 10) == BIG[5000:5010]
        with pytest.raises(InfrastructureError, match="disk of the vault is full"):
            fetching.finish()


def test_a_dump_that_the_vault_has_is_not_opened(tmp_path: Path) -> None:
    source = ManySource({NAME: BIG})
    fetch(source, REF, Vault(tmp_path))
    with Fetch(source, REF, Vault(tmp_path)) as fetching:
        assert fetching.sha256 == SHA == fetching.finish()
        fetching.discard()
    assert Vault(tmp_path).has(SHA)
