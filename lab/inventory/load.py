"""`inventory/*.yaml` to an `Inventory`, with errors that name file, line and key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.inventory.host import Host, PsrpShell
from lab.inventory.machine import ControllerSettings
from lab.inventory.paths import resolve_paths, resolve_symbols
from lab.inventory.pool import Pool
from lab.inventory.problems import guess, problem
from lab.inventory.settings import Settings
from lab.inventory.source import KeyPath, Source, dotted
from lab.model import ConfigurationError, Refused

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)


class _File(Settings):
    """A Bugcheck Lab inventory file."""

    controllers: dict[str, ControllerSettings] = Field(
        default={}, description="end points that several machines share, by name"
    )
    hosts: dict[str, Host] = Field(description="the lab's hosts by name")
    pools: dict[str, Pool] = Field(
        default={}, description="hosts that can be had by number, by the pool's name"
    )
    provisioned: dict[str, str] = Field(
        default={},
        description="hosts of this file that were provisioned, with their pools; written by 'lab provision'",
    )


class _Shared(BaseModel):
    """What hosts of this file and of others refer to."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)
    controllers: dict[str, ControllerSettings] = {}


@dataclass(frozen=True)
class Inventory:
    """The hosts, pools and controllers of one or more files, by name.

    `provisioned` are the hosts that were handed out, with the names of their pools.
    """

    hosts: Mapping[str, Host]
    files: tuple[Path, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    controllers: Mapping[str, ControllerSettings] = field(default_factory=dict)
    provisioned: Mapping[str, str] = field(default_factory=dict)

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
                help=f"Known hosts: {_known(name, self.hosts)}",
            )
        if for_use and not found.expendable:
            raise Refused(
                f"host '{name}' is not marked 'expendable: true', so it may not be crashed, loaded or changed"
            )
        return found

    def pool(self, name: str) -> Pool:
        """That pool. Raises ConfigurationError when there is none."""
        found = self.pools.get(name)
        if found is None:
            raise ConfigurationError(
                f"there is no pool '{name}' in {', '.join(map(str, self.files)) or 'the inventory'}",
                help=f"Known pools: {_known(name, self.pools)}",
            )
        return found


