"""Where everything lies in the crashed kernel's address space: chosen from build, seed and image list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from random import Random

from lab.twin.crash import CrashState, Image
from lab.twin.images import Blueprint, Function, blueprint
from lab.twin.memory.checks import check
from lab.twin.memory.records import up
from lab.twin.memory.tables import Kernel, kernel

_SYSTEM = {
    "ntoskrnl.exe": "nt",
    "hal.dll": "hal",
    "srv2.sys": "srv2",
    "fltmgr.sys": "fltmgr",
    "ntfs.sys": "Ntfs",
}
_PLAIN_SIZES = {"fltmgr.sys": 0x71000, "ntfs.sys": 0x2B0000, "srv2.sys": 0xC9000, "hal.dll": 0xA3000}
_DRIVER_VARIANTS = 4
_THROUGH = {
    "nt!IovCallDriver": "IofCallDriver",
    "nt!VerifierKeEnterCriticalRegion": "KeEnterCriticalRegion",
    "nt!VerifierKeLeaveCriticalRegion": "KeLeaveCriticalRegion",
}
"""What other images call to get there."""
_OFF_2_MIB = {9600: 0x7F000, 14393: 0x14000, 17763: 0xB3000, 18362: 0xB3000}
"""Where the kernel begins after a multiple of 2 MiB; later kernels begin on one."""


@dataclass(frozen=True)
class Module:
    """An image in memory; `base` is 0 before it is loaded. `prefix` is its name in symbols ("nt", "srv2")."""

    name: str
    prefix: str
    base: int
    size: int
    third_party: bool
    pdb: str  # as its CodeView record has it
    guid: bytes  # 16 bytes, as in memory
    age: int
    timestamp: int
    company: str
    version: str
    source: str  # name of its blueprint

    @property
    def blueprint(self) -> Blueprint:
        return blueprint(self.source)

    def has(self, symbol: str) -> bool:
        return symbol in self.blueprint.symbols

    @property
    def entry(self) -> int:
        """Address of its entry point."""
        return self.base + self.blueprint.entry

    @property
    def pdb_guid(self) -> str:
        """32 upper-case hexadecimal digits, as symbol paths have it."""
        return guid_text(self.guid)


@dataclass(frozen=True)
class Layout:
    """Addresses of one machine. `modules` are in load order."""

    kernel: Kernel
    modules: tuple[Module, ...]
    directory: int  # frame of the top page table
    cr3: int
    self_map: int  # entry of the top page table
    pool: int
    paged: int  # an address in paged pool, of a page that is not in memory
    stacks: int
    processors: int
    system_start: int
    pfn_database: int
    five_levels: bool

    @property
    def nt(self) -> Module:
        return self.modules[0]

    def module(self, name: str) -> Module:
        """By file name, in any case. KeyError when the machine has not loaded it."""
        for module in self.modules:
            if module.name.casefold() == name.casefold():
                return module
        raise KeyError(name)

    def has(self, name: str) -> bool:
        return any(module.name.casefold() == name.casefold() for module in self.modules)

    def variable(self, symbol: str) -> int:
        """Address of a kernel variable or function."""
        return self.nt.base + self.kernel.rva(symbol)

    def address(self, symbol: str) -> int:
        """Address of a function or variable, "fltmgr!FltpDispatch"; KeyError when there is none."""
        module, name = self._find(symbol)
        return module.base + module.blueprint.symbols[name]

    def function(self, symbol: str) -> Function:
        """The function itself; KeyError when there is none."""
        module, name = self._find(symbol)
        return module.blueprint.function(name)

    def resumes(self, caller: str, callee: str) -> tuple[int, Function]:
        """The return address that `callee` gets when `caller` calls it, and the part of `caller` it is in.

        That part is `caller` itself or a block split off it. ValueError when it makes no such call.
        """
        module, name = self._find(caller)
        wanted = _THROUGH.get(callee, callee.split("!")[1])
        own = module.blueprint.function(name)
        parts = [own, *(part for part in module.blueprint.functions if part.parent == own.name)]
        for part in parts:
            if any(called == wanted for _, called in part.calls):
                own = part
        after = own.after_call(wanted)
        if after is None:
            raise ValueError(f"{caller} does not call {callee}")
        return module.base + own.rva + after, own

    def after_call(self, caller: str, callee: str) -> int:
        """The return address that `callee` gets when `caller` calls it."""
        return self.resumes(caller, callee)[0]

    def _find(self, symbol: str) -> tuple[Module, str]:
        prefix, name = symbol.split("!")
        for module in self.modules:
            if module.prefix == prefix and module.has(name):
                return module, name
        raise KeyError(symbol)


def guid_bytes(digits: str) -> bytes:
    """A GUID in memory order, from 32 hexadecimal digits."""
    g = bytes.fromhex(digits)
    return g[3::-1] + g[5:3:-1] + g[7:5:-1] + g[8:]


def guid_text(g: bytes) -> str:
    """A GUID in memory order as 32 upper-case hexadecimal digits."""
    return (g[3::-1] + g[5:3:-1] + g[7:5:-1] + g[8:]).hex().upper()


def guid_of(name: str, build: int) -> bytes:
    """The twin's PDB GUID of an image that is not the kernel."""
    return hashlib.sha256(f"pdb {name.casefold()} {build}".encode()).digest()[:16]


