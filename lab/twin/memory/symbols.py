"""Symbol files (ISF) for the twin's own images, so that their functions have names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.twin.images import blueprint
from lab.twin.memory.layout import guid_of, guid_text

_IMAGES = {"srv2": "srv2.sys", "fltmgr": "fltmgr.sys", "Ntfs": "Ntfs.sys"}
_BASE_TYPES = {
    name: {"endian": "little", "kind": kind, "signed": signed, "size": size}
    for name, kind, signed, size in (
        ("unsigned char", "char", False, 1),
        ("unsigned short", "int", False, 2),
        ("unsigned long", "int", False, 4),
        ("unsigned long long", "int", False, 8),
        ("pointer", "int", False, 8),
    )
}


def write_isf(build: int, directory: Path) -> None:
    """`directory`/PDB/GUID-AGE.json for srv2.pdb, fltmgr.pdb and ntfs.pdb of the twin's `build`."""
    for prefix, image in _IMAGES.items():
        guid = guid_text(guid_of(image, build))
        pdb = f"{prefix.lower()}.pdb"
        source = (
            prefix.lower() if prefix != "fltmgr" else ("fltmgr-7601" if build < 14393 else "fltmgr-14393")
        )
        symbols = {name: {"address": rva} for name, rva in blueprint(source).symbols.items()}
        types: dict[str, Any] = {}
        if prefix == "fltmgr":
            types = _filter_types(0x30 if build > 7601 else 0x20, build)
        content = {
            "metadata": {
                "format": "6.1.0",
                "producer": {"name": "bugcheck-lab twin", "version": "1", "datetime": "2012-01-01T00:00:00"},
                "windows": {"pdb": {"GUID": guid, "age": 1, "database": pdb, "machine_type": 34404}},
            },
            "base_types": _BASE_TYPES,
            "enums": {},
            "symbols": symbols,
            "user_types": types,
        }
        folder = directory / pdb
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{guid}-1.json").write_text(json.dumps(content, indent=1, sort_keys=True))


def _filter_types(b: int, build: int) -> dict[str, Any]:
    """The filter manager's structures; `b` is the size of FLT_OBJECT."""
    text, pointer, link, number, locked = (
        _struct("_UNICODE_STRING"),
        {"kind": "pointer", "subtype": {"kind": "base", "name": "unsigned char"}},
        _struct("_LIST_ENTRY"),
        {"kind": "base", "name": "unsigned long"},
        _struct("_FLT_RESOURCE_LIST_HEAD"),
    )
    base = ("Base", 0, _struct("_FLT_OBJECT"))
    long = {"kind": "base", "name": "unsigned long long"}
    callbacks = {"kind": "array", "count": 50, "subtype": pointer}
    return {
        "_LIST_ENTRY": _type(0x10, ("Flink", 0, pointer), ("Blink", 8, pointer)),
        "_UNICODE_STRING": _type(
            0x10,
            ("Length", 0, {"kind": "base", "name": "unsigned short"}),
            ("MaximumLength", 2, {"kind": "base", "name": "unsigned short"}),
            ("Buffer", 8, pointer),
        ),
        "_FLT_OBJECT": _type(
            b,
            ("Flags", 0, number),
            ("PointerCount", 4, number),
            ("RundownRef", 8, long),
            ("PrimaryLink", 0x10, link),
        ),
        "_FLT_RESOURCE_LIST_HEAD": _type(
            0x80, ("rLock", 0, long), ("rList", 0x68, link), ("rCount", 0x78, number)
        ),
        "_VOLUME_DEVICE_EXTENSION": _type(
            0x58,
            ("Type", 0, number),
            ("AttachedToDeviceObject", 8, pointer),
            ("Frame", 0x10, pointer),
            ("Volume", 0x50, pointer),
        ),
        "_FLT_VOLUME": _type(
            b + 0x650,
            base,
            ("Flags", b, number),
            ("FileSystemType", b + 4, number),
            ("DeviceObject", b + 8, pointer),
            ("DiskDeviceObject", b + 0x10, pointer),
            ("FrameZeroVolume", b + 0x18, pointer),
            ("VolumeInNextFrame", b + 0x20, pointer),
            ("Frame", b + 0x28, pointer),
            ("DeviceName", b + 0x30, text),
            ("GuidName", b + 0x40, text),
            ("CDODeviceName", b + 0x50, text),
            ("CDODriverName", b + 0x60, text),
            ("InstanceList", b + 0x70, locked),
            ("Callbacks", b + 0xF0, long),
        ),
        "_FLT_INSTANCE": _type(
            b + 0x70 + 400,
            base,
            ("Volume", b + 8, pointer),
            ("Filter", b + 0x10, pointer),
            ("Flags", b + 0x18, number),
            ("Altitude", b + 0x20, text),
            ("Name", b + 0x30, text),
            ("FilterLink", b + 0x40, link),
            ("CallbackNodes", b + 0x70, callbacks),
        ),
        "_FLT_FILTER": _type(
            b + 0x1A0,
            base,
            ("Frame", b, pointer),
            ("Name", b + 8, text),
            ("DefaultAltitude", b + 0x18, text),
            ("Flags", b + 0x28, number),
            ("DriverObject", b + 0x30, pointer),
            ("InstanceList", b + 0x38, locked),
            ("Operations", 0x1A8 if build > 7601 else 0x188, pointer),
        ),
        "_FLTP_FRAME": _type(
            0x240,
            ("Type", 0, number),
            ("Links", 8, link),
            ("FrameID", 0x18, number),
            ("RegisteredFilters", 0x48, locked),
            ("AttachedVolumes", 0xC8, locked),
        ),
        "_GLOBALS": _type(0xD8, ("FrameList", 0x58, locked)),
    }


def _struct(name: str) -> dict[str, Any]:
    return {"kind": "struct", "name": name}


def _type(size: int, *fields: tuple[str, int, dict[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "struct",
        "size": size,
        "fields": {name: {"offset": offset, "type": type} for name, offset, type in fields},
    }
