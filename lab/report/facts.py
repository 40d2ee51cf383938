"""A label with a value: what a description list is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """`code` values (addresses, symbols, hashes) are shown in monospace."""

    label: str
    value: str
    code: bool = False
