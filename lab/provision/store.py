"""Files of hosts that were handed out: DATA/hosts/NAME.yaml, read beside the inventory by all commands."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from lab.inventory import Host, host_file
from lab.inventory.machine import ControllerSettings
from lab.model import ConfigurationError


def folder_in(data: Path) -> Path:
    return data / "hosts"


class HostFiles:
    """The files in one folder, which is made when the first one is written."""

    def __init__(self, folder: Path, controllers: Mapping[str, ControllerSettings]) -> None:
        self._folder = folder
        self._controllers = controllers

    def path(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe=' ')}.yaml"

    def write(self, host: Host, pool: str) -> Path:
        """In one step, and on disk when it returns. Raises ConfigurationError when it cannot be written."""
        path = self.path(host.name)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("x", encoding="utf-8") as file:
                    file.write(host_file(host, pool, self._controllers))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the host's file {path} cannot be written: {error.strerror or error}",
                help="Choose a data folder that you may write to, on a disk with room.",
            ) from None
        return path

    def remove(self, name: str) -> None:
        """No such file is no error."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the host's file {self.path(name)} cannot be removed: {error.strerror or error}"
            ) from None
