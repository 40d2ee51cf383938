"""Where everything lies in the crashed kernel's address space: chosen from build, seed and image list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from lab.twin.crash import CrashState
from lab.twin.memory.checks import check
from lab.twin.memory.drivers import driver_functions
from lab.twin.memory.functions import Function, Functions, functions
from lab.twin.memory.records import up
from lab.twin.memory.tables import IMAGE_SIZES, Kernel, kernel

_SYSTEM = {
    "ntoskrnl.exe": "nt",
    "hal.dll": "hal",
    "srv2.sys": "srv2",
    "fltmgr.sys": "fltmgr",
    "ntfs.sys": "Ntfs",
}
_PLAIN_SIZES = {"fltmgr.sys": 0x71000, "ntfs.sys": 0x2B0000, "srv2.sys": 0xC9000, "hal.dll": 0xA3000}


@dataclass(frozen=True)
class Module:
    """An image in memory. `prefix` is its name in symbols ("nt", "srv2", "BadDriver")."""

    name: str
    prefix: str
    base: int
    size: int
    third_party: bool
    pdb: str  # as its CodeView record has it
    guid: bytes  # 16 bytes, as in memory
    age: int
    timestamp: int
    functions: tuple[Function, ...]

    @property
    def pdb_guid(self) -> str:
        """32 upper-case hexadecimal digits, as symbol paths have it."""
        return guid_text(self.guid)


@dataclass(frozen=True)
class Layout:
    """Addresses of one machine. `modules` are in load order."""

    kernel: Kernel
    functions: Functions
    modules: tuple[Module, ...]
    directory: int  # frame of the top page table
    cr3: int
    self_map: int  # entry of the top page table
    pool: int
    stacks: int
    processors: int
    system_start: int
    pfn_database: int

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
        """Address of a function, "fltmgr!FltpDispatch"; KeyError when there is none."""
        module, function = self._find(symbol)
        return module.base + function.rva

    def function(self, symbol: str) -> Function:
        """The function itself; KeyError when there is none."""
        return self._find(symbol)[1]

    def after_call(self, caller: str, callee: str) -> int:
        """The return address that `callee` gets when `caller` calls it."""
        return self.address(caller) + self.function(caller).after_call(callee)

    def _find(self, symbol: str) -> tuple[Module, Function]:
        prefix, _ = symbol.split("!")
        for module in self.modules:
            if module.prefix == prefix:
                for function in module.functions:
                    if function.name == symbol:
                        return module, function
        raise KeyError(symbol)


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
    known = functions(nt)
    rng = Random(f"layout {state.build} {state.seed}")
    if nt.new:
        base = 0xFFFFF80000000000 + rng.randrange(1, 8) * 0x100000000 + rng.randrange(0x100) * 0x800000
        base += 0xB3000 if state.build == 17763 else 0
        pool_slot, stack_slot, self_map = rng.sample(range(0x108, 0x1E8), 3)
        pool = _slot(pool_slot) + rng.randrange(0x100, 0x4000) * 0x200000
        stacks = _slot(stack_slot) + rng.randrange(0x1000, 0x200000) * 0x1000
        cursor = base + 0x10000000 + rng.randrange(0x100) * 0x10000
        cr3 = 0x1AA002 if state.build == 17763 else 0x1AE002
        system_start, pfn_database = 0xFFFF800000000000, _slot(0x1EA)
    else:
        base = 0xFFFFF80001600000 + rng.randrange(0x40) * 0x1000
        self_map = 0x1ED
        pool = 0xFFFFFA8048000000 + rng.randrange(0x20) * 0x200000
        stacks = 0xFFFFF88005000000 + rng.randrange(0x80) * 0x10000
        cursor = 0xFFFFF88000C00000 + rng.randrange(0x40) * 0x1000
        cr3, system_start, pfn_database = 0x187000, 0xFFFF080000000000, 0xFFFFFA8000000000
    modules = []
    for image in state.images:
        key = image.name.casefold()
        prefix = _SYSTEM.get(key, image.name.rsplit(".", 1)[0])
        own = known.of(prefix) if key in _SYSTEM else driver_functions(prefix)
        size = up(max(image.size, _PLAIN_SIZES.get(key, 0), 0x10000 + max((f.rva for f in own), default=0)))
        if prefix == "nt":
            size, at = IMAGE_SIZES[state.build], base
        elif prefix == "hal":
            at = base - size if nt.new else base + IMAGE_SIZES[state.build]
        else:
            if prefix == "srv2" and not nt.new:
                cursor = max(cursor, 0xFFFFF88003A00000 + rng.randrange(0x80) * 0x10000)
            at, cursor = cursor, cursor + size + rng.randrange(8) * 0x1000
        modules.append(_module(state, image.name, prefix, at, size, image.third_party, own, nt))
    if not nt.new:
        stacks = max(stacks, up(cursor, 0x200000))  # system PTEs: the same area as the drivers
    processors = stacks + 0x40000000 if nt.new else 0xFFFFF880009E4000
    return Layout(
        nt,
        known,
        tuple(modules),
        cr3 >> 12,
        cr3,
        self_map,
        pool,
        stacks,
        processors,
        system_start,
        pfn_database,
    )


def _slot(index: int) -> int:
    """First address below entry `index` (256 or more) of the top page table."""
    return 0xFFFF000000000000 | index << 39


def _module(
    state: CrashState,
    name: str,
    prefix: str,
    base: int,
    size: int,
    third_party: bool,
    own: tuple[Function, ...],
    nt: Kernel,
) -> Module:
    stem = name.rsplit(".", 1)[0]
    digest = hashlib.sha256(f"image {name.casefold()} {state.build}".encode()).digest()
    timestamp = 0x4A5B0000 + int.from_bytes(digest[:4], "little") % 0x14000000
    if prefix == "nt":
        g = bytes.fromhex(nt.pdb_guid)
        guid = g[3::-1] + g[5:3:-1] + g[7:5:-1] + g[8:]
        return Module(name, prefix, base, size, False, "ntkrnlmp.pdb", guid, nt.pdb_age, timestamp, own)
    pdb = f"d:\\build\\{stem.lower()}\\x64\\release\\{stem}.pdb" if third_party else f"{stem.lower()}.pdb"
    age = 1 + digest[4] % 3 if third_party else 1
    return Module(name, prefix, base, size, third_party, pdb, guid_of(name, state.build), age, timestamp, own)
