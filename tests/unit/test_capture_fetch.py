"""Fetching a dump: whole, resumed, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from capture_sources import HandClock, MemorySource, dump

from lab.capture import DumpRef, Replaced, Vault, fetch
from lab.capture.fetch import TRIES
from lab.model import InfrastructureError, TimedOut
from lab.smb import CredentialsRefused

NAME = "MEMORY.DMP"
BIG = dump(pages=60) + bytes(range(256)) * 12_000  # some 3.2 MiB: several pieces
SHA = hashlib.sha256(BIG).hexdigest()
REF = DumpRef(NAME, len(BIG), "2026-01-01T00:00:00Z")


def partials(vault: Vault) -> list[Path]:
    return list((vault.root / "partial").glob("*"))


def test_a_fetched_dump_is_the_same_bytes(tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG})
    seen: list[tuple[int, int]] = []
    assert fetch(source, REF, vault, on_progress=lambda *at: seen.append(at), clock=HandClock()) == SHA
    assert vault.path(SHA).read_bytes() == BIG
    assert seen[0] == (0, len(BIG)) and seen[-1] == (len(BIG), len(BIG))
    assert [at for at, _ in seen] == sorted({at for at, _ in seen})
    assert partials(vault) == []


@pytest.mark.parametrize("failures", [{1}, {3}, {4, 5}, {3, 6, 9}])
def test_a_lost_connection_is_gone_on_with(tmp_path: Path, failures: set[int]) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG}, fail_reads=failures)
    assert fetch(source, REF, vault, clock=HandClock()) == SHA
    assert vault.path(SHA).read_bytes() == BIG
    assert source.bytes_read <= len(BIG) + 0x3000 * (3 + len(failures))  # no piece was read twice


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(tmp_path: Path) -> None:
    vault, clock = Vault(tmp_path), HandClock()
    source = MemorySource({NAME: BIG}, fail_reads=set(range(5, 50)))
    with pytest.raises(InfrastructureError) as caught:
        fetch(source, REF, vault, clock=clock)
    assert f"failed {TRIES} times after 2097152 of {len(BIG)} bytes" in caught.value.message
    assert clock.time > 5 and len(partials(vault)) == 1
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


@pytest.mark.parametrize("then", [BIG[:1_500_000], BIG + b"more", b"PAGEDU64 other" + BIG[14:]])
def test_a_dump_that_changes_while_it_is_read_is_refused(tmp_path: Path, then: bytes) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG})

    def change(number: int) -> None:
        if number == 4:
            source.files[NAME] = then

    source.on_read = change
    with pytest.raises(Replaced):
        fetch(source, REF, vault, clock=HandClock())
    assert partials(vault) == []
    assert list(vault.root.rglob("*.dmp")) == []


def test_refused_credentials_are_not_tried_again(tmp_path: Path) -> None:
    class Locked(MemorySource):
        def open(self, ref: DumpRef):  # type: ignore[no-untyped-def]
            raise CredentialsRefused("credentials refused for user 'x' at y")

    clock = HandClock()
    with pytest.raises(CredentialsRefused):
        fetch(Locked(), REF, Vault(tmp_path), clock=clock)
    assert clock.time == 0


def test_an_interrupt_keeps_what_came(tmp_path: Path) -> None:
    vault, source = Vault(tmp_path), MemorySource({NAME: BIG})

    def interrupt(at: int, of: int) -> None:
        if at > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, REF, vault, on_progress=interrupt, clock=HandClock())
    assert [path.stat().st_size for path in partials(vault)] == [1 << 20]
    assert fetch(source, REF, vault, clock=HandClock()) == SHA


def test_a_transfer_that_takes_too_long_keeps_what_came(tmp_path: Path) -> None:
    vault, source, clock = Vault(tmp_path), MemorySource({NAME: BIG}), HandClock()
    source.on_read = lambda number: clock.sleep(20)  # a slow line
    with pytest.raises(
        TimedOut, match=f"waited 70 s for transfer; last seen: [1-9][0-9]* of {len(BIG)} bytes"
    ) as caught:
        fetch(source, REF, vault, clock=clock, seconds=70)
    assert caught.value.wait == "transfer" and "kept" in caught.value.help
    (partial,) = partials(vault)
    assert partial.stat().st_size >= 1 << 20
    assert fetch(source, REF, vault, clock=clock) == SHA  # no limit, and from there on


def test_the_limit_of_a_transfer_counts_pauses_after_losses(tmp_path: Path) -> None:
    clock = HandClock()
    with pytest.raises(TimedOut, match="0 of"):
        fetch(MemorySource({NAME: BIG}, down=True), REF, Vault(tmp_path), clock=clock, seconds=1)
    assert clock.time < 3
