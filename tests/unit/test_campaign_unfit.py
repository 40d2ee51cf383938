"""A host that is not fit, and a set of drivers that does not boot: which of the two it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from campaign_world import Lab

from lab.model import (
    EntryKind,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LoadPlan,
    Outcome,
    Recipe,
    Survived,
    Trial,
    VerdictKind,
    VerifierPlan,
)
from lab.playbook import unfit

DEAD = Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")
GONE = Invalid(InvalidReason.INFRASTRUCTURE, "the network is down")


def row(*ends: tuple[str, Outcome], host: str = "h") -> list[Trial]:
    """Trials of one host: what was off, and how it ended."""
    recipes = [Recipe(frozenset(off), VerifierPlan(), LoadPlan()) for off, _ in ends]
    return [
        Trial(n, host, recipe, frozenset(), end, "", 1.0)
        for n, (recipe, (_, end)) in enumerate(zip(recipes, ends, strict=True), 1)
    ]


def test_a_set_that_does_not_boot_again_and_again_is_one_failure() -> None:
    assert unfit(row(("a", DEAD), ("a", DEAD), ("a", DEAD), ("b", DEAD))) is None


def test_three_sets_in_a_row_that_do_not_boot_are_the_host() -> None:
    dead = row(("a", DEAD), ("b", DEAD), ("ab", DEAD))
    assert unfit(dead) == (DEAD, "3 different driver sets in a row did not boot")
    assert unfit(dead, row(("a", DEAD), host="other")) is None, "another host does not boot with it either"
    assert unfit([*dead[:2], *row(("", Survived(1.0))), dead[2]]) is None


def test_a_driver_that_explains_all_of_them_is_not_the_host() -> None:
    dead = row(("ab", DEAD), ("ac", DEAD), ("ad", DEAD))
    assert unfit(dead) is None
    assert unfit(dead, row(("e", Survived(1.0)))) is None
    assert unfit(dead, row(("a", Survived(1.0)), host="other")) is not None, "it boots without a"


def test_where_boots_fail_on_all_hosts_a_longer_row_is_wanted() -> None:
    """Needs that nobody knows of, such as one of two drivers: no single one explains them."""
    others = row(*[("xy", DEAD)] * 3, *[("x", Survived(1.0))] * 7, *[("y", Survived(1.0))] * 7, host="other")
    dead = row(*[(off, DEAD) for off in ("ab", "bc", "cd", "de")])
    boots = row(*[(off, Survived(1.0)) for off in "abcde"], host="other")  # no single one is needed
    assert unfit(dead[:3], boots) is not None, "all others boot"
    assert unfit(dead[:3], [*dead[:3], *boots, *others]) is None
    assert unfit(dead[:4], [*dead[:4], *boots, *others]) is not None


def test_boots_that_fail_do_not_count_with_the_network() -> None:
    assert unfit(row(("", GONE), ("a", DEAD), ("", GONE), ("b", DEAD))) is None
    ends = unfit(row(("", GONE), ("a", DEAD), ("", GONE), ("b", GONE)))
    assert ends == (GONE, "3 trials in a row were invalid")


@pytest.mark.parametrize("hosts", [1, 3])
def test_no_host_is_left_out_for_a_driver_that_it_needs_to_boot(tmp_path: Path, hosts: int) -> None:
    lab = Lab(
        tmp_path,
        ("drv05",),
        hosts=hosts,
        invalid=lambda host, recipe: DEAD if "drv03" in recipe.disabled else None,
    )
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == (VerdictKind.DRIVER, ("drv05",))
    case = lab.case()
    assert any(t.outcome == DEAD for t in case.trials)
    assert not [e.text for e in case.entries if "left out" in e.text]
    if hosts > 1:
        failed = [(t.host, t.recipe.disabled) for t in case.trials if t.outcome == DEAD]
        assert len(failed) == len(set(failed)), "a set that did not boot is tried on another host"


def test_a_host_with_which_no_set_boots_is_left_out(tmp_path: Path) -> None:
    lab = Lab(
        tmp_path,
        ("drv05",),
        hosts=3,
        invalid=lambda host, recipe: DEAD if host == "srv2" and recipe.disabled else None,
    )
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == (VerdictKind.DRIVER, ("drv05",))
    case = lab.case()
    failed = [t.recipe.disabled for t in case.trials if t.outcome == DEAD]
    assert 3 <= len(failed) == len(set(failed)) <= 5
    (said,) = [text for e in case.entries if e.kind is EntryKind.WARNING and "left out" in (text := e.text)]
    assert "different driver sets in a row did not boot on srv2" in said


def test_where_nothing_boots_any_more_there_is_no_verdict(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=1, invalid=lambda host, recipe: DEAD if recipe.disabled else None)
    with pytest.raises(InfrastructureError, match="did not boot on srv1"):
        lab.search()
    assert lab.case().verdict is None
