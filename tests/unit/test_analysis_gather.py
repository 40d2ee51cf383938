"""From bytes of a kernel to what the parameters lead to, who made an image, and where the code was."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from dumps_builder import context, image
from kernel_bytes import BAD, NT, NTFS, OTHER, POOL, STACK, Bytes, device_object, driver_object, irp, kernel

from lab.analysis import triage
from lab.analysis.gather.attempt import attempt, quietly, sentence
from lab.analysis.gather.dispatch import read_call
from lab.analysis.gather.exception import in_short, read_record, read_trap
from lab.analysis.gather.modules import read_modules
from lab.analysis.gather.parameters import named_driver, read_targets, text_at, with_users
from lab.analysis.gather.pool import read_block, tag_text, users
from lab.dumps.context import parse_context
from lab.dumps.dump import open_dump
from lab.dumps.source import BytesSource
from lab.kernel.irp import is_irp
from lab.kernel.opening import open_kernel
from lab.kernel.target import Kernel
from lab.model import Bugcheck, DumpError, FilterInstance, Origin, Strength
from lab.symbols.port import PdbId
from lab.twin.crash import CrashState, Image, Instance, Stop
from lab.twin.memory import write_dump

PAGE = POOL + 0x40000
FOREIGN = frozenset({"baddriver.sys", "other.sys"})
EMPTY = Bugcheck(0xC4, (0x3E, 0, 0, 0))


def pool_page(memory: Bytes, *blocks: tuple[int, bytes]) -> None:
    """A page of pool at PAGE: (size of the block with its header, tag) in order."""
    memory.fill(PAGE, 0x1000)
    at, previous = PAGE, 0
    for size, tag in blocks:
        memory.put(at, struct.pack("<4B4s", previous // 16, 0, size // 16, 2, tag))
        at, previous = at + size, size


class TestTexts:
    def test_a_counted_string(self) -> None:
        memory = Bytes()
        memory.text(POOL, "BadDriver.sys", POOL + 0x100)
        assert text_at(kernel(memory), POOL) == "BadDriver.sys"

    @pytest.mark.parametrize("raw", [b"BadDriver.sys\0", "BadDriver.sys\0".encode("utf-16-le")])
    def test_characters_up_to_a_nul(self, raw: bytes) -> None:
        memory = Bytes()
        memory.put(POOL, raw.ljust(0x400, b"\0"))
        assert text_at(kernel(memory), POOL) == "BadDriver.sys"

    def test_characters_at_the_end_of_what_the_dump_holds(self) -> None:
        memory = Bytes()
        memory.put(POOL + 0xFF0, b"BadDriver.sys\0\0\0")
        assert text_at(kernel(memory), POOL + 0xFF0) == "BadDriver.sys"

    @pytest.mark.parametrize("address", [0, 0x1000, POOL])
    def test_what_is_no_text(self, address: int) -> None:
        memory = Bytes()
        memory.put(POOL, bytes(range(1, 256)) * 4)
        assert text_at(kernel(memory), address) == ""

    def test_the_name_on_the_blue_screen(self) -> None:
        memory = Bytes()
        memory.u64(NT + 0x1000, POOL)
        memory.text(POOL, "BadDriver", POOL + 0x100)
        assert named_driver(kernel(memory, more={"KiBugCheckDriver": 0x1000})) == "BadDriver"
        assert named_driver(kernel(memory)) == ""


class TestPool:
    @pytest.mark.parametrize(
        ("value", "text"),
        [(0x64614264, "dBad"), (0xE4614264, "dBad"), (0x20206B70, "pk"), (0, ""), (0xFF, "")],
    )
    def test_tags(self, value: int, text: str) -> None:
        assert tag_text(value) == text

    def test_a_block_by_its_page(self) -> None:
        memory = Bytes()
        pool_page(memory, (0x40, b"Frst"), (0x100, b"BadD"), (0xEC0, b"Last"))
        found = read_block(kernel(memory), PAGE + 0x50)
        assert found is not None
        assert (found.tag, found.size) == ("BadD", 0xF0)
        assert read_block(kernel(memory), 0x50) is None

    def test_special_pool_has_its_header_at_the_start_of_the_page(self) -> None:
        memory = Bytes()
        memory.fill(PAGE, 0x1000)
        memory.put(PAGE + 4, b"BadD")
        found = read_block(kernel(memory), PAGE + 0xFC0, special=True)
        assert found is not None
        assert found.tag == "BadD"

    def test_users_of_a_tag_are_images_whose_code_holds_it(self) -> None:
        memory = Bytes()
        memory.put(BAD, image("bad.pdb", text={0x1234: b"\x41\xb8BadD"}))
        memory.put(OTHER, image("other.pdb", text={0x6100: b"BadD"}))  # not in code
        read = kernel(memory)
        assert users(read, "BadD", read.modules) == ("BadDriver.sys",)
        assert users(read, "None", read.modules) == ()

    def test_code_that_is_partly_missing_is_searched_as_far_as_it_goes(self) -> None:
        memory = Bytes()
        raw = image("bad.pdb", text={0x3100: b"BadD"})
        memory.put(BAD, raw[:0x1000])
        memory.put(BAD + 0x3000, raw[0x3000:0x4000])
        read = kernel(memory)
        assert users(read, "BadD", read.modules) == ("BadDriver.sys",)


def devices(memory: Bytes) -> tuple[int, int]:
    """(device of BadDriver, device of Ntfs below it)."""
    upper = driver_object(memory, POOL + 0x1000, r"\Driver\BadDriver", BAD, 0x10000, BAD + 0x100)
    lower = driver_object(memory, POOL + 0x2000, r"\FileSystem\Ntfs", NTFS, 0x100000, NTFS + 0x100)
    top, bottom = POOL + 0x3000, POOL + 0x4000
    device_object(memory, top, upper, below=bottom)
    device_object(memory, bottom, lower, above=top)
    return top, bottom


class TestTargets:
    def test_a_device_with_its_stack(self) -> None:
        memory = Bytes()
        top, bottom = devices(memory)
        found = read_targets(kernel(memory), Bugcheck(0xC9, (0x5, bottom, 0, 2))).devices[bottom]
        assert (found.driver, found.image) == (r"\FileSystem\Ntfs", "Ntfs.sys")
        assert found.stack == (
            (top, r"\Driver\BadDriver", "BadDriver.sys"),
            (bottom, r"\FileSystem\Ntfs", "Ntfs.sys"),
        )

    def test_a_driver_object(self) -> None:
        memory = Bytes()
        devices(memory)
        found = read_targets(kernel(memory), Bugcheck(0x9F, (2, 0, 0, POOL + 0x1000)))
        assert found.devices[POOL + 0x1000].image == "BadDriver.sys"

    def test_a_blocked_power_irp_and_the_stack_it_is_for(self) -> None:
        memory = Bytes()
        top, bottom = devices(memory)
        request = irp(memory, POOL + 0x6000, [bottom, top], current=2, major=22, minor=2)
        found = read_targets(kernel(memory), Bugcheck(0x9F, (3, bottom, 0, request)))
        assert found.requests[request].image == "BadDriver.sys"
        assert (found.requests[request].major, found.requests[request].device) == (22, top)
        assert [image for _, _, image in found.devices[bottom].stack] == ["BadDriver.sys", "Ntfs.sys"]

    def test_a_block_of_pool_with_the_users_of_its_tag(self) -> None:
        memory = Bytes()
        pool_page(memory, (0x40, b"BadD"), (0xFC0, b"Last"))
        memory.put(BAD, image("bad.pdb", text={0x1234: b"BadD"}))
        read = kernel(memory)
        found = read_targets(read, Bugcheck(0x19, (0x21, PAGE + 0x10, 0x30, 0)))
        assert with_users(read, found.pool, FOREIGN)[PAGE + 0x10].users == ("BadDriver.sys",)

    def test_a_tag_in_the_parameters(self) -> None:
        memory = Bytes()
        memory.put(OTHER, image("other.pdb", text={0x1234: b"Othr"}))
        tag = int.from_bytes(b"Othr", "little")
        read = kernel(memory)
        found = read_targets(read, Bugcheck(0xC2, (0, 0, 0, tag)))
        assert with_users(read, found.pool, FOREIGN)[tag].users == ("Other.sys",)

    @pytest.mark.parametrize(
        "stop",
        [
            Bugcheck(0xC9, (0x5, POOL, 0, 2)),
            Bugcheck(0x9F, (3, POOL, POOL, POOL)),
            Bugcheck(0x9F, (4, 300, POOL, POOL)),
            Bugcheck(0x19, (0x20, POOL, POOL, 0)),
            Bugcheck(0xC4, (0x62, POOL, POOL, 0)),
            Bugcheck(0xC4, (0x1F0, POOL, POOL, 0)),
            Bugcheck(0xEA, (POOL, POOL, POOL, 0)),
            Bugcheck(0x7E, (2**64 - 1,) * 4),
        ],
    )
    def test_parameters_that_lead_nowhere_lead_to_nothing(self, stop: Bugcheck) -> None:
        found = read_targets(kernel(Bytes()), stop)
        assert not any((found.devices, found.requests, found.pool))
        assert not any((*found.texts.values(), *found.stacks.values()))


class TestException:
    def test_the_record_is_better_than_the_parameters(self) -> None:
        memory = Bytes()
        memory.fill(POOL, 0x98)
        memory.u32(POOL, 0xC0000094)
        memory.u64(POOL + 0x10, BAD + 4)
        found = in_short(read_record(kernel(memory), Bugcheck(0x7E, (0xC0000005, BAD, POOL, 0))))
        assert found is not None
        assert (found.code, found.address) == (0xC0000094, BAD + 4)
        missing = in_short(read_record(kernel(Bytes()), Bugcheck(0x7E, (0xFFFFFFFFC0000005, BAD, POOL, 0))))
        assert missing is not None
        assert (missing.code, missing.address) == (0xC0000005, BAD)
        assert in_short(read_record(kernel(Bytes()), Bugcheck(0x20))) is None

    def test_the_whole_record_and_the_registers_of_the_fault(self) -> None:
        memory = Bytes()
        memory.put(POOL, struct.pack("<IIQQI4x15Q", 0xC0000005, 1, 0, BAD + 4, 2, 1, 0x10, *[7] * 13))
        memory.put(POOL + 0x800, context(BAD + 4, STACK, r11=0x77))
        found = read_record(kernel(memory), Bugcheck(0x7E, (0xC0000005, BAD + 4, POOL, POOL + 0x800)))
        assert found is not None
        assert (found.name, found.symbol, found.flags) == ("STATUS_ACCESS_VIOLATION", "BadDriver+0x4", 1)
        assert found.parameters == (1, 0x10), "no more than the record counts"
        values = dict(found.registers)
        assert len(values) == 18
        assert (values["rip"], values["rsp"], values["r11"]) == (BAD + 4, STACK, 0x77)
        assert values["eflags"] == 0x246
        assert "parameter 4" in found.registers_where

    def test_a_count_that_lies_gives_no_more_than_a_record_holds(self) -> None:
        memory = Bytes()
        memory.put(POOL, struct.pack("<IIQQI4x15Q", 1, 0, 0, BAD, 0xFFFFFFFF, *range(15)))
        found = read_record(kernel(memory), Bugcheck(0x7E, (1, BAD, POOL, POOL + 0x8000)))
        assert found is not None
        assert found.parameters == tuple(range(15))
        assert found.registers == (), "those of the header are of other code"

    def test_the_registers_of_the_header_where_they_are_of_the_fault(self) -> None:
        stopped = kernel(Bytes())
        vars(stopped.dump)["context"] = parse_context(context(BAD + 4, STACK))
        found = read_record(stopped, Bugcheck(0x1E, (0xC0000005, BAD + 4, 0, 0x10)))
        assert found is not None
        assert (found.attempt, found.flags) == ("Attempt to read from address 0000000000000010", None)
        assert dict(found.registers)["rip"] == BAD + 4
        assert read_record(kernel(Bytes()), Bugcheck(0x20)) is None

    @pytest.mark.parametrize(("code", "number"), [(0x139, 2), (0x8E, 3)])
    def test_the_trap_frame(self, code: int, number: int) -> None:
        memory = Bytes()
        memory.fill(POOL, 0x190)
        memory.u64(POOL + 0x168, BAD + 0x77)
        parameters = [0, 0, 0, 0]
        parameters[number - 1] = POOL
        stop = Bugcheck(code, (parameters[0], parameters[1], parameters[2], parameters[3]))
        found = read_trap(kernel(memory), stop)
        assert found is not None
        assert (found.instruction, found.symbol) == (BAD + 0x77, "BadDriver+0x77")
        memory.u64(POOL + 0x168, 0x1234)
        assert read_trap(kernel(memory), stop) is None
        assert read_trap(kernel(Bytes()), stop) is None


def with_path(read: Kernel, name: str, path: str) -> Kernel:
    """`read` with the CodeView path of one module."""
    changed = tuple(
        replace(m, pdb=PdbId("x.pdb", "0" * 32, 1, path)) if m.name == name else m for m in read.modules
    )
    return replace(read, modules=changed)


class TestModules:
    def test_by_name(self) -> None:
        found = read_modules(kernel(Bytes()), {}, (), (), (), [])
        assert [m.origin for m in found] == [Origin.IN_BOX] * 4 + [Origin.THIRD_PARTY] * 2
        assert found[0].origin_because == "the kernel itself"
        assert found[4].pdb == f"bad.pdb/{'0' * 32}1"

    def test_an_impostor_by_its_pdb_path(self) -> None:
        read = with_path(kernel(Bytes()), "Ntfs.sys", r"D:\evil\ntfs.pdb")
        found = {m.name: m for m in read_modules(read, {}, (), (), (), [])}
        assert found["Ntfs.sys"].origin is Origin.THIRD_PARTY
        assert r"D:\evil\ntfs.pdb" in found["Ntfs.sys"].origin_because

    def test_an_impostor_on_the_volume_by_its_version_resource(self, tmp_path: Path) -> None:
        names = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys", "luafv.sys")
        crash = CrashState(
            17763,
            1,
            Stop.DISPATCH_CHANGED_APC,
            (*(Image(name, False) for name in names), Image("fileinfo.sys", True)),
            7,
            instances=(Instance("a", "45000", "fileinfo.sys"), Instance("b", "135000", "luafv.sys")),
        )
        write_dump(crash, tmp_path / "MEMORY.DMP", filler_pages=0)
        found = triage(tmp_path / "MEMORY.DMP")
        modules = {m.name: m for m in found.modules}
        assert modules["luafv.sys"].company == "Microsoft Corporation"
        assert modules["luafv.sys"].origin is Origin.IN_BOX
        assert modules["fileinfo.sys"].origin is Origin.THIRD_PARTY
        assert modules["fileinfo.sys"].company in modules["fileinfo.sys"].origin_because
        assert modules["hal.dll"].version == "", "nobody may accuse it: it is not read any further"
        assert any("fileinfo.sys is not what its name says" in note for note in found.notes)
        assert [s.image for s in found.suspects] == ["fileinfo.sys"]

    def test_the_altitude_of_a_minifilter_is_a_hint(self) -> None:
        instance = FilterInstance(1, "x", "189600", "x", "BadDriver.sys", Origin.UNKNOWN, None)
        found = {m.name: m for m in read_modules(kernel(Bytes()), {}, (), (), (instance,), [])}
        assert "FSFilter HSM" in found["BadDriver.sys"].origin_because


class TestCall:
    def test_only_of_stops_about_a_call(self) -> None:
        assert read_call(kernel(Bytes()), EMPTY, (), []) is None

    def test_without_anything_it_is_said_and_not_raised(self) -> None:
        notes: list[str] = []
        found = read_call(kernel(Bytes()), Bugcheck(0xC4, (0xC5, BAD, 0xFFFF, 0)), (), notes)
        assert found is not None
        assert (found.state, found.major, found.elsewhere) == (None, None, ())
        assert "invariants" in notes[0]

    def test_without_the_saved_state_the_device_is_a_guess(self, tmp_path: Path) -> None:
        names = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
        images = (*(Image(name, False) for name in names), Image("BadDriver.sys", True))
        crash = CrashState(
            20348,
            1,
            Stop.DISPATCH_CHANGED_APC,
            images,
            7,
            instances=(Instance("a", "189600", "BadDriver.sys"),),
        )
        path = tmp_path / "MEMORY.DMP"
        write_dump(crash, path, filler_pages=0)
        whole = triage(path)
        assert whole.dispatch is not None
        with open_dump(path) as dump:
            assert is_irp(open_kernel(dump), whole.dispatch.irp)
        assert {e.rule: e.strength for e in whole.evidence}["0xc4.c5.only-minifilter"] is Strength.STRONG
        raw, routine = bytearray(path.read_bytes()), struct.pack("<Q", whole.dispatch.dispatch_routine)
        device = struct.pack("<Q", whole.dispatch.device)
        at = raw.find(routine)
        while at >= 0:
            if raw[at + 0x70 : at + 0x78] == device:  # +0x30 the routine, +0xA0 the device
                raw[at : at + 8] = bytes(8)
            at = raw.find(routine, at + 8)
        found = triage(BytesSource(bytes(raw)), name="without")
        assert any("invariants of Verifier's saved state" in note for note in found.notes)
        assert [s.image for s in found.suspects] == ["BadDriver.sys"]
        strengths = {e.strength for e in found.evidence if e.points_to}
        assert strengths <= {Strength.WEAK, Strength.MODERATE}, "a guess is never strong"


def test_attempts() -> None:
    notes: list[str] = []

    def missing() -> int:
        raise DumpError("the page is not in the dump")

    def nonsense() -> int:
        return int(struct.unpack("<I", b"")[0])

    assert attempt(notes, "The stack", lambda: 7) == 7
    assert attempt(notes, "The stack", missing) is None
    assert attempt(notes, "The stack", nonsense) is None
    assert notes[0] == "The stack could not be read: the page is not in the dump."
    assert "damaged" in notes[1]
    assert quietly(missing) is quietly(nonsense) is None
    assert sentence("a note") == "A note."
