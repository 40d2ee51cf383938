"""KUSER_SHARED_DATA: the page that Windows maps at one address in every kernel (public header ntddk.h)."""

from __future__ import annotations

from lab.twin.crash import CrashState
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory
from lab.twin.memory.records import Record, filetime

ADDRESS = 0xFFFF_F780_0000_0000
_SERVER = 3  # NtProductServer
_AMD64 = 9  # PROCESSOR_ARCHITECTURE_AMD64
_VERSIONS = {7601: (6, 1), 9600: (6, 3)}
_FIRST_10 = 10240


def write_shared_data(memory: Memory, at: Layout, state: CrashState) -> None:
    """Versions, times and the system's folder, as other analysers recognise Windows by them."""
    record = Record(0x720)
    record.u32(0x4, 0x0FA00000)  # TickCountMultiplier: 15.625 ms a tick
    for offset, value in ((0x8, int(state.uptime_seconds * 1e7)), (0x14, filetime(state.system_time))):
        record.u64(offset, value)
        record.u32(offset + 8, value >> 32)  # High2Time
    record.bytes(0x30, r"C:\Windows".encode("utf-16-le"))
    if state.build >= _FIRST_10:
        record.u32(0x260, state.build)  # NtBuildNumber; before, it was not there
    record.u32(0x264, _SERVER)
    record.u8(0x268, 1)
    if at.kernel.new:
        record.u16(0x26A, _AMD64)
    major, minor = _VERSIONS.get(state.build, (10, 0))
    record.u32(0x26C, major)
    record.u32(0x270, minor)
    record.u64(0x320, int(state.uptime_seconds * 64))
    memory.write(ADDRESS, record.data)
    memory.forbid_execution(ADDRESS)
