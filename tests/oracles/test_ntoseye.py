"""ntoseye reads the same dumps: where it can read at all, it must agree.

Without PDBs it reads small dumps only, and of their stack only the top frame. With the twin's PDBs it reads
kernel dumps of the 10 family, except those of type 2; verifier's region log and saved state it does not know.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from ntoseye import PROGRAM, ROOT, run

from benchmarks.crashes import dispatch_crash
from lab.analysis import triage
from lab.dumps import open_dump
from lab.kernel.opening import open_kernel
from lab.kernel.processes import read_processes
from lab.kernel.target import Kernel
from lab.kernel.version import read_version
from lab.model import Triage
from lab.symbols import symbol_store
from lab.twin.memory import write_dump, write_symbols

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="ntoseye is not installed (make oracles)")

REAL = ROOT.parent / "shared" / "data" / "kernel-dumps" / "rizin-triage_x64.dmp"
real = pytest.mark.skipif(not REAL.exists(), reason="the real small dump is not at hand")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What ntoseye says of the real small dump."""
    return run(REAL, ".bugcheck", "lm", "r", "k", "!analyze", home=tmp_path_factory.mktemp("ntoseye"))


@real
def test_the_same_bugcheck(said: dict[str, str]) -> None:
    code, *parameters = re.findall(r"\b[0-9a-f]{8,16}\b", said[".bugcheck"])
    found = triage(REAL).bugcheck
    assert (found.code, list(found.parameters)) == (int(code, 16), [int(p, 16) for p in parameters])


@real
def test_the_same_modules(said: dict[str, str]) -> None:
    line = re.compile(r"^([0-9a-f]{16})  ([0-9a-f]{16})  \S+ .* (\\\S+)$", re.MULTILINE)
    theirs = [(int(start, 16), int(end, 16), image) for start, end, image in line.findall(said["lm"])]
    with open_dump(REAL) as dump:
        ours = [(m.base, m.end, m.full_name) for m in open_kernel(dump).modules]
    assert ours == theirs
    assert len(ours) == int(re.findall(r"(\d+) loaded modules total", said["!analyze"])[0])


@real
def test_the_same_registers(said: dict[str, str]) -> None:
    theirs = {
        name: int(value, 16) for name, value in re.findall(r"\b(r[a-z0-9]+) +([0-9a-f]{16})", said["r"])
    }
    with open_dump(REAL) as dump:
        context = dump.context
        ours = {name: context.register(name) for name in theirs if name != "rfl"}
    assert ours == {name: value for name, value in theirs.items() if name != "rfl"}
    assert len(ours) == 17


@real
def test_the_same_top_frame(said: dict[str, str]) -> None:
    pointer, instruction, symbol = re.findall(
        r"^ *00 ([0-9a-f]{16})  ([0-9a-f]{16})  (\S+)", said["k"], re.M
    )[0]
    top = triage(REAL).stack[0]
    assert (top.child_sp, top.instruction, top.symbol) == (int(pointer, 16), int(instruction, 16), symbol)


@real
def test_the_same_culprit(said: dict[str, str]) -> None:
    """It names the driver of the faulting instruction; ours weighs in-box drivers as innocent by default."""
    culprit = re.findall(r"culprit +(\S+)", said["!analyze"])[-1]
    found = triage(REAL)
    blamed = {image for each in found.evidence for image in each.points_to} | {found.stack[0].module}
    assert culprit == "amdppm.sys"
    assert culprit in {image.rpartition("\\")[2] for image in blamed}


# --- kernel dumps, with PDBs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Both:
    """One dump and one store of PDBs, read by both."""

    said: dict[str, str]
    kernel: Kernel
    found: Triage

    def rows(self, command: str, pattern: str) -> list[tuple[str, ...]]:
        return re.findall(pattern, self.said[command], re.MULTILINE)


