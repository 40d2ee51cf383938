"""What a question to a dump gives back, and what a question is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.kernel.target import Kernel
from lab.report import words
from lab.report.cleaned import cleaned

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """`value` is for programs, `lines` are for people, in the debugger's form and harmless for a terminal."""

    value: Any
    lines: tuple[str, ...]


Question = Callable[..., Answer]
"""A function of a Kernel and of what the command line gives besides. Errors are LabError."""


def answer(value: T, form: Callable[[T], Iterable[str]]) -> Answer:
    """The answer `value`, written by `form`. Foreign text in it is made harmless first."""
    return Answer(value, tuple(form(cleaned(value, words.line))))


__all__ = ["Answer", "Kernel", "Question", "answer"]
