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


def store_for(specs: Sequence[str], cache: Path | None, offline: bool) -> SymbolStore:
    """The symbols to use. What the environment gave is said, since nobody sees it on the command line.

    Raises ConfigurationError for a specification that cannot be.
    """
    name, found = (None, tuple(specs)) if specs else _of_environment()
    try:
        store = symbol_store(found, cache=cache, offline=offline)
    except ConfigurationError as error:
        if name is None:
            raise
        raise ConfigurationError(f"{name}: {error.message}", help=error.help) from error
    if name is not None:
        errors.print(f"[dim]symbols from {name}: {escape(', '.join(store.places))}[/]", soft_wrap=True)
    return store


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
