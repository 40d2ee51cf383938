"""The numbers that docs/explanation/how-sure.md prints are those that come out, or those that are set."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from lab.bisect import baseline, belief, choice, confirming, evidence, hazard, search
from lab.bisect.fitting import DOUBTFUL, SELDOM, STEADY, UNRELATED

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "how-sure.md"
README = Path(__file__).parents[2] / "README.md"


def test_the_examples_of_the_page_are_true() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted >= 18 and result.failed == 0


def _when(so: bool, words: str) -> str:
    """What the page is to say; nothing that it could say when it is no longer so."""
    return words if so else f"no longer so: {words}"


SAYS = {
    "system": f'"System" starts with {belief.SYSTEM_PRIOR:.0%}',
    "pairs": _when(0.1 < belief.PAIR_PRIOR < 0.16, "all pairs together with little more than a tenth"),
    "cap": f"moves at most {evidence.CAP:.0%}",
    "floor": f"{belief.FLOOR:.0%} of the singles' share is spread evenly",
    "unrelated": f"about {hazard.A_OFF / hazard.B_OFF:.0%} for a soak of usual length",
    "shares": _when(list(hazard.SHARES[1:]) == [0.75, 0.5, 0.3], "(75, 50 or 30%)"),
    "baseline": _when(baseline.SOAK == 3, "lasts for three usual soaks"),
    "steady": f"When a steady rate has less than {STEADY:.0%}",
    "doubtful": f"while a steady rate has less than {DOUBTFUL:.0%}",
    "seldom": f"When a run as long as the window crashes with less than {SELDOM:.0%}",
    "better": f"would tell {search.BETTER:g} times as much in the same time",
    "alone": f"A restart is weighed {choice.ALONE:g} times",
    "beside": f"Beside running trials a restart is weighed {choice.BESIDE_OTHERS:g} times",
    "short": _when(search.SHORT == 0.1, "stood less than a tenth of a usual soak"),
    "certain": f"named at {confirming.CERTAIN:.0%}",
    "clear": f"is below {100 * confirming.CLEAR_OF_SYSTEM:g}%",
    "parts": f"also less than {100 * confirming.CLEAR_OF_PARTS:.1f}% likely that fewer of them are enough",
    "silence": f"with a probability of {confirming.SILENCE:.0%}",
    "hopeless": _when(baseline.HOPELESS_SOAKS == 40, "never came in forty usual soaks"),
    "unexplained": _when(UNRELATED == 2, 'From the second one on, "each of two"'),
    "pending": _when(choice.MOST_PENDING == 3, "of the three with the most time left"),
}


@pytest.mark.parametrize("what", sorted(SAYS))
def test_the_page_says_what_is_set(what: str) -> None:
    words = " ".join(PAGE.read_text(encoding="utf-8").split()).replace(" %", "%")
    assert SAYS[what] in words


def test_the_weights_of_evidence() -> None:
    words = PAGE.read_text(encoding="utf-8")
    for weight in evidence.WEIGHTS.values():
        assert f"{weight:.0f} : {evidence.KNOW_NOTHING:.0f}" in words


def test_the_table_that_it_links_to_is_there() -> None:
    assert "](../../README.md#what-finding-the-culprit-costs)" in PAGE.read_text(encoding="utf-8")
    assert "\n## What finding the culprit costs\n" in README.read_text(encoding="utf-8")
