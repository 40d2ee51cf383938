"""The filter manager's structures in their three layouts."""

from __future__ import annotations

from lab.twin.images.make.structures import Field, structure

_TEXT = "struct _UNICODE_STRING %s"
_LINK = "struct _LIST_ENTRY %s"
_LOCKED = "struct _FLT_RESOURCE_LIST_HEAD %s"


def header(b: int, nodes: int) -> str:
    """`b` is the size of FLT_OBJECT (0x20 on Windows 7, 0x30 in the 10 family), `nodes` where the callback
    nodes of an instance begin."""
    new = b == 0x30
    base: Field = ("Base", 0, b, "struct _FLT_OBJECT %s")

    def pointer(name: str, offset: int, target: str = "void") -> Field:
        return name, offset, 8, f"{target} *%s"

    def number(name: str, offset: int) -> Field:
        return name, offset, 4, "unsigned int %s"

    def text(name: str, offset: int) -> Field:
        return name, offset, 0x10, _TEXT

    def link(name: str, offset: int) -> Field:
        return name, offset, 0x10, _LINK

    def locked(name: str, offset: int) -> Field:
        return name, offset, 0x80, _LOCKED

    identity: list[Field] = [("UniqueIdentifier", 0x20, 0x10, "unsigned char %s[16]")] if new else []
    parts = [
        structure(
            "_FLT_OBJECT",
            b,
            [
                number("Flags", 0),
                number("PointerCount", 4),
                ("RundownRef", 8, 8, "unsigned long long %s"),
                link("PrimaryLink", 0x10),
                *identity,
            ],
        ),
        structure(
            "_FLT_RESOURCE_LIST_HEAD",
            0x80,
            [("rLock", 0, 0x68, "unsigned char %s[104]"), link("rList", 0x68), number("rCount", 0x78)],
        ),
        structure(
            "_FLTP_FRAME",
            0x240,
            [
                number("Type", 0),
                link("Links", 8),
                number("FrameID", 0x18),
                locked("RegisteredFilters", 0x48),
                locked("AttachedVolumes", 0xC8),
            ],
        ),
        structure("_GLOBALS", 0xD8, [locked("FrameList", 0x58)]),
        "struct _FLT_VOLUME;",
        structure(
            "_VOLUME_DEVICE_EXTENSION",
            0x58,
            [
                number("Type", 0),
                pointer("AttachedToDeviceObject", 8, "struct _DEVICE_OBJECT"),
                pointer("Frame", 0x10, "struct _FLTP_FRAME"),
                pointer("Volume", 0x50, "struct _FLT_VOLUME"),
            ],
        ),
        structure(
            "_FLT_VOLUME",
            b + 0x650,
            [
                base,
                number("Flags", b),
                number("FileSystemType", b + 4),
                pointer("DeviceObject", b + 8, "struct _DEVICE_OBJECT"),
                pointer("DiskDeviceObject", b + 0x10, "struct _DEVICE_OBJECT"),
                pointer("FrameZeroVolume", b + 0x18, "struct _FLT_VOLUME"),
                pointer("VolumeInNextFrame", b + 0x20, "struct _FLT_VOLUME"),
                pointer("Frame", b + 0x28, "struct _FLTP_FRAME"),
                text("DeviceName", b + 0x30),
                text("GuidName", b + 0x40),
                text("CDODeviceName", b + 0x50),
                text("CDODriverName", b + 0x60),
                locked("InstanceList", b + 0x70),
                ("Callbacks", b + 0xF0, 0x320, "struct _LIST_ENTRY %s[50]"),
            ],
        ),
        structure(
            "_FLT_FILTER",
            b + 0x1A0,
            [
                base,
                pointer("Frame", b, "struct _FLTP_FRAME"),
                text("Name", b + 8),
                text("DefaultAltitude", b + 0x18),
                number("Flags", b + 0x28),
                pointer("DriverObject", b + 0x30, "struct _DRIVER_OBJECT"),
                locked("InstanceList", b + 0x38),
                pointer("Operations", 0x1A8 if new else 0x188),
            ],
        ),
        structure(
            "_FLT_INSTANCE",
            nodes + 400,
            [
                base,
                pointer("Volume", b + 8, "struct _FLT_VOLUME"),
                pointer("Filter", b + 0x10, "struct _FLT_FILTER"),
                number("Flags", b + 0x18),
                text("Altitude", b + 0x20),
                text("Name", b + 0x30),
                link("FilterLink", b + 0x40),
                ("CallbackNodes", nodes, 400, "void *%s[50]"),
            ],
        ),
    ]
    return "\n".join(["#pragma once", "#pragma pack(push, 1)", *parts, "#pragma pack(pop)", ""])
