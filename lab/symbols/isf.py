"""ISF files: the symbols and types of one PDB as JSON, in the form volatility's pdbconv writes."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.model import ConfigurationError
from lab.symbols.nearest import Nearest, in_order
from lab.symbols.port import PdbId

_MAX_TEXT = 16 << 20  # the largest kernel's is 7 MB; as objects, text may take 25 times its size
_MAX_RVA = 1 << 32


class Isf:
    """Symbols of one ISF file. Nothing but the text is kept until it is asked for."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.source = f"ISF file {path.name}"
        self._symbols = _table(content, "symbols", path)
        self._types = _table(content, "user_types", path)

    def rva(self, name: str) -> int | None:
        return _rva(self._symbols.get(name))

    def nearest(self, rva: int) -> tuple[str, int] | None:
        return self._nearest.find(rva)

    def offset(self, type_name: str, field: str) -> int | None:
        """Byte offset of a field; "Tail.Overlay.Thread" descends into the types of fields."""
        total = 0
        owner: str | None = type_name
        for part in field.split("."):
            found = self._field(owner, part)
            if found is None:
                return None
            offset, owner = found
            total += offset
        return total

    def size(self, type_name: str) -> int | None:
        entry = self._types.get(type_name)
        size = entry.get("size") if isinstance(entry, dict) else None
        return size if isinstance(size, int) and 0 <= size < _MAX_RVA else None

    def names(self) -> Iterator[tuple[str, int]]:
        named = ((name, _rva(entry)) for name, entry in self._symbols.items())
        return ((name, rva) for name, rva in named if rva is not None)

    def fields(self, type_name: str) -> tuple[tuple[str, int], ...]:
        entry = self._types.get(type_name)
        fields = entry.get("fields") if isinstance(entry, dict) else None
        found = ((name, self._field(type_name, name)) for name in fields) if isinstance(fields, dict) else ()
        return in_order((name, field[0]) for name, field in found if field is not None)

    def _field(self, type_name: str | None, field: str) -> tuple[int, str | None] | None:
        """(offset, name of the field's own structure or None)."""
        entry = self._types.get(type_name) if type_name else None
        fields = entry.get("fields") if isinstance(entry, dict) else None
        found = fields.get(field) if isinstance(fields, dict) else None
        offset = found.get("offset") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(offset, int) or not 0 <= offset < _MAX_RVA:
            return None
        kind = found.get("type")
        inner = (
            kind.get("name") if isinstance(kind, dict) and kind.get("kind") in ("struct", "union") else None
        )
        return offset, inner if isinstance(inner, str) else None

    @cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self.names())


def _rva(entry: Any) -> int | None:
    address = entry.get("address") if isinstance(entry, dict) else None
    return address if isinstance(address, int) and 0 <= address < _MAX_RVA else None


def _table(content: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    found = content.get(key, {})
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} is not an ISF file: its '{key}' is not a table")
    return found


def load_isf(path: Path, pdb: PdbId) -> Isf | None:
    """The symbols of `pdb` from `path`; None when the file is of another PDB.

    ConfigurationError when it is not an ISF file, or is larger than any real one.
    """
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise ConfigurationError(f"{path} is too large for an ISF file")
        raw = path.read_bytes()
        text = _unpack(raw, path) if path.suffix == ".xz" else raw
        content = json.loads(text)
        found = content["metadata"]["windows"]["pdb"]
        identity = str(found["GUID"]).upper().replace("-", ""), int(found["age"])
    except (OSError, lzma.LZMAError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is not an ISF file of a PDB: {type(error).__name__}",
            help="Remove it from the symbol directory, or convert the PDB again.",
        ) from error
    return Isf(path, content) if identity == (pdb.guid.upper(), pdb.age) else None


def _unpack(raw: bytes, path: Path) -> bytes:
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 << 20)
    text = unpacker.decompress(raw, max_length=_MAX_TEXT)
    if not unpacker.eof:
        raise ConfigurationError(f"{path} is cut off, or too large for an ISF file")
    return text
