"""ntoseye reads the same dumps: where it can read at all, it must agree.

Without PDBs it reads small dumps only, and of their stack only the top frame; kernel dumps it opens when it
is given the kernel's PDB.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from ntoseye import PROGRAM, ROOT, run

from benchmarks.crashes import dispatch_crash
from lab.analysis import triage
from lab.dumps import open_dump
from lab.kernel.target import open_kernel
from lab.twin.memory import write_dump

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


@pytest.mark.parametrize("build", [17763, 20348])
def test_it_finds_the_kernel_in_a_kernel_dump(tmp_path: Path, build: int) -> None:
    """Without a PDB it stops there; the id that it asks for is the one that we read."""
    path = tmp_path / "kernel.dmp"
    write_dump(dispatch_crash(build), path, filler_pages=0)
    data = bytearray(path.read_bytes())
    # It takes the page table root as the header has it, PCID and all: bits that belong to no address.
    (root,) = struct.unpack_from("<Q", data, 0x10)
    struct.pack_into("<Q", data, 0x10, root & ~0xFFF)
    path.write_bytes(data)
    with pytest.raises(RuntimeError) as refused:
        run(path, "lm", home=tmp_path)
    with open_dump(path) as dump:
        pdb = open_kernel(dump).nt.pdb
    assert pdb is not None
    assert f"no matching PDB found; attempted {tmp_path}" in str(refused.value)
    assert f"/{pdb.name}/{pdb.guid}{pdb.age:X}/{pdb.name}: not found" in str(refused.value)