@pytest.fixture(scope="module", params=[14393, 17763, 20348, 22000])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp(f"kernel-{request.param}")
    crash, path = dispatch_crash(request.param), folder / "kernel.dmp"
    store = folder / "pdbs"
    write_symbols(crash.build, store, crash.images)
    write_dump(crash, path, filler_pages=0)
    data = bytearray(path.read_bytes())
    # It takes the page table root as the header has it, PCID and all: bits that belong to no address.
    (root,) = struct.unpack_from("<Q", data, 0x10)
    struct.pack_into("<Q", data, 0x10, root & ~0xFFF)
    path.write_bytes(data)
    commands = (".bugcheck", "lm", "k", "!thread", "!process 0 0", "!fltkd.instances")
    said = run(path, *commands, home=folder, symbols=store)
    symbols = symbol_store([store], offline=True)
    with open_dump(path) as dump:
        yield Both(said, open_kernel(dump, symbols), triage(path, symbols))


def test_a_kernel_dump_has_the_same_bugcheck(both: Both) -> None:
    code, *parameters = re.findall(r"\b[0-9a-f]{8,16}\b", both.said[".bugcheck"])
    found = both.found.bugcheck
    assert (found.code, list(found.parameters)) == (int(code, 16), [int(p, 16) for p in parameters])


def test_a_kernel_dump_has_the_same_modules_and_versions(both: Both) -> None:
    rows = both.rows("lm", r"^([0-9a-f]{16})  ([0-9a-f]{16})  \S+ +(\S+) .* (\S+)$")
    theirs = [(int(start, 16), int(end, 16), version, name) for start, end, version, name in rows]
    ours = [
        (m.base, m.end, version.file_version.split(" ")[0] if version else "", m.name)
        for m in both.kernel.modules
        for version in (read_version(both.kernel, m),)
    ]
    assert ours == theirs
    assert len(ours) == 9


def test_a_kernel_dump_has_the_same_stack(both: Both) -> None:
    """Stack pointers, instructions, functions and offsets, from the first frame to the last."""
    rows = both.rows("k", r"^ *[0-9a-f]{2} ([0-9a-f]{16})  ([0-9a-f]{16})  (\S+)")
    theirs = [(int(pointer, 16), int(instruction, 16), symbol) for pointer, instruction, symbol in rows]
    ours = [(frame.child_sp, frame.instruction, _plain(frame.symbol)) for frame in both.found.stack]
    assert ours == [(pointer, instruction, _plain(symbol)) for pointer, instruction, symbol in theirs]
    assert len(ours) >= 8


def _plain(symbol: str) -> str:
    """Names that two functions of one address have in common."""
    return symbol.replace("KxStartSystemThread", "KiStartSystemThread")


def test_a_kernel_dump_has_the_same_thread(both: Both) -> None:
    said = dict(both.rows("!thread", r"^  (\S+(?: \S+)*)  +([0-9a-f]{16})$"))
    thread = both.found.thread
    assert thread is not None
    assert thread.address == int(said["KTHREAD"], 16)
    assert (thread.stack_base, thread.stack_limit) == (
        int(said["stack base"], 16),
        int(said["stack limit"], 16),
    )


def test_a_kernel_dump_has_the_same_processes(both: Both) -> None:
    rows = both.rows("!process 0 0", r"^([0-9a-f]{16}) .*\(0x([0-9a-f]+)\).* ([0-9a-f]{16}) .* (\S+)$")
    theirs = [(int(address, 16), name) for address, _, _, name in rows]
    roots = {int(address, 16): int(root, 16) for address, _, root, _ in rows}
    found = read_processes(both.kernel)
    assert [(process.address, process.name) for process in found] == theirs
    assert {process.address: process.directory_table_base & ~0xFFF for process in found} == roots
    assert len(found) >= 7


def test_a_kernel_dump_has_the_same_filter_instances(both: Both) -> None:
    rows = both.rows("!fltkd.instances", r"FLT_INSTANCE: ([0-9a-f]{16}) \"([^\"]+)\" \"(\d+)\"  \S+ (\S+)$")
    dispatch = both.found.dispatch
    assert dispatch is not None
    ours = [(f"{i.address:016x}", i.name, i.altitude, dispatch.volume_name) for i in dispatch.instances]
    assert ours == rows
    assert len(ours) == 2
