"""All minifilters and all volumes of the filter manager: its frames, from fltmgr!FltGlobals."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from lab.dumps.memory import KERNEL_SPACE, u32, u64
from lab.kernel import fltlayout
from lab.kernel.filters import (
    FILTER_BITS,
    TYPE_MASK,
    VOLUME_BITS,
    Filter,
    Volume,
    altitude_order,
    device_of_volume,
    layout_of_volume,
    read_filter,
    read_volume,
)
from lab.kernel.fltlayout import FRAME_LINKS, PRIMARY_LINK, Layout
from lab.kernel.irp import READ
from lab.kernel.lists import follow
from lab.kernel.reading import Used
from lab.kernel.target import Kernel
from lab.model import DumpError

MOST_FRAMES = 16
MOST_OBJECTS = 1024
MOST_IN_ALL = 8192
"""Volumes and instances together. No server has as many; a damaged dump may seem to."""

GLOBALS = {
    14393: (0x25500,),
    17763: (0x2A540,),
    18362: (0x2A580,),
    19041: (0x29600, 0x2A600, 0x2B600),
    22000: (0x2B6C0,),
    22621: (0x2C700, 0x2E700),
}
"""RVAs of fltmgr!FltGlobals in one update of a build or another; tried, never believed."""

_FRAME_SIZE = 0x240
_LARGEST_DATA = 0x80000  # bytes of fltmgr's sections that are searched
_MOST_HEADS = 1024


def read_filters(kernel: Kernel) -> tuple[Filter, ...]:
    """Every registered minifilter, highest altitude first. DumpError when no frames are found."""
    with kernel.reading("minifilters") as used:
        frames, layout = _frames(kernel, used)
        found: dict[int, Filter] = {}
        for frame in frames:
            for link in _members(kernel, frame, layout.frame_filters, FILTER_BITS):
                try:
                    found[link] = read_filter(kernel, link, layout)
                except DumpError:
                    continue
        return tuple(sorted(found.values(), key=lambda each: altitude_order(each.altitude), reverse=True))


def read_volumes(kernel: Kernel, major: int = READ) -> tuple[Volume, ...]:
    """Every volume that the filter manager is attached to. DumpError when no frames are found."""
    with kernel.reading("volumes of the filter manager") as used:
        frames, layout = _frames(kernel, used)
        found: dict[int, Volume] = {}
        left = MOST_IN_ALL
        for frame in frames:
            for address in _members(kernel, frame, layout.frame_volumes, VOLUME_BITS):
                if left <= 0:
                    note = f"Volume {address:#x} was not read: those before it have too many instances."
                    found[address] = Volume(address, "", (), (note,))
                    return tuple(found.values())
                device = device_of_volume(kernel, address)
                if device is None:
                    note = f"The device of volume {address:#x} was not found."
                    found[address] = Volume(address, "", (), (note,))
                    continue
                try:
                    found[address] = read_volume(kernel, address, device, major, used)
                    left -= 1 + len(found[address].instances)
                except DumpError as error:
                    found[address] = Volume(address, "", (), (f"Volume {address:#x}: {error}.",), device)
        return tuple(found.values())


def _frames(kernel: Kernel, used: Used) -> tuple[tuple[int, ...], Layout]:
    """(addresses of the FLTP_FRAMEs, layout): by symbols, else the family that the first volume shows."""
    layout = fltlayout.told(kernel)
    frames = _find_frames(kernel, layout or fltlayout.usual(kernel.build), used)
    if layout is None:
        layout = fltlayout.usual(kernel.build)
        for address in _members(kernel, frames[0], layout.frame_volumes, VOLUME_BITS):
            device = device_of_volume(kernel, address)
            if device is not None:
                layout = layout_of_volume(kernel, address, device)
                used.check("the first volume has the layout that is used")
                break
    used.fact(layout.source)
    return frames, layout


def _find_frames(kernel: Kernel, layout: Layout, used: Used) -> tuple[int, ...]:
    fltmgr = kernel.module("fltmgr")
    if fltmgr is None:
        raise DumpError("the filter manager is not loaded")
    told = kernel.address("fltmgr!FltGlobals")
    guesses = [(told + layout.frames, "")] if told is not None else []
    guesses += [
        (
            fltmgr.base + rva + layout.frames,
            f"fltmgr!FltGlobals was taken to be at +{rva:#x}, as in other updates",
        )
        for rva in GLOBALS.get(kernel.build, ())
    ]
    for head, how in guesses:
        frames = _valid(kernel, head, layout)
        if frames:
            if how:
                used.fact(how)
            used.check(f"FltGlobals leads to {len(frames)} frames with minifilters or volumes")
            return frames
    for head in islice(_heads(kernel, fltmgr.base), _MOST_HEADS):
        frames = _valid(kernel, head, layout)
        if frames:
            used.check(f"a list in fltmgr's data (+{head - fltmgr.base:#x}) leads to frames with minifilters")
            return frames
    raise DumpError("the filter manager's frames were not found", help="Give symbols of fltmgr.")


def _valid(kernel: Kernel, head: int, layout: Layout) -> tuple[int, ...]:
    """The frames on the list at `head`, if every entry is one."""
    links = follow(kernel.memory, head, MOST_FRAMES)
    frames = tuple(link - FRAME_LINKS for link in links.found)
    if not frames or links.broken:
        return ()
    kinds = ((layout.frame_filters, FILTER_BITS), (layout.frame_volumes, VOLUME_BITS))
    return frames if any(True for at, bits in kinds for _ in _members(kernel, frames[0], at, bits)) else ()


def _members(kernel: Kernel, frame: int, offset: int, bits: int) -> Iterator[int]:
    """Objects on a list of the frame: at `offset`, or wherever the frame has a list of such objects."""
    for at in (offset, *range(0x20, _FRAME_SIZE, 8)):
        # One look at the first entry: only one list of many is followed to its end.
        first = follow(kernel.memory, frame + at, 1).found
        if first and _has_type(kernel, first[0] - PRIMARY_LINK, bits):
            links = follow(kernel.memory, frame + at, MOST_OBJECTS).found
            yield from (link - PRIMARY_LINK for link in links if _has_type(kernel, link - PRIMARY_LINK, bits))
            return


def _has_type(kernel: Kernel, address: int, bits: int) -> bool:
    try:
        return u32(kernel.memory, address) & TYPE_MASK == bits
    except DumpError:
        return False


def _heads(kernel: Kernel, base: int) -> Iterator[int]:
    """Addresses in fltmgr's data that begin a list whose first entry, not in an image, points back."""
    module = kernel.module_at(base)
    image = kernel.image(module) if module else None
    left = _LARGEST_DATA
    for section in image.sections if image else ():
        if section.executable or not 0 < section.size <= left:
            continue
        left -= section.size
        for page in range(section.rva & ~0xFFF, section.rva + section.size, 0x1000):
            try:
                words = struct.unpack("<512Q", kernel.memory.read(base + page, 0x1000))
            except DumpError:
                continue
            for index, link in enumerate(words):
                address = base + page + 8 * index
                if link < KERNEL_SPACE or link & 7 or link == address or kernel.module_at(link) is not None:
                    continue
                try:
                    if u64(kernel.memory, link + 8) == address:
                        yield address
                except DumpError:
                    continue