def _known(word: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    return f"{', '.join(listed) or 'none'}{guess(word, listed) or '.'}"


def load(paths: Iterable[Path], provisioned: Path | None = None) -> Inventory:
    """Read inventory files, and the `*.yaml` directly inside folders.

    `provisioned` is the folder of hosts that `lab provision` handed out, if there is one: a host of it that
    is a member of its pool stands for the member.
    Raises ConfigurationError naming file, line and key of the first problem; `help` names the others.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise ConfigurationError("no inventory file was given", help="Give a file, or a folder of *.yaml.")
    sources = [_read(file) for file in files]
    made = [_read(file) for file in _files(provisioned)] if provisioned and provisioned.is_dir() else []
    controllers = _controllers(sources)
    known = {**_controllers(made, copies=True), **controllers}
    hosts, pools = _named(sources, known)
    handed_out, _ = _named(made, known)
    _check_members(pools, hosts)
    from_pool = {name: pool for source in made for name, pool in source.data.get("provisioned", {}).items()}
    for name, entry in handed_out.items():
        pool = pools.get(from_pool.get(name, ""))
        taken = next((each for each in hosts if each.casefold() == name.casefold()), None)
        if taken is not None and (pool is None or name not in pool.value.members):
            raise ConfigurationError(
                f"{entry.where}: the host '{name}' is already at {hosts[taken].where}",
                help=f"Hand the provisioned one back by 'lab provision return {name}', or rename the other.",
            )
        hosts[name] = entry
    return Inventory(
        MappingProxyType({name: entry.value for name, entry in hosts.items()}),
        tuple(files),
        MappingProxyType({name: entry.value for name, entry in pools.items()}),
        MappingProxyType(known),
        MappingProxyType({name: from_pool[name] for name in handed_out if name in from_pool}),
    )


@dataclass(frozen=True)
class _Entry(Generic[T]):
    value: T
    where: str
    source: Source


def _named(
    sources: Iterable[Source], controllers: Mapping[str, ControllerSettings]
) -> tuple[dict[str, _Entry[Host]], dict[str, _Entry[Pool]]]:
    """Hosts and pools of all sources by name. Raises ConfigurationError when a name comes twice."""
    hosts: dict[str, _Entry[Host]] = {}
    pools: dict[str, _Entry[Pool]] = {}
    for source in sources:
        _name_controllers(source.data, source, (), controllers)
        checked = _check(source)
        _add(hosts, "host", checked.hosts, source)
        _add(pools, "pool", checked.pools, source)
    return hosts, pools


def _add(found: dict[str, _Entry[T]], what: str, new: Mapping[str, T], source: Source) -> None:
    seen = {name.casefold(): entry.where for name, entry in found.items()}
    for name, value in new.items():
        where, folded = source.where((f"{what}s", name)), name.casefold()
        if folded in seen:
            raise ConfigurationError(f"{where}: the {what} '{name}' is already at {seen[folded]}")
        seen[folded] = where
        found[name] = _Entry(value, where, source)


def _check_members(pools: Mapping[str, _Entry[Pool]], hosts: Mapping[str, _Entry[Host]]) -> None:
    """Every member is a host, of one pool, and its shell is where an installation opens it."""
    pool_of: dict[str, str] = {}
    for name, entry in pools.items():
        for index, member in enumerate(entry.value.members):
            path = ("pools", name, "members", index)
            at = f"{entry.source.where(path)}: {dotted(path)}"
            if member not in hosts:
                raise ConfigurationError(
                    f"{at}: there is no host '{member}'{guess(member, hosts)}",
                    help=f"Known hosts: {', '.join(sorted(hosts)) or 'none'}.",
                )
            if member in pool_of:
                raise ConfigurationError(f"{at}: the host '{member}' is a member of pool '{pool_of[member]}'")
            pool_of[member] = name
            _check_winrm(name, entry.value, hosts[member])


def _check_winrm(pool: str, settings: Pool, member: _Entry[Host]) -> None:
    """An installation opens WinRM where the member's shell will ask for it."""
    shell, install = member.value.guest.shell, settings.install
    if install is None or not isinstance(shell, PsrpShell) or not shell.tls:
        return
    if shell.tcp_port != install.winrm_port:
        path = ("hosts", member.value.name, "guest", "shell", "port")
        raise ConfigurationError(
            f"{member.source.where(path)}: {dotted(path)} is {shell.tcp_port}, and install.winrm_port of "
            f"pool '{pool}' is {install.winrm_port}",
            help="Give both the same port: WinRM is opened on the one, and asked on the other.",
        )


def json_schema() -> dict[str, Any]:
    """JSON Schema of an inventory file, for editors."""
    schema = _File.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for each in ("Host", "Pool"):
        entry = schema["$defs"][each]
        del entry["properties"]["name"]  # the key of `hosts` or `pools` gives it
        entry["required"].remove("name")
        if not entry["required"]:
            del entry["required"]
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


def _controllers(sources: Iterable[Source], *, copies: bool = False) -> dict[str, ControllerSettings]:
    """The controllers of all files: a host may name one that stands in another file.

    With `copies` each file may bring them, as those of provisioned hosts do.
    """
    found: dict[str, ControllerSettings] = {}
    seen: dict[str, str] = {}
    for source in sources:
        if isinstance(source.data, dict):
            resolve_paths(source.data.get("controllers"), source.path.parent)
        for name, controller in _validated(_Shared, source).controllers.items():
            where = source.where(("controllers", name))
            if name in seen and not copies:
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
                f"{at}: there is no controller '{item}'{guess(item, controllers)}",
                help=f"Known controllers: {known}. They stand under 'controllers' of an inventory file.",
            )
        value[key] = controllers[item]


def _check(source: Source) -> _File:
    data = source.data if isinstance(source.data, dict) else {}
    if "pools" in data:
        data.setdefault("hosts", {})
    for room in ("hosts", "pools"):
        entries = data.get(room)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict):
                if "name" in entry:
                    at = source.where((room, name, "name"))
                    raise ConfigurationError(f"{at}: {room}.{name}.name is not a key; the name is '{name}'")
                entry["name"] = name
                resolve_paths(entry, source.path.parent)
                resolve_symbols(entry, source, (room, name))
    return _validated(_File, source)


def _validated(model: type[Model], source: Source) -> Model:
    try:
        return model.model_validate(source.data)
    except ValidationError as error:
        problems = sorted(problem(source, e) for e in error.errors(include_url=False))
        first, *others = [f"{source.path}:{line}: {text}" for line, text in problems]
        rest = f" Also: {'; '.join(others[:5])}." if others else ""
        raise ConfigurationError(first, help=f"Correct the inventory and try again.{rest}") from None
