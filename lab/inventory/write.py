"""A host as an inventory file of its own: what `lab provision` hands out. Secrets stay references."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from lab.inventory.host import Host
from lab.inventory.machine import ControllerSettings
from lab.inventory.secrets import Secret
from lab.symbols import resolve_spec


def host_file(host: Host, pool: str, controllers: Mapping[str, ControllerSettings]) -> str:
    """YAML that `load` reads as the same host, from any folder, with the controllers that the host names."""
    used: dict[str, Any] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, Secret):
            return value.as_written()
        if isinstance(value, ControllerSettings):
            name = next(name for name, each in controllers.items() if each == value)
            used[name] = settings(value)
            return name
        if isinstance(value, BaseModel):
            return settings(value)
        if isinstance(value, Path):
            return str(value.absolute())
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, tuple | list):
            return [plain(each) for each in value]
        return value

    def settings(value: BaseModel) -> dict[str, Any]:
        return {key: plain(getattr(value, key)) for key in _written(value)}

    entry = settings(host)
    if host.symbols:
        entry["symbols"] = [resolve_spec(spec, lambda text: Path(text).absolute()) for spec in host.symbols]
    content = {"hosts": {host.name: entry}, "provisioned": {host.name: pool}}
    if used:
        content = {"controllers": used, **content}
    note = "# Written by 'lab provision'; 'lab provision return' removes it.\n"
    return note + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _written(value: BaseModel) -> list[str]:
    """Keys that were given, in the model's order; a host's name is the key that it stands under."""
    return [
        key
        for key in type(value).model_fields
        if key in value.model_fields_set and (type(value), key) != _NAME
    ]


_NAME = (Host, "name")
