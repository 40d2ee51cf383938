"""What the seed decides, and what the twin commits itself to."""

from __future__ import annotations

import hashlib

import pytest

from lab.model import ConfigurationError
from lab.twin.catalogue import BUILDS, plantable
from lab.twin.hidden import Hidden, Leak, choose


def leak(hidden: Hidden) -> Leak:
    assert isinstance(hidden.defect, Leak)
    return hidden.defect


@pytest.mark.parametrize("build", BUILDS)
def test_a_seed_always_chooses_the_same(build: int) -> None:
    for seed in range(20):
        first, second = choose(build, seed, None, None), choose(build, seed, None, None)
        assert (first.defect, first.attached) == (second.defect, second.attached)


def test_seeds_choose_every_kind_and_both_ways_of_calling() -> None:
    chosen = [leak(choose(17763, seed, None, None)) for seed in range(40)]
    assert {str(each.culprit.kind) for each in chosen} == {"minifilter", "class filter", "other"}
    assert {each.inlined for each in chosen} == {True, False}
    assert len({each.culprit.service for each in chosen}) > 8


@pytest.mark.parametrize("entry", plantable(17763), ids=lambda entry: entry["service"])
def test_any_plantable_driver_can_be_planted_and_does_not_stand_alone(entry: dict[str, str]) -> None:
    hidden = choose(17763, 7, entry["service"].upper(), None)
    assert hidden.culprits == entry["service"]
    assert len(hidden.attached) >= 2
    assert (entry["service"] in hidden.attached) or entry["kind"] != "minifilter"


def test_the_commitment_binds_and_its_salt_is_fresh() -> None:
    first, second = choose(17763, 1, None, None), choose(17763, 1, None, None)
    assert first.commitment == hashlib.sha256((first.culprits + first.salt).encode()).hexdigest()
    assert first.commitment != second.commitment
    assert first.culprits not in repr(first)


@pytest.mark.parametrize("name", ["TvScout", "Ntfs", "VlrScsi", "nothing", ""])
def test_what_cannot_be_planted_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot plant"):
        choose(17763, 1, name, None)
