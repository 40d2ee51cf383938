"""Whether several hosts are alike enough that a trial on one says something of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lab.model import Driver, StartType

SHOWN = 4
"""Drivers that are named of each kind of difference."""


def difference(wanted: Sequence[Driver], found: Sequence[Driver]) -> str:
    """How the drivers of a host differ from those wanted, in one clause; "" when they are alike.

    Drivers in question count, by service, image and version. One that a device or a tool loads may be
    there without running.
    """
    want, have = _in_question(wanted), _in_question(found)
    installed = {d.service.casefold(): d for d in found}
    lacks = [d for key, d in want.items() if key not in installed or (_starts(d) and key not in have)]
    more = [d for key, d in have.items() if key not in want and _starts(d)]
    other = [have[key] for key, d in want.items() if key in have and _version(d) != _version(have[key])]
    parts = [
        f"{what} {_names(drivers)}"
        for what, drivers in (("does not run", lacks), ("also runs", more), ("has another version of", other))
        if drivers
    ]
    return ", ".join(parts)


def pinned_anywhere(wanted: Sequence[Driver], hosts: Iterable[Sequence[Driver]]) -> tuple[Driver, ...]:
    """`wanted`, with every driver pinned that any of the hosts pins: what is switched, all can switch."""
    pins = {d.service.casefold(): d.pinned for drivers in hosts for d in drivers if d.pinned}
    return tuple(replace(d, pinned=d.pinned or pins.get(d.service.casefold(), "")) for d in wanted)


def _in_question(drivers: Iterable[Driver]) -> dict[str, Driver]:
    return {d.service.casefold(): d for d in drivers if d.in_question}


def _starts(driver: Driver) -> bool:
    return driver.start <= StartType.AUTO


def _version(driver: Driver) -> tuple[str, str]:
    return driver.image.casefold(), driver.version


def _names(drivers: Sequence[Driver]) -> str:
    names = sorted(d.image for d in drivers)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
