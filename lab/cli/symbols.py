"""Where symbols are looked for: the command line, else the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from lab.cli.console import errors
from lab.model import ConfigurationError
from lab.report.words import line
from lab.symbols import SymbolStore, split_symbol_path, symbol_store

VARIABLES = ("BUGCHECK_LAB_SYMBOLS", "_NT_SYMBOL_PATH")
"""Asked in this order when no --symbols is given. The second is the debugger's own."""


def sought(given: Sequence[str]) -> tuple[str, ...]:
    """The specifications to use: `given`, else the environment's. Those are said, since nobody sees them.

    Raises ConfigurationError for one of the environment that cannot be.
    """
    if given:
        return tuple(given)
    name, found = _of_environment()
    if name is not None:
        try:
            places = symbol_store(found).places
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error.message}", help=error.help) from error
        errors.print(f"[dim]symbols from {name}: {escape(', '.join(places))}[/]", soft_wrap=True)
    return found


def store_for(
    given: Sequence[str], cache: Path | None, offline: bool, *, of_host: Sequence[str] = ()
) -> SymbolStore:
    """The symbols to use, see `sought`; those `of_host` come after them."""
    return symbol_store((*sought(given), *of_host), cache=cache, offline=offline)


def say_notes(store: SymbolStore) -> None:
    """What was wrong with places and files: servers that failed, files that are damaged."""
    for note in store.notes:
        errors.print(f"[dim]{escape(line(note))}[/]", soft_wrap=True)


def _of_environment() -> tuple[str | None, tuple[str, ...]]:
    for name in VARIABLES:
        found = split_symbol_path(os.environ.get(name, ""))
        if found:
            return name, found
    return None, ()
