"""`inventory/*.yaml` to an `Inventory`, with errors that name file, line and key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.inventory.host import Host
from lab.inventory.machine import ControllerSettings
from lab.inventory.settings import Settings
from lab.inventory.source import KeyPath, Source, dotted
from lab.model import ConfigurationError, Refused
from lab.symbols import resolve_spec

Model = TypeVar("Model", bound=BaseModel)


class _File(Settings):
    """A Bugcheck Lab inventory file."""

    controllers: dict[str, ControllerSettings] = Field(
        default={}, description="end points that several machines share, by name"
    )
    hosts: dict[str, Host] = Field(description="the lab's hosts by name")


class _Shared(BaseModel):
    """What hosts of this file and of others refer to."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)
    controllers: dict[str, ControllerSettings] = {}


@dataclass(frozen=True)
class Inventory:
    """The hosts of one or more files, by name."""

    hosts: Mapping[str, Host]
    files: tuple[Path, ...] = ()

    def host(self, name: str, *, for_use: bool = False) -> Host:
        """That host. Raises ConfigurationError when there is none.

        With `for_use` the host is about to be crashed, loaded or changed: raises Refused unless it is
        marked `expendable: true`.
        """
        found = self.hosts.get(name)
        if found is None:
            files = ", ".join(str(f) for f in self.files) or "the inventory"
            raise ConfigurationError(
                f"there is no host '{name}' in {files}",
                help=f"Known hosts: {', '.join(sorted(self.hosts)) or 'none'}.{_guess(name, self.hosts)}",
            )
        if for_use and not found.expendable:
            raise Refused(
                f"host '{name}' is not marked 'expendable: true', so it may not be crashed, loaded or changed"
            )
        return found


