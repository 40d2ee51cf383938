"""Secrets by reference: the inventory says where a secret is, never what it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from lab.inventory.source import Table
from lab.model import ConfigurationError

SecretSource = Callable[[Any, str], str]
"""Takes the reference's value (`NAME` in `{env: NAME}`) and where it stands; returns the secret.

Raises ConfigurationError, naming what to set, when there is none.
"""

HIDDEN = "•••"


class Secret:
    """A reference to a secret, looked up each time it is revealed; never shown by `str` or `repr`."""

    __slots__ = ("_source", "_value", "where")

    def __init__(self, source: str, value: Any, where: str = "") -> None:
        self._source = source
        self._value = value
        self.where = where  # "inventory/lab.yaml:12", "" when it does not come from a file

    @property
    def reference(self) -> str:
        """Where the secret is kept, e.g. `env: LAB_PASSWORD`; safe to show."""
        value = self._value
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        return f"{self._source}: {value}"

    def as_written(self) -> dict[str, Any]:
        """The reference as an inventory has it, good in any folder."""
        if self._source == "file":
            return {"file": str(_secret_file(self._value, self.where).absolute())}
        value = self._value
        return {self._source: dict(value) if isinstance(value, Mapping) else value}

    def reveal(self) -> str:
        """The secret itself. Raises ConfigurationError that names what to set when it is missing."""
        found = _SOURCES.get(self._source)
        if found is None:
            raise ConfigurationError(
                f"{self._at()}nothing here can look up a secret of kind '{self._source}'",
                help="Run this from a flow, or keep the secret in env, file or keyring.",
            )
        secret = found(self._value, self.where)
        if not secret:
            raise ConfigurationError(f"{self._at()}the secret {self.reference} is empty")
        return secret

    def _at(self) -> str:
        return f"{self.where}: " if self.where else ""

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._source, self._value) == (other._source, other._value)

    def __hash__(self) -> int:
        return hash((self._source, repr(self._value)))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _secret, serialization=core_schema.plain_serializer_function_ser_schema(lambda s: HIDDEN)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        one = {"type": "object", "additionalProperties": False}
        text = {"type": "string", "minLength": 1}
        keyring = {**one, "properties": {"service": text, "user": text}, "required": ["service", "user"]}
        kinds = {
            "env": {**text, "description": "name of an environment variable"},
            "file": {**text, "description": "a file that only its owner may read (mode 0600)"},
            "keyring": {**keyring, "description": "an entry of the system's keyring"},
            "prefect": {**text, "description": "name of a Prefect Secret block (in flows)"},
        }
        return {
            "description": "where the secret is kept",
            "oneOf": [{**one, "properties": {k: v}, "required": [k]} for k, v in kinds.items()],
        }


def _secret(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, Mapping) or len(value) != 1:
        raise PydanticCustomError(
            "secret", "must say where the secret is kept, as in 'env: NAME', not the secret itself"
        )
    ((source, reference),) = value.items()
    if source not in _KINDS:
        known = ", ".join(_KINDS)
        raise PydanticCustomError("secret", "is kept in an unknown place; known are " + known)
    if source == "keyring":
        fields = reference if isinstance(reference, Mapping) else {}
        if set(fields) != {"service", "user"} or not all(isinstance(v, str) and v for v in fields.values()):
            raise PydanticCustomError("secret", "keyring needs exactly 'service' and 'user'")
    elif not isinstance(reference, str) or not reference:
        raise PydanticCustomError("secret", "needs a name after '{source}:'", {"source": source})
    return Secret(str(source), reference, value.where if isinstance(value, Table) else "")


def register_secret_source(name: str, source: SecretSource) -> None:
    """Make a place of secrets known, e.g. `prefect` by the code that runs inside Prefect."""
    _SOURCES[name] = source


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _from_env(name: str, where: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(
            f"{_at(where)}the environment variable {name} is not set",
            help=f"Set {name} to the secret, e.g. by 'read -rs {name} && export {name}'.",
        ) from None


def _secret_file(name: str, where: str) -> Path:
    path = Path(os.path.expandvars(name)).expanduser()
    if not path.is_absolute() and where:
        path = Path(where.rsplit(":", 1)[0]).parent / path  # beside the inventory file that names it
    return path


def _from_file(name: str, where: str) -> str:
    path = _secret_file(name, where)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigurationError(
                f"{_at(where)}the secret file {path} may be read by others (mode {mode:04o})",
                help=f"Run 'chmod 600 {path}', and change the secret if others may have seen it.",
            )
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError(
            f"{_at(where)}the secret file {path} cannot be read: {error.strerror}",
            help=f"Put the secret alone into {path}, mode 0600.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{_at(where)}the secret file {path} is not UTF-8 text") from None


def _from_keyring(entry: Mapping[str, str], where: str) -> str:
    import keyring  # slow to import, and needed by few
    from keyring.errors import KeyringError

    service, user = entry["service"], entry["user"]
    hint = f"Run 'keyring set {service} {user}'."
    try:
        secret = keyring.get_password(service, user)
    except KeyringError as error:
        raise ConfigurationError(f"{_at(where)}the keyring cannot be used: {error}", help=hint) from None
    if secret is None:
        raise ConfigurationError(f"{_at(where)}the keyring has no entry {service} / {user}", help=hint)
    return secret


_KINDS = ("env", "file", "keyring", "prefect")
_SOURCES: dict[str, SecretSource] = {"env": _from_env, "file": _from_file, "keyring": _from_keyring}
