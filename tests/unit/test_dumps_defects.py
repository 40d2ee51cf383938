"""Files that are something else, or not whole: each told apart by name and sentence, with what is left."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
from pathlib import Path

import pytest
from dumps_builder import DRIVER, NT, PAGE, context, dump, small_world
from dumps_small import Small, small_dump

from lab.dumps import Defect, DefectiveDump, NotInDump, Severity, open_dump, why_not_whole
from lab.dumps.source import BytesSource
from lab.model import DumpError

WORLD = small_world()
WHOLE = dump(WORLD, 6, record=context(NT + 0x1000, 0xFFFF0000))
PAGE_REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "dump-files.md"


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("MEMORY.DMP", WHOLE[:0x3000])
    return out.getvalue()


def _changed(offset: int, value: bytes, data: bytes = WHOLE) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


REFUSED = [
    (b"", Defect.EMPTY, "the file is empty"),
    (_zip(), Defect.PACKED, "it is a zip archive, not a dump"),
    (gzip.compress(WHOLE), Defect.PACKED, "it is a gzip file, not a dump"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(99), Defect.PACKED, "it is a 7-Zip archive, not a dump"),
    (b"MSCF" + bytes(99), Defect.PACKED, "it is a cabinet, not a dump"),
    (b"MDMP" + bytes(9000), Defect.USER_MODE, "it is a dump of a user-mode process"),
    (bytes(9000), Defect.NOT_WRITTEN, "still being written: its header is not there yet"),
    (b"PAGE" * 3000, Defect.NOT_WRITTEN, "still being written: its header is not there yet"),
    (b"PAGE", Defect.NOT_WRITTEN, "still being written: its header is not there yet"),
    (b"\x7fELF" + bytes(99), Defect.NOT_A_DUMP, "it is not a Windows dump: it begins with"),
]


@pytest.mark.parametrize(("content", "defect", "says"), REFUSED)
def test_what_says_nothing_of_a_kernel(content: bytes, defect: Defect, says: str) -> None:
    for allow in (False, True):
        with pytest.raises(DefectiveDump, match=says) as raised:
            open_dump(BytesSource(content), name="MEMORY.DMP", allow_incomplete=allow)
        assert raised.value.defect is defect
        assert raised.value.help == defect.help
        assert defect.severity is Severity.REFUSED
    assert why_not_whole(content[:0x2100], len(content)) is not None


def _x86() -> bytes:
    raw = bytearray(b"PAGE" * 0x400)
    raw[:8] = b"PAGEDUMP"
    struct.pack_into("<II16xIII4I", raw, 8, 0xF, 2600, 0x14C, 1, 0xA, 1, 2, 3, 4)
    struct.pack_into("<I", raw, 0xF88, 1)
    struct.pack_into("<QQ", raw, 0xFB8, 36_000_000_000, 132_582_767_020_000_000)
    return bytes(raw) + bytes(PAGE)


def _zeroed() -> bytes:
    """Preallocated by its copier: all lengths are right, and no page is there."""
    first = struct.unpack_from("<Q", WHOLE, 0x2020)[0]
    return WHOLE[:first] + bytes(len(WHOLE) - first)


INCOMPLETE = [
    (_x86(), Defect.SYSTEM_32_BIT, "it is a dump of a 32-bit system; only x64"),
    (_changed(0x30, struct.pack("<I", 0xAA64)), Defect.OTHER_MACHINE, "it is a dump of an ARM64 system"),
    (WHOLE[:0x1000], Defect.HEADER_CUT_OFF, "cut off within its header: 4096 of 8192 bytes"),
    (_changed(0xF98, b"PAGE"), Defect.UNFINISHED, "still being written: its type is not set yet"),
    (_changed(0xF98, struct.pack("<I", 0x55)), Defect.UNKNOWN_TYPE, "there is no dump type 0x55"),
    (WHOLE[:0x2000], Defect.HEADER_ONLY, "only its header"),
    (_changed(0xF98, struct.pack("<I", 3)), Defect.HEADER_ONLY, "only its header"),
    (_changed(0x1050, struct.pack("<I", 1 << 8)), Defect.ENCRYPTED, "the dump is encrypted"),
    (WHOLE[:0x4000], Defect.CUT_OFF, "the dump is cut off: 16384 of"),
    (WHOLE[:-1], Defect.CUT_OFF, "the dump is cut off"),
    (WHOLE[:0x2030], Defect.PAGE_MAP_CUT_OFF, "cut off within its second header"),
    (WHOLE[:0x2040], Defect.PAGE_MAP_CUT_OFF, "cut off within its page bitmap"),
    (dump(WORLD, 8)[:0x2050], Defect.PAGE_MAP_CUT_OFF, "cut off within its table of page ranges"),
    (_changed(0x2000, bytes(8)), Defect.PAGE_MAP_DAMAGED, "its second header makes no sense"),
    (_changed(0x2038, b"\1"), Defect.PAGE_MAP_DAMAGED, "the page bitmap is damaged: "),
    (_changed(0x2004, bytes(8), dump(WORLD, 9)), Defect.PAGE_MAP_DAMAGED, "does not read RDMPDUMP"),
    (_changed(0x2018, b"\1", dump(WORLD, 9)), Defect.PAGE_MAP_DAMAGED, "sizes contradict each other"),
    (_changed(0x2030, bytes(8), dump(WORLD, 9)), Defect.PAGE_MAP_DAMAGED, "page ranges hold no page"),
    (_changed(0x88, b"PAGE", dump(WORLD, 1)), Defect.PAGE_MAP_DAMAGED, "memory runs is not readable"),
    (_changed(0x98, b"\xff" * 8, dump(WORLD, 1)), Defect.PAGE_MAP_DAMAGED, "frame 0x10+2 is not possible"),
    (_zeroed(), Defect.PAGES_NOT_WRITTEN, "the pages are not written yet"),
    (_changed(0x10, struct.pack("<Q", 0x500000)), Defect.NO_PAGE_TABLES, "root of the page tables is not in"),
    (_changed(0x10, b"PAGEPAGE"), Defect.NO_PAGE_TABLES, "does not say where the page tables are"),
    (small_dump(Small())[:0x2020], Defect.SMALL_DAMAGED, "cut off before its contents begin"),
    (small_dump(Small())[:0x2400], Defect.SMALL_DAMAGED, "the dump is cut off: 9216 of"),
    (small_dump(Small()).replace(b"TRGD", b"...."), Defect.SMALL_DAMAGED, "the end mark TRGD is not"),
]


@pytest.mark.parametrize(("content", "defect", "says"), INCOMPLETE)
def test_what_is_not_whole_still_tells_of_the_stop(content: bytes, defect: Defect, says: str) -> None:
    with pytest.raises(DefectiveDump, match=says) as raised:
        open_dump(BytesSource(content))
    assert raised.value.defect is defect
    assert defect.severity is Severity.INCOMPLETE
    with open_dump(BytesSource(content), allow_incomplete=True) as opened:
        facts = opened.facts()
        assert not facts.complete
        assert opened.defects[0] is defect and facts.defects[0] == defect.id
        assert re.search(says, facts.warnings[0])
        assert opened.bugcheck.code == (0xA if defect is Defect.SYSTEM_32_BIT else 0x20)
        assert facts.build in (2600, 7601)
        with pytest.raises(DumpError):
            opened.memory.read(0xFFFFF6FB7DBED000, 8)
        for blob in opened.blobs:
            opened.blob_bytes(blob)


@pytest.mark.parametrize("name", ("x86", "ARM64"))
def test_registers_of_another_machine_are_not_mistaken(name: str) -> None:
    content = _x86() if name == "x86" else _changed(0x30, struct.pack("<I", 0xAA64))
    with open_dump(BytesSource(content), allow_incomplete=True) as opened:
        assert opened.facts().machine == name
        assert opened.exception is None
        with pytest.raises(DumpError, match="no registers of an x64 processor"):
            _ = opened.context


def test_a_32_bit_dump_tells_of_its_stop() -> None:
    with open_dump(BytesSource(_x86()), allow_incomplete=True) as opened:
        facts = opened.facts()
        assert (facts.build, facts.processors, facts.system_time) == (2600, 1, "2021-02-20T06:38:22Z")
        assert facts.uptime == 3600.0
        assert opened.bugcheck.parameters == (1, 2, 3, 4)


def test_a_cut_header_tells_what_is_left_of_it() -> None:
    with open_dump(BytesSource(WHOLE[:0x800]), allow_incomplete=True) as opened:
        assert opened.context.rip == NT + 0x1000
        assert opened.header.dump_type is None
        assert opened.facts().system_time == ""
    with open_dump(BytesSource(WHOLE[:9]), allow_incomplete=True) as opened:
        assert opened.bugcheck.parameters == (0, 0, 0, 0)
        with pytest.raises(DumpError, match="context"):
            _ = opened.context


def test_a_cut_dump_reads_as_far_as_it_goes() -> None:
    cut = len(WHOLE) - 8 * PAGE
    with open_dump(BytesSource(WHOLE[:cut]), allow_incomplete=True) as opened:
        assert opened.physical is not None
        kept = 0
        for frame, content in WORLD.frames.items():
            offset = opened.physical.map.offset_of(frame)
            assert offset is not None
            if offset < cut:
                assert opened.physical.page(frame) == bytes(content)
                kept += 1
            else:
                with pytest.raises(NotInDump, match="behind the end of the file"):
                    opened.physical.page(frame)
        assert kept == len(WORLD.frames) - 8


REMARKS = [
    (_changed(0x1050, struct.pack("<I", 1 << 2)), Defect.LEFT_OUT, "Windows left pages out"),
    (_changed(0x90, b"\7", dump(WORLD, 1)), Defect.COUNTS_DIFFER, "the header counts 7 pages"),
    (_changed(0xFA0, struct.pack("<Q", 1 << 30)), Defect.SHORTER_THAN_PLANNED, "planned 1073741824 bytes"),
    (small_dump(Small(options=0x100)), Defect.DRIVERS_LEFT_OUT, "did not fit into the small dump"),
    (_changed(0x20, bytes(16)), Defect.KERNEL_UNREADABLE, "no list of the kernel can be read"),
]


@pytest.mark.parametrize(("content", "defect", "says"), REMARKS)
def test_what_is_only_remarked(content: bytes, defect: Defect, says: str) -> None:
    assert defect.severity is Severity.REMARK
    with open_dump(BytesSource(content)) as opened:
        facts = opened.facts()
        assert facts.complete
        assert facts.defects == (defect.id,)
        assert len(facts.warnings) == 1 and says in facts.warnings[0]


def test_decrypted_dumps_are_read() -> None:
    with open_dump(BytesSource(_changed(0x1050, struct.pack("<I", 1 << 8 | 1 << 9)))) as opened:
        assert opened.defects == ()
        assert opened.memory.read(DRIVER, 2) == b"MZ"


def test_every_defect_is_met_in_these_tests_and_on_its_page() -> None:
    met = {case[1] for case in (*REFUSED, *INCOMPLETE, *REMARKS)}
    assert met == set(Defect)
    assert len({defect.id for defect in Defect}) == len(Defect)
    page = PAGE_REFERENCE.read_text("utf-8")
    for defect in Defect:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{defect.id}` |")]
        assert defect.left in row, f"the page and the program differ on {defect.id}"
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.M) == [defect.id for defect in Defect]