def load(paths: Iterable[Path]) -> Inventory:
    """Read inventory files, and the `*.yaml` directly inside folders.

    Raises ConfigurationError naming file, line and key of the first problem; `help` names the others.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise ConfigurationError("no inventory file was given", help="Give a file, or a folder of *.yaml.")
    sources = [_read(file) for file in files]
    controllers = _controllers(sources)
    hosts: dict[str, Host] = {}
    seen: dict[str, str] = {}
    for source in sources:
        _name_controllers(source.data, source, (), controllers)
        for name, host in _check(source).hosts.items():
            where = source.where(("hosts", name))
            folded = name.casefold()
            if folded in seen:
                raise ConfigurationError(f"{where}: the host '{name}' is already at {seen[folded]}")
            seen[folded] = where
            hosts[name] = host
    return Inventory(MappingProxyType(hosts), tuple(files))


def json_schema() -> dict[str, Any]:
    """JSON Schema of an inventory file, for editors."""
    schema = _File.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    host = schema["$defs"]["Host"]
    del host["properties"]["name"]  # the key of `hosts` gives it
    host["required"].remove("name")
    return schema


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def _read(path: Path) -> Source:
    try:
        return Source(path, path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the inventory {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}:1: is not UTF-8 text") from None


def _controllers(sources: Iterable[Source]) -> dict[str, ControllerSettings]:
    """The controllers of all files: a host may name one that stands in another file."""
    found: dict[str, ControllerSettings] = {}
    seen: dict[str, str] = {}
    for source in sources:
        if isinstance(source.data, dict):
            _resolve_paths(source.data.get("controllers"), source.path.parent)
        for name, controller in _validated(_Shared, source).controllers.items():
            where = source.where(("controllers", name))
            if name in seen:
                raise ConfigurationError(f"{where}: the controller '{name}' is already at {seen[name]}")
            seen[name], found[name] = where, controller
    return found


def _name_controllers(
    value: Any, source: Source, path: KeyPath, controllers: Mapping[str, ControllerSettings]
) -> None:
    """Put the controller itself wherever `controller` names one."""
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        here = (*path, key)
        if key != "controller":
            _name_controllers(item, source, here, controllers)
            continue
        at = f"{source.where(here)}: {dotted(here)}"
        if not isinstance(item, str):
            raise ConfigurationError(f"{at} must be the name of one of the controllers")
        if item not in controllers:
            known = ", ".join(sorted(controllers)) or "none"
            raise ConfigurationError(
                f"{at}: there is no controller '{item}'{_guess(item, controllers)}",
                help=f"Known controllers: {known}. They stand under 'controllers' of an inventory file.",
            )
        value[key] = controllers[item]


def _check(source: Source) -> _File:
    hosts = source.data.get("hosts") if isinstance(source.data, dict) else None
    if isinstance(hosts, dict):
        for name, entry in hosts.items():
            if isinstance(entry, dict):
                if "name" in entry:
                    at = source.where(("hosts", name, "name"))
                    raise ConfigurationError(f"{at}: hosts.{name}.name is not a key; the name is '{name}'")
                entry["name"] = name
                _resolve_paths(entry, source.path.parent)
                _resolve_symbols(entry, source, name)
    return _validated(_File, source)


def _validated(model: type[Model], source: Source) -> Model:
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        problems = sorted(_problem(source, e) for e in error.errors(include_url=False))
        first, *others = [f"{source.path}:{line}: {text}" for line, text in problems]
        rest = f" Also: {'; '.join(others[:5])}." if others else ""
        raise ConfigurationError(first, help=f"Correct the inventory and try again.{rest}") from None


def _resolve_paths(value: Any, folder: Path) -> None:
    """Make `ca_file` and `key_file` independent of the current directory."""
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in ("ca_file", "key_file") and isinstance(item, str):
            value[key] = str(_path(item, folder))
        else:
            _resolve_paths(item, folder)


def _resolve_symbols(entry: dict[str, Any], source: Source, name: str) -> None:
    """The same for the folders of `symbols`. ConfigurationError for what is no place for symbols."""
    specs = entry.get("symbols")
    if not isinstance(specs, list):
        return
    for index, spec in enumerate(specs):
        try:
            if isinstance(spec, str):
                specs[index] = resolve_spec(spec, lambda text: _path(text, source.path.parent))
        except ConfigurationError as error:
            where = ("hosts", name, "symbols", index)
            raise ConfigurationError(
                f"{source.where(where)}: {dotted(where)}: {error}", help=error.help
            ) from None


def _path(text: str, folder: Path) -> Path:
    return folder / Path(os.path.expandvars(text)).expanduser()


def _problem(source: Source, error: Any) -> tuple[int, str]:
    """Line and sentence for one of pydantic's errors."""
    path = _real_path(source.data, error["loc"], error["type"])
    key = dotted(path) or "the file"
    kind = error["type"]
    if kind == "extra_forbidden":
        return source.line(path), f"{key} is not a known key{_guess(str(path[-1]), _siblings(path))}"
    if kind == "missing":
        return source.line(path), f"{key} is missing"
    if kind == "union_tag_not_found":
        return source.line(path), f"{key}.kind is missing"
    message = error["msg"]
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "must be a mapping of keys to values"
    if kind == "union_tag_invalid":
        message = f"kind must be one of {error['ctx']['expected_tags']}, not '{error['ctx']['tag']}'"
    if kind == "string_pattern_mismatch":
        message = "does not have the form that is needed (see the schema)"
    message = message.replace("Input should be", "must be", 1)
    return source.line(path), f"{key}: {message}"


def _real_path(data: Any, loc: tuple[str | int, ...], kind: str) -> KeyPath:
    """pydantic's location without the names of union members that it puts in between."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (kind == "missing" and i == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _siblings(path: KeyPath) -> list[str]:
    """Every key that any part of a host may have: enough to guess at a typing error."""
    names: set[str] = {"hosts"}
    todo: list[Any] = [Host]
    while todo:
        model = todo.pop()
        for name, field in model.model_fields.items():
            names.add(name)
            todo += [t for t in _models(field.annotation) if t is not model]
    names.discard("name")
    return sorted(names)


def _models(annotation: Any) -> list[Any]:
    args = getattr(annotation, "__args__", ())
    if isinstance(annotation, type) and not args:
        return [annotation] if issubclass(annotation, Settings) else []
    return [model for arg in args for model in _models(arg)]


def _guess(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
