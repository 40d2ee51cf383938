"""YAML that remembers where everything stands, so that an error can name file, line and key."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from lab.model import ConfigurationError

KeyPath = tuple[str | int, ...]

MOST_NODES = 100_000
"""A lab is far smaller; this stops a file whose aliases multiply."""


class Table(dict[str, Any]):
    """A YAML mapping; `where` is "file:line" of its first key."""

    where: str = ""


class Source:
    """One YAML file: its `data` and the line of every key and item in it."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises ConfigurationError naming file and line when the text is not YAML we accept."""
        self.path = path
        self._lines: dict[KeyPath, int] = {}
        self._nodes = 0
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            self.data = self._build(loader, node, (), ()) if node is not None else Table()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line + 1 if mark else 1, f"is not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise self._error(1, f"is not YAML: {error}") from None
        except RecursionError:
            raise self._error(1, "is nested too deeply") from None
        finally:
            loader.dispose()

    def line(self, path: KeyPath) -> int:
        """The line of that key, or of the nearest thing around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def where(self, path: KeyPath) -> str:
        return f"{self.path}:{self.line(path)}"

    def _error(self, line: int, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self.path}:{line}: {what}")

    def _build(self, loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath, around: tuple[int, ...]) -> Any:
        self._nodes += 1
        if id(node) in around or self._nodes > MOST_NODES:
            raise self._error(node.start_mark.line + 1, "an alias repeats what it stands in")
        around = (*around, id(node))
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._table(loader, node, path, around)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, item, (*path, i), around) for i, item in enumerate(node.value)]
        try:
            return loader.construct_object(node)
        except ValueError as error:  # e.g. a date that does not exist
            raise self._error(node.start_mark.line + 1, f"{dotted(path)}: {error}") from None

    def _table(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: KeyPath, around: tuple[int, ...]
    ) -> Table:
        table = Table()
        table.where = f"{self.path}:{node.start_mark.line + 1}"
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key: Hashable = self._build(loader, key_node, (*path, "?"), around)
            if not isinstance(key, str):
                also = ": YAML reads it as true or false" if isinstance(key, bool) else ""
                raise self._error(line, f"the key {key_node.value} is not text; put it in quotes{also}")
            here = (*path, key)
            if key in table:
                raise self._error(line, f"{dotted(here)} is given twice (first on line {self._lines[here]})")
            self._lines[here] = line
            table[key] = self._build(loader, value_node, here, around)
        return table


def dotted(path: KeyPath) -> str:
    """`hosts.web.pinned` or `symbols[2]`, as a user writes it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
