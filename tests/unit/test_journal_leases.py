"""Leases: one owner at a time, an end to each, and a token that always grows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.journal import Journal, open_journal
from lab.model import ConfigurationError, InfrastructureError


class Wall:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def journal(tmp_path: Path, wall: Wall) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.db", now=wall) as opened:
        yield opened


def test_a_leased_host_is_refused_to_everybody_naming_the_holder(journal: Journal) -> None:
    lease = journal.acquire("srv1", "flow 1", 60)
    assert lease.expires == "2026-11-22T09:01:00.000+00:00"
    for owner in ("flow 2", "flow 1"):
        with pytest.raises(InfrastructureError, match="srv1 is leased by flow 1 until 2026-11-22T09:01:00"):
            journal.acquire("srv1", owner, 60)
    assert journal.acquire("srv2", "flow 2", 60).owner == "flow 2"
    assert [x.host for x in journal.leases()] == ["srv1", "srv2"]


def test_an_expired_lease_is_taken_over_with_a_greater_token(journal: Journal, wall: Wall) -> None:
    old = journal.acquire("srv1", "sleeper", 60)
    wall.pass_by(61)
    assert journal.leases() == []
    new = journal.acquire("srv1", "next", 60)
    assert new.token > old.token
    with pytest.raises(InfrastructureError, match="taken over by next"):
        journal.renew(old, 60)
    assert journal.release(old) is False
    assert journal.leases() == [new]


def test_a_renewed_lease_lasts_longer_and_keeps_its_token(journal: Journal, wall: Wall) -> None:
    lease = journal.acquire("srv1", "flow", 60)
    wall.pass_by(50)
    longer = journal.renew(lease, 60)
    assert longer.token == lease.token and longer.expires == "2026-11-22T09:01:50.000+00:00"
    wall.pass_by(100)
    assert journal.renew(longer, 60).token == lease.token  # it ran out, but nobody took the host


def test_a_released_host_is_free_at_once_and_its_token_still_grows(journal: Journal) -> None:
    tokens = []
    for owner in ("a", "b", "c"):
        lease = journal.acquire("srv1", owner, 60)
        tokens.append(lease.token)
        assert journal.release(lease) is True
        assert journal.release(lease) is False
        with pytest.raises(InfrastructureError, match="released"):
            journal.renew(lease, 60)
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_lease_has_an_end_in_the_future(journal: Journal, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="not possible"):
        journal.acquire("srv1", "flow", seconds)
    with pytest.raises(ConfigurationError, match="owner"):
        journal.acquire("srv1", "", 60)