def layout(state: CrashState) -> Layout:
    """The layout for `state`. ValueError when `state` contradicts itself, KeyError for an unknown build."""
    check(state)
    nt = kernel(state.build)
    rng = Random(f"layout {state.build} {state.seed}")
    if nt.new:
        base = 0xFFFFF80000000000 + rng.randrange(1, 8) * 0x100000000 + rng.randrange(0x100) * 0x800000
        base += _OFF_2_MIB.get(state.build, 0)
        pool_slot, stack_slot, self_map = rng.sample(range(0x108, 0x1E8), 3)
        if state.build < 14393:  # not yet chosen anew at each boot
            pool_slot, stack_slot, self_map = 0x1C0, 0x1A0, 0x1ED
        pool = _slot(pool_slot) + rng.randrange(0x100, 0x4000) * 0x200000
        stacks = _slot(stack_slot) + rng.randrange(0x1000, 0x200000) * 0x1000
        cursor = base + 0x10000000 + rng.randrange(0x100) * 0x10000
        cr3 = {9600: 0x1A7000, 14393: 0x1AA000, 17763: 0x1AA002}.get(state.build, 0x1AE002)
        system_start = 0xFFFF800000000000
        pfn_database = _slot(0x1F5 if state.build < 14393 else 0x1EA)
    else:
        base = 0xFFFFF80001600000 + rng.randrange(0x40) * 0x1000
        self_map = 0x1ED
        pool = 0xFFFFFA8048000000 + rng.randrange(0x20) * 0x200000
        stacks = 0xFFFFF88005000000 + rng.randrange(0x80) * 0x10000
        cursor = 0xFFFFF88000C00000 + rng.randrange(0x40) * 0x1000
        cr3, system_start, pfn_database = 0x187000, 0xFFFF080000000000, 0xFFFFFA8000000000
    modules: list[Module] = []
    for image in state.images:
        module = identify(image, nt)
        size = module.size
        if module.prefix == "nt":
            at = base
        elif module.prefix == "hal":
            at = base - size if nt.new else base + modules[0].size
        else:
            if module.prefix == "srv2" and not nt.new:
                cursor = max(cursor, 0xFFFFF88003A00000 + rng.randrange(0x80) * 0x10000)
            at, cursor = cursor, cursor + size + rng.randrange(8) * 0x1000
        modules.append(replace(module, base=at))
    if not nt.new:
        stacks = max(stacks, up(cursor, 0x200000))  # system PTEs: the same area as the drivers
    processors = stacks + 0x40000000 if nt.new else 0xFFFFF880009E4000
    return Layout(
        nt,
        tuple(modules),
        cr3 >> 12,
        cr3,
        self_map,
        pool,
        pool + 0x1_0000_0000 + 0xA3C010 if nt.new else 0xFFFFF8A000A3C010,
        stacks,
        processors,
        system_start,
        pfn_database,
        state.five_levels,
    )


def _slot(index: int) -> int:
    """First address below entry `index` (256 or more) of the top page table."""
    return 0xFFFF000000000000 | index << 39


def _source(image: Image, prefix: str, build: int) -> str:
    """Name of the blueprint of an image."""
    match prefix:
        case "nt":
            return f"nt-{build}"
        case "fltmgr":
            return f"fltmgr-{next(since for since in (22000, 14393, 7601) if build >= since)}"
        case "hal" | "srv2" | "Ntfs":
            return prefix.lower()
    if not image.third_party:
        return "inbox"
    return f"driver-{hashlib.sha256(prefix.casefold().encode()).digest()[0] % _DRIVER_VARIANTS}"


def identify(image: Image, nt: Kernel) -> Module:
    """What an image is on a machine with kernel `nt`: it does not depend on the machine's seed."""
    prefix = _SYSTEM.get(image.name.casefold(), image.name.rsplit(".", 1)[0])
    source = _source(image, prefix, nt.build)
    least = _PLAIN_SIZES.get(image.name.casefold(), 0)
    size = up(blueprint(source).size if prefix == "nt" else max(image.size, least, blueprint(source).size))
    stem = image.name.rsplit(".", 1)[0]
    digest = hashlib.sha256(f"image {image.name.casefold()} {nt.build}".encode()).digest()
    third = image.third_party
    if prefix == "nt":
        pdb, guid, age = "ntkrnlmp.pdb", guid_bytes(nt.pdb_guid), nt.pdb_age
    elif third:
        pdb = f"d:\\build\\{stem.lower()}\\x64\\release\\{stem}.pdb"
        guid, age = guid_of(image.name, nt.build), 1 + digest[4] % 3
    else:
        pdb, guid, age = f"{stem.lower()}.pdb", guid_of(image.name, nt.build), 1
    return Module(
        name=image.name,
        prefix=prefix,
        base=0,
        size=size,
        third_party=third,
        pdb=pdb,
        guid=guid,
        age=age,
        timestamp=0x4A5B0000 + int.from_bytes(digest[:4], "little") % 0x14000000,
        company=image.company or (f"{stem} Software" if third else "Microsoft Corporation"),
        version=image.version
        or (f"{1 + digest[5] % 9}.{digest[6] % 10}.{digest[7]}.0" if third else nt.version),
        source=source,
    )
