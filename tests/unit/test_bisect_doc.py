"""The numbers that docs/explanation/how-sure.md prints are those that come out."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "how-sure.md"


def test_the_example_of_the_page_is_true() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted >= 8 and result.failed == 0
