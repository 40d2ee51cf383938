"""`lm`, `lmv` and the unloaded modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from lab.model import Module, Origin, UnloadedDriver
from lab.report import words

_LIKELY_TIME = range(631152000, 1 << 31)
"""1990 to 2038. Linkers of Windows 10 and later write a hash of the file where the time was."""

_HEAD = "start             end                 module name"


def lm(modules: Sequence[Module], short: Mapping[int, str], symbols: Mapping[int, str]) -> Iterator[str]:
    """One line a module by address. By base: `short` names it, `symbols` says where its symbols come from."""
    yield _HEAD
    for module in sorted(modules, key=lambda m: m.base):
        yield _line(module, short[module.base], symbols[module.base])


def lmv(modules: Sequence[Module], short: Mapping[int, str], symbols: Mapping[int, str]) -> Iterator[str]:
    """As `lm`, with what is known of each image below its line."""
    yield _HEAD
    for module in sorted(modules, key=lambda m: m.base):
        yield _line(module, short[module.base], symbols[module.base])
        yield f"    Image name:       {module.name}"
        yield f"    Timestamp:        {timestamp(module.timestamp)}"
        yield f"    ImageSize:        {module.size:08X}"
        yield f"    File version:     {module.version or 'not in the dump'}"
        yield f"    CompanyName:      {module.company or 'not in the dump'}"
        yield f"    PDB:              {module.pdb or 'not in the dump'}"
        yield f"    Origin:           {module.origin} ({module.origin_because})"


def _line(module: Module, short: str, symbols: str) -> str:
    mark = "" if module.origin is Origin.IN_BOX else f"  {module.origin}"
    span = f"{words.address(module.base)} {words.address(module.base + module.size)}"
    return f"{span}   {short:<20} ({symbols}){mark}"


def timestamp(value: int) -> str:
    """`Tue Jul 14 01:19:59 2009 (4A5BC11F)`; only the number when it is no time."""
    if value not in _LIKELY_TIME:
        return f"({value:08X})"
    return f"{datetime.fromtimestamp(value, UTC):%a %b %d %H:%M:%S %Y} ({value:08X})"


def unloaded(drivers: Sequence[UnloadedDriver]) -> Iterator[str]:
    """Drivers that had been unloaded; code that is called there is gone."""
    if not drivers:
        yield "No unloaded drivers are listed in the dump."
        return
    yield "Unloaded modules:"
    for driver in drivers:
        when = f"   {words.moment(driver.when)}" if driver.when else ""
        yield f"{words.address(driver.start)} {words.address(driver.end)}   {driver.name}{when}"
