"""Paths in an inventory start at the folder of the file that names them; `~` and `$NAME` are expanded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lab.inventory.source import KeyPath, Source, dotted
from lab.model import ConfigurationError
from lab.symbols import resolve_spec

_PATHS = {
    *("ca_file", "key_file", "certificate_file", "certificate_key_file"),
    *("iso", "answer_file", "drivers", "image_folder"),
}


def resolve_paths(value: Any, folder: Path) -> None:
    """Make paths of files independent of the current directory."""
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in _PATHS and isinstance(item, str):
            value[key] = str(_path(item, folder))
        else:
            resolve_paths(item, folder)


def resolve_symbols(entry: dict[str, Any], source: Source, path: KeyPath) -> None:
    """The same for the folders of `symbols`. ConfigurationError for what is no place for symbols."""
    specs = entry.get("symbols")
    if not isinstance(specs, list):
        return
    for index, spec in enumerate(specs):
        try:
            if isinstance(spec, str):
                specs[index] = resolve_spec(spec, lambda text: _path(text, source.path.parent))
        except ConfigurationError as error:
            where = (*path, "symbols", index)
            raise ConfigurationError(
                f"{source.where(where)}: {dotted(where)}: {error}", help=error.help
            ) from None


def _path(text: str, folder: Path) -> Path:
    return folder / Path(os.path.expandvars(text)).expanduser()
