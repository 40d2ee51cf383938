"""Units of services: cycles move together, sets that are tried contain what their members need."""

from __future__ import annotations

import random
from itertools import chain, combinations

import pytest
from bisect_oracle import closed_sets

from lab.bisect.units import Units


def reachable(start: str, needs: dict[str, list[str]]) -> set[str]:
    """All that a service needs, itself too, by walking."""
    seen, todo = {start}, [start]
    while todo:
        for other in needs.get(todo.pop(), []):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def subsets(names: tuple[str, ...]) -> list[frozenset[str]]:
    every = chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))
    return [frozenset(some) for some in every]


def test_services_that_need_nothing_are_units_in_order() -> None:
    units = Units.plain(["c", "a", "b", "a"])
    assert units.names == ("a", "b", "c") and units.free and len(units) == 3
    assert units.services == {"a": ("a",), "b": ("b",), "c": ("c",)}


def test_a_cycle_is_one_unit_named_by_its_first_service() -> None:
    units = Units.of("abcde", {"d": ["c"], "c": ["b"], "b": ["d"], "a": ["d"], "b2": ["a"]})
    assert units.names == ("a", "b", "e")
    assert units.services == {"a": ("a",), "b": ("b", "c", "d"), "e": ("e",)}
    assert units.needs == {"a": frozenset({"b"})} and not units.free


def test_needs_are_transitive_and_strangers_are_dropped() -> None:
    units = Units.of("abcd", {"a": ["b", "tcpip"], "b": ["c"], "disk": ["a"]})
    assert units.needs == {"a": frozenset("bc"), "b": frozenset("c")}


def test_a_service_that_needs_itself_needs_nothing() -> None:
    assert Units.of("ab", {"a": ["a"]}).free


@pytest.mark.parametrize("seed", range(20))
def test_units_agree_with_a_walk_along_the_needs(seed: int) -> None:
    odds = random.Random(seed)
    services = [f"s{i}" for i in range(7)]
    needs: dict[str, list[str]] = {}
    for _ in range(odds.randint(0, 12)):
        needs.setdefault(odds.choice(services), []).append(odds.choice(services))
    reach = {s: reachable(s, needs) for s in services}
    units = Units.of(services, needs)
    assert sorted(chain.from_iterable(units.services.values())) == services
    for unit, members in units.services.items():
        assert members == tuple(s for s in services if s in reach[unit] and unit in reach[s])
        assert unit == members[0]
        wanted = {other for other in units.names if other != unit and other in reach[unit]}
        assert units.needs.get(unit, frozenset()) == wanted


@pytest.mark.parametrize("seed", range(10))
def test_closing_is_the_smallest_closed_set_around_and_the_largest_within(seed: int) -> None:
    odds = random.Random(seed)
    services = [f"s{i}" for i in range(6)]
    needs = {s: [odds.choice(services)] for s in odds.sample(services, 4)}
    units = Units.of(services, needs)
    closed = list(closed_sets(units))
    for some in subsets(units.names):
        assert units.close_on(some) == min((c for c in closed if some <= c), key=len)
        assert units.close_off(some) == max((c for c in closed if c <= some), key=len)


def test_names_that_are_no_units_do_not_matter() -> None:
    units = Units.of("ab", {"a": ["b"]})
    assert units.close_on({"a", "zz"}) == {"a", "b"}
    assert units.close_off({"a", "zz"}) == frozenset()
    assert units.named(units.marks(["b", "zz"])) == {"b"}


@pytest.mark.parametrize("names", [(), ("b", "a"), ("a", "a"), ("", "a")])
def test_names_must_be_different_not_empty_and_in_order(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="different, non-empty names"):
        Units(names, {n: (n,) for n in names})
