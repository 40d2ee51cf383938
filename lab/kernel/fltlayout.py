"""Where fields of the filter manager's structures are: by symbols of fltmgr, else by family of builds.

Between families the size of FLT_OBJECT differs, with which every other structure begins, and later a few
fields were put in. What a family is taken to be is checked where the structures are read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.kernel.target import Kernel

PRIMARY_LINK = 0x10
"""FLT_OBJECT.PrimaryLink: by it filters, volumes and instances are on the lists of what they belong to."""

RESOURCE_LIST = 0x68
"""FLT_RESOURCE_LIST_HEAD.rList, behind its ERESOURCE: the same in every known build."""

FRAME_LINKS = 8
"""FLTP_FRAME.Links, behind its type: the same in every known build."""


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes; lists are given by their LIST_ENTRY. None where the family's is not published."""

    source: str
    device: int  # FLT_VOLUME.DeviceObject
    frame: int  # FLT_VOLUME.Frame
    device_name: int  # FLT_VOLUME.DeviceName
    instances: int  # FLT_VOLUME.InstanceList.rList
    volume: int  # FLT_INSTANCE.Volume
    filter: int  # FLT_INSTANCE.Filter
    altitude: int  # FLT_INSTANCE.Altitude
    name: int  # FLT_INSTANCE.Name
    callbacks: int | None  # FLT_INSTANCE.CallbackNodes
    filter_name: int  # FLT_FILTER.Name
    filter_altitude: int  # FLT_FILTER.DefaultAltitude
    filter_driver: int  # FLT_FILTER.DriverObject
    operations: int | None  # FLT_FILTER.Operations
    frame_filters: int = 0x48 + RESOURCE_LIST  # FLTP_FRAME.RegisteredFilters.rList
    frame_volumes: int = 0xC8 + RESOURCE_LIST  # FLTP_FRAME.AttachedVolumes.rList
    frames: int = 0x58 + RESOURCE_LIST  # FltGlobals.FrameList.rList


def by_object_size(base: int, source: str, callbacks: int | None, operations: int | None) -> Layout:
    """The layout that follows from `base`, the size of FLT_OBJECT."""
    return Layout(
        source=source,
        device=base + 8,
        frame=base + 0x28,
        device_name=base + 0x30,
        instances=base + 0x70 + RESOURCE_LIST,
        volume=base + 8,
        filter=base + 0x10,
        altitude=base + 0x20,
        name=base + 0x30,
        callbacks=callbacks,
        filter_name=base + 8,
        filter_altitude=base + 0x18,
        filter_driver=base + 0x30,
        operations=operations,
    )


WINDOWS_7 = by_object_size(0x20, "fltmgr layout of Windows 7", 0x90, 0x188)
WINDOWS_10 = by_object_size(0x30, "fltmgr layout of the Windows 10 family", 0xA0, 0x1A8)
WINDOWS_11 = replace(WINDOWS_10, source="fltmgr layout since build 21390", callbacks=0xA8)
FIRST_11 = 21390


def family(base: int, build: int) -> Layout:
    """The published layout with FLT_OBJECT of `base` bytes, else what follows from that size alone."""
    if base == 0x20:
        return WINDOWS_7
    if base == 0x30:
        return WINDOWS_11 if build >= FIRST_11 else WINDOWS_10
    return by_object_size(base, f"fltmgr layout inferred from an FLT_OBJECT of {base:#x} bytes", None, None)


def usual(build: int) -> Layout:
    """The layout to begin with for `build`; Windows 8 and 8.1 are not published and taken for later ones."""
    return WINDOWS_7 if build < 9200 else family(0x30, build)


def told(kernel: Kernel) -> Layout | None:
    """The layout as the symbols of fltmgr have it, None when there are none or they lack a field."""

    def at(type_name: str, field: str) -> int | None:
        return kernel.find_offset(type_name, field, "fltmgr")

    def list_at(type_name: str, field: str) -> int | None:
        head, inside = at(type_name, field), at("_FLT_RESOURCE_LIST_HEAD", "rList")
        return None if head is None else head + (RESOURCE_LIST if inside is None else inside)

    needed = {
        "device": at("_FLT_VOLUME", "DeviceObject"),
        "frame": at("_FLT_VOLUME", "Frame"),
        "device_name": at("_FLT_VOLUME", "DeviceName"),
        "instances": list_at("_FLT_VOLUME", "InstanceList"),
        "volume": at("_FLT_INSTANCE", "Volume"),
        "filter": at("_FLT_INSTANCE", "Filter"),
        "altitude": at("_FLT_INSTANCE", "Altitude"),
        "name": at("_FLT_INSTANCE", "Name"),
        "filter_name": at("_FLT_FILTER", "Name"),
        "filter_altitude": at("_FLT_FILTER", "DefaultAltitude"),
        "filter_driver": at("_FLT_FILTER", "DriverObject"),
    }
    frames = {
        "frame_filters": list_at("_FLTP_FRAME", "RegisteredFilters"),
        "frame_volumes": list_at("_FLTP_FRAME", "AttachedVolumes"),
        "frames": list_at("_GLOBALS", "FrameList"),
    }
    known = {name: offset for name, offset in needed.items() if offset is not None}
    if len(known) < len(needed):
        return None
    known |= {name: offset for name, offset in frames.items() if offset is not None}
    return replace(
        usual(kernel.build),
        source="symbols of fltmgr",
        callbacks=at("_FLT_INSTANCE", "CallbackNodes"),
        operations=at("_FLT_FILTER", "Operations"),
        **known,
    )
