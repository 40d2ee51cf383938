"""KDDEBUGGER_DATA64 and the variables it leads to, in clear, as a bugcheck leaves them."""

from __future__ import annotations

import struct

from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record
from lab.twin.memory.tables import LABS

_VARIABLES = {
    0x48: "PsLoadedModuleList",
    0x50: "PsActiveProcessHead",
    0x58: "PspCidTable",
    0x88: "KiBugCheckData",
    0xC0: "MmPfnDatabase",
    0x1C8: "MmHighestUserAddress",
    0x1D0: "MmSystemRangeStart",
    0x208: "NtBuildLab",
    0x218: "KiProcessorBlock",
    0x220: "MmUnloadedDrivers",
    0x228: "MmLastUnloadedDriver",
    0x240: "KernelVerifier",
    0x248: "MmVerifierData",
    0x270: "MmPhysicalMemoryBlock",
}


def write_debugger_data(
    memory: Memory,
    at: Layout,
    code: int,
    parameters: tuple[int, int, int, int],
    processors: int,
    *,
    encoded: bool = False,
) -> None:
    """The block, the list it is on, KdVersionBlock, and the plain variables.

    A bug check decodes the block; with `encoded` it is as it was before.
    """
    k = at.kernel
    address, head = at.variable("KdDebuggerDataBlock"), at.variable("KdpDebuggerDataListHead")
    size = 0x360 if k.new else 0x340
    block = Record(size)
    block.u64(0, head)
    block.u64(8, head)
    block.bytes(0x10, b"KDBG")
    block.u32(0x14, size)
    block.u64(0x18, at.nt.base)
    block.u64(0x20, at.address("nt!DbgBreakPointWithStatus"))
    for offset, name in _VARIABLES.items():
        block.u64(offset, at.variable(name))
    block.u64(0x138, 0x1000)  # MmPageSize
    for offset, value in (
        (0x29A, k.at("KTHREAD.Teb")),
        (0x29C, k.at("KTHREAD.KernelStack")),
        (0x29E, k.at("KTHREAD.InitialStack")),
        (0x2A0, k.at("KTHREAD.ApcState") + 0x20),
        (0x2A2, k.at("KTHREAD.State")),
        (0x2A8, k.sizes["EPROCESS"]),
        (0x2AA, k.at("EPROCESS.Peb")),
        (0x2AC, k.at("EPROCESS.InheritedFromUniqueProcessId")),
        (0x2AE, 0x28),
        (0x2B0, k.sizes["KPRCB"]),
        (0x2B4, k.at("KPRCB.CurrentThread")),
        (0x2B6, k.at("KPRCB.MHz")),
        (0x2BA, k.at("KPRCB.VendorString")),
        (0x2BC, k.at("KPRCB.ProcessorState") + k.context_frame),
        (0x2BE, k.at("KPRCB.Number")),
        (0x2C0, k.sizes["ETHREAD"]),
        (0x2E0, 0x180 + k.sizes["KPRCB"]),
        (0x2E2, 0x18),
        (0x2E4, 0x20),
        (0x2E6, 0x180),
        (0x2F2, k.at("KPRCB.ProcessorState")),
        (0x338, k.at("KPRCB.Context")),
    ):
        block.u16(offset, value)
    memory.write(address, _encoded(memory, at, block.data) if encoded else block.data)
    memory.write(head, struct.pack("<QQ", address, address))
    version = struct.pack(
        "<HHBBHHBBBBHQQQ",
        *(0xF, k.build, 6, 2, 0x47, 0x8664, 12, 3, 0x33, 0, 0),
        *(at.nt.base, at.variable("PsLoadedModuleList"), head),
    )
    memory.write(at.variable("KdVersionBlock"), version)
    memory.write(at.variable("KiBugCheckData"), struct.pack("<5Q", code, *parameters))
    memory.write(at.variable("NtBuildLab"), LABS[k.build].encode() + b"\0")
    memory.u64(at.variable("MmSystemRangeStart"), at.system_start)
    memory.u64(at.variable("MmHighestUserAddress"), 0x7FFFFFFEFFFF if k.new else 0x7FFFFFEFFFF)
    memory.u64(at.variable("MmPfnDatabase"), at.pfn_database)
    memory.u32(at.variable("KeNumberProcessors"), processors)


def _encoded(memory: Memory, at: Layout, block: bytearray) -> bytes:
    """The block as Windows keeps it while it runs; QEMU's elf2dmp describes how it is decoded."""
    never, always = 0x1C9B2F5D6A7E48A3, 0x75D3C10E9F2B8846
    memory.u64(at.variable("KiWaitNever"), never)
    memory.u64(at.variable("KiWaitAlways"), always)
    key = at.variable("KdpDataBlockEncoded")
    memory.write(key, b"\1")
    turn = never & 0x3F
    words = []
    for (plain,) in struct.iter_unpack("<Q", block):
        mixed = int.from_bytes((plain ^ always).to_bytes(8, "little"), "big") ^ key
        words.append((mixed >> turn | mixed << 64 - turn) & 0xFFFFFFFFFFFFFFFF ^ never)
    return struct.pack(f"<{len(words)}Q", *words)


def place_physical_memory_block(memory: Memory, pool: Pool, at: Layout) -> int:
    """Room for MmPhysicalMemoryBlock; it is filled when all memory is known."""
    address = pool.take(0x10 + 16 * 42, b"MmPh")
    memory.u64(at.variable("MmPhysicalMemoryBlock"), address)
    return address


def write_physical_memory_block(memory: Memory, address: int, runs: tuple[tuple[int, int], ...]) -> None:
    """The runs of physical memory, as the dump's header has them."""
    data = struct.pack("<IIQ", len(runs), 0, sum(count for _, count in runs))
    memory.write(address, data + b"".join(struct.pack("<QQ", *run) for run in runs))
