"""Names, structures and fields of PDBs, of clang's and of such as only other compilers make."""

from __future__ import annotations

import struct

import pytest
from pdb_samples import (
    ABSENT,
    by_hand,
    container,
    content,
    dbi,
    info,
    pdb,
    public,
    record,
    sections,
    streams,
    tpi,
)
from work_counter import lines_run

from lab.kernel.image import parse_rsds
from lab.model import ConfigurationError
from lab.symbols.files import Bytes
from lab.symbols.pdb import Pdb


def opened(data: bytes) -> Pdb:
    return Pdb(Bytes(data), "x.pdb")


# --- what clang made -------------------------------------------------------------------------


def test_the_id_is_the_one_that_the_image_carries() -> None:
    image = content("layouts.sys")
    at = image.index(b"RSDS")
    carried = parse_rsds(image[at : at + 24 + 64])
    assert b"C:\\build\\layouts.pdb" in image
    assert (carried.name, carried.guid, carried.age) == (
        "layouts.pdb",
        pdb("layouts").guid,
        pdb("layouts").age,
    )


def test_names_of_functions_and_data() -> None:
    found = pdb("layouts")
    assert found.rva("Visible") == 0x1000
    assert found.rva("Hidden") == 0x1020  # static: not a public, but in its module's symbols
    assert found.rva("HiddenThread") == 0x3000
    assert found.rva("NoSuchName") is None
    assert found.nearest(0x1025) == ("Hidden", 5)
    assert found.nearest(0xFFF) is None
    assert found.source == "PDB layouts.pdb"


def test_plain_names_go_before_decorated_ones() -> None:
    found = pdb("classes")
    assert found.rva("?Read@Base@storage@@UEAAHH@Z") == found.rva("storage::Base::Read") == 0x1000
    assert found.nearest(0x1003) == ("storage::Base::Read", 3)


@pytest.mark.parametrize(
    ("field", "offset"),
    [
        ("Type", 0),
        ("Tail", 8),
        ("Tail.CompletionKey", 8),
        ("Tail.Overlay.Thread", 0x28),
        ("Tail.Overlay.DeviceQueueEntry.Blink", 0x10),
        ("Tail.Overlay.CurrentStackLocation", 0x40),
        ("Tail.Overlay.CurrentStackLocation.Irp", None),  # a pointer leads to another structure
        ("Threads", 0x60),
        ("Threads.Counter", None),  # an array has no fields
        ("State", 0x1A0),
        ("Nothing", None),
        ("Tail.Nothing", None),
        ("", None),
        ("Tail.", None),
    ],
)
def test_fields_of_an_irp(field: str, offset: int | None) -> None:
    assert pdb("layouts").offset("_IRP", field) == offset


@pytest.mark.parametrize(
    ("type_name", "field", "offset"),
    [
        ("_THREAD", "SpecialApcDisable", 0x12),  # in a nameless structure in a nameless union
        ("_THREAD", "Level", 0x18),  # a bit field: where its unit is
        ("_THREAD", "Name.Buffer", 0x40),  # const volatile
        ("_PACKED", "Eight", 1),
        ("_HUGE", "Last", 0x12345 + 3 + 4 + 0x7FFFFFFF),  # more than 31 bits
        ("_EITHER", "C.Two", 9),
        ("_NEVER_DEFINED", "Anything", None),
    ],
)
def test_fields_of_other_structures(type_name: str, field: str, offset: int | None) -> None:
    assert pdb("layouts").offset(type_name, field) == offset


def test_sizes() -> None:
    found = pdb("layouts")
    assert (found.size("_IRP"), found.size("_PACKED"), found.size("_EITHER")) == (0x1A8, 11, 16)
    assert found.size("_NEVER_DEFINED") is None
    assert pdb("classes").size("storage::Box<storage::Plain>") == 40


def test_fields_of_bases_are_the_structures_own() -> None:
    found = pdb("classes")
    assert found.offset("storage::Derived", "InBase") == 8
    assert found.offset("storage::Derived", "Wide") == 0x10  # of the second base
    assert found.offset("storage::Derived", "Member.Inner.Y") == 0x30
    assert found.offset("storage::Derived", "Shared") is None  # static
    assert found.offset("storage::Diamond", "Own") == 0x10
    assert found.offset("storage::Diamond", "Theirs") == 0x20
    assert found.offset("storage::Diamond", "Wide") is None  # of a virtual base: not at a fixed place


def test_all_fields_of_a_structure() -> None:
    assert pdb("layouts").fields("_PACKED") == (("One", 0), ("Eight", 1), ("Two", 9))
    assert pdb("layouts").fields("_EITHER") == (("A", 0), ("B", 0), ("C", 0))
    fields = pdb("classes").fields("storage::Derived")
    assert fields[0] == ("InBase", 8) and ("Wide", 0x10) in fields  # those of bases too
    for name, offset in fields:
        assert pdb("classes").offset("storage::Derived", name) == offset
    assert pdb("layouts").fields("_NEVER_DEFINED") == ()


def test_field_lists_of_several_records() -> None:
    found = pdb("many")
    assert found.offset("_WIDE", "Member_with_a_long_name_0001") == 4
    assert found.offset("_WIDE", "Member_with_a_long_name_5999") == found.size("_WIDE") - 4  # type: ignore[operator]


def test_a_large_pdb_answers_soon() -> None:
    def ask() -> None:
        found = opened(content("many.pdb"))
        assert found.rva("Function4999") is not None and found.nearest(0x5000) is not None
        assert found.offset("_WIDE", "Member_with_a_long_name_3000") is not None

    names_and_members = 5000 + 6000
    assert lines_run(ask) < 50 * names_and_members  # it runs 32 lines for each


# --- what others make ------------------------------------------------------------------------


def test_the_age_is_that_of_the_dbi_stream() -> None:
    """Tools that rewrite a PDB count its own age up; images keep the one they were linked with."""
    data = container([b"", info(age=9), b"", dbi(4, [], age=2), b""])
    assert opened(data).age == 2
    assert opened(container([b"", info(age=9), b"", b""])).age == 9
    assert opened(container([b"", info(age=9), b"", dbi(4, [], age=0), b""])).age == 9


def test_segments_that_are_no_sections_are_left_out() -> None:
    symbols = b"".join((public("A", 1, 5), public("B", 2, 6), public("Absolute", 3, 7), public("Zero", 0, 8)))
    found = opened(by_hand(symbols=symbols))
    assert dict(found.names()) == {"A": 0x1005, "B": 0x3006}


def _segment(flags: int, section: int, offset: int = 0) -> bytes:
    """An entry of the section map."""
    return struct.pack("<6HII", flags, 0, 0, section, 0xFFFF, 0xFFFF, offset, 0x1000)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], {"A": 0x1005, "B": 0x3006}),
        ([_segment(0x10D, 1), _segment(0x10B, 2), _segment(0x208, 3)], {"A": 0x1005, "B": 0x3006}),
        ([_segment(0x10D, 2), _segment(0x10D, 1, 0x100), _segment(0x10D, 2, 8)], "mapped"),
        ([_segment(0x208, 0), _segment(0x10B, 99)], {"B": 0x3006}),
    ],
    ids=["none", "as linkers write it", "segments that are not sections", "absolute, and out of range"],
)
def test_the_section_map(entries: list[bytes], expected: object) -> None:
    symbols = b"".join((public("A", 1, 5), public("B", 2, 6), public("Absolute", 3, 7)))
    packed = struct.pack("<HH", len(entries), len(entries)) + b"".join(entries)
    stream = dbi(4, [ABSENT] * 5 + [5], map=packed if entries else b"")
    found = opened(container([b"", info(), b"", stream, symbols, sections(0x1000, 0x3000)]))
    mapped = {"A": 0x3005, "B": 0x1106, "Absolute": 0x300F}
    assert dict(found.names()) == (mapped if expected == "mapped" else expected)


def test_what_fastlink_leaves_in_object_files_is_told() -> None:
    features = struct.pack("<I", 20140508) + b"MINI"
    found = opened(container([b"", info() + bytes(65) + features, b"", b""]))
    assert found.notes == (
        "x.pdb: it was linked with /DEBUG:FASTLINK: types and names that are not public are in object files",
    )


def test_without_section_headers_names_have_no_addresses() -> None:
    found = opened(by_hand(symbols=public("A", 1, 5), debug=[]))
    assert found.rva("A") is None
    assert found.notes == ("x.pdb: it has no section headers, so that its names have no addresses",)


def test_strings_and_labels_name_no_code() -> None:
    symbols = b"".join(
        (public("??_C@_0Text", 1, 0x20), public("$$label", 1, 0x18), public("__real@3f800000", 1, 0x30))
    )
    found = opened(by_hand(symbols=public("Function", 1, 0x10) + symbols))
    assert found.nearest(0x1034) == ("Function", 0x24)
    assert found.rva("??_C@_0Text") == 0x1020


def test_a_public_goes_before_data_of_the_same_name() -> None:
    data = record(0x110C, struct.pack("<IIH", 0x74, 0x50, 1) + b"Same\0")
    for symbols in (data + public("Same", 1, 0x10), public("Same", 1, 0x10) + data):
        assert opened(by_hand(symbols=symbols)).rva("Same") == 0x1010


def test_code_that_was_moved_after_linking() -> None:
    """OMAP: segments count the sections as linked; what stayed, what moved, what is gone."""
    moves = [(0x1000, 0x1000), (0x1100, 0x9000), (0x1200, 0), (0x1300, 0x1100), (0x5000, 0x7000)]
    omap = b"".join(struct.pack("<II", *move) for move in moves)
    debug = [
        b"",
        b"",
        b"",
        b"?",
        omap,
        sections(0x1000, 0x7000),
        b"",
        b"",
        b"",
        b"",
        sections(0x1000, 0x5000),
    ]
    offsets = {"Stayed": 0x10, "Moved": 0x110, "Gone": 0x210, "Later": 0x310}
    symbols = b"".join(public(name, 1, offset) for name, offset in offsets.items())
    found = opened(by_hand(symbols=symbols + public("Data", 2, 8), debug=debug))
    assert dict(found.names()) == {"Stayed": 0x1010, "Moved": 0x9010, "Later": 0x1110, "Data": 0x7008}
    assert found.nearest(0x9014) == ("Moved", 4)


def test_code_that_was_moved_out_of_every_image_is_left_out() -> None:
    debug = [b"", b"", b"", b"", struct.pack("<II", 0x1000, 0xFFFFFFFF), sections(0x1000)]
    assert dict(opened(by_hand(symbols=public("A", 1, 5), debug=debug)).names()) == {}


@pytest.mark.parametrize("omap", [77, 5])
def test_code_whose_moves_cannot_be_read_has_no_addresses(omap: int) -> None:
    """OMAP in a stream that is not there, or of a size that no image needs: as linked would be wrong."""
    parts = [b"", info(), b"", dbi(4, [ABSENT] * 4 + [omap, 6]), public("A", 1, 5)]
    found = opened(container([*parts, bytes(9 << 20), sections(0x1000)]))
    assert dict(found.names()) == {} and len(found.notes) == 1


def _list(*entries: bytes) -> bytes:
    body = b""
    for entry in entries:
        body += entry + bytes(0xF0 + left for left in range(-len(entry) % 4, 0, -1))  # LF_PAD3, 2, 1
    return record(0x1203, body)


def _member(name: str, offset: bytes, kind: int) -> bytes:
    return struct.pack("<HHI", 0x150D, 3, kind) + offset + name.encode() + b"\0"


def _structure(
    name: str, fields: int, size: bytes, flags: int = 0, unique: str = "", kind: int = 0x1505
) -> bytes:
    names = name.encode() + b"\0" + (unique.encode() + b"\0" if flags & 0x200 else b"")
    between = b"" if kind == 0x1506 else bytes(8)
    return record(kind, struct.pack("<HHI", 1, flags, fields) + between + size + names)


def test_every_form_of_number() -> None:
    forms = {
        b"\x05\x00": 5,
        b"\x00\x80\x07": 7,
        b"\x01\x80\x00\x01": 0x100,
        b"\x02\x80\xff\xff": 0xFFFF,
        b"\x03\x80\x00\x00\x01\x00": 0x10000,
        b"\x04\x80\xff\xff\xff\xff": 0xFFFFFFFF,
        b"\x09\x80" + (1 << 33).to_bytes(8, "little"): 1 << 33,
        b"\x0a\x80" + (1 << 34).to_bytes(8, "little"): 1 << 34,
    }
    members = [_member(f"F{value}", form, 0x74) for form, value in forms.items()]
    types = [_list(*members)] + [_structure(f"S{value}", 0x1000, form) for form, value in forms.items()]
    found = opened(by_hand(tpi(*types)))
    for value in forms.values():
        assert found.size(f"S{value}") == value
        assert found.offset("S5", f"F{value}") == value
    assert found.notes == ()


def test_every_kind_of_entry_is_passed_over() -> None:
    """What a field list may hold besides members: methods, nested types, friends, bases ..."""
    name = b"Name\0"
    entries = [
        struct.pack("<HHI", 0x1400, 3, 0x1003) + b"\x20\x00",  # LF_BCLASS at 0x20
        struct.pack("<HHII", 0x1401, 3, 0x1003, 0x74) + b"\x08\x00\x01\x00",  # LF_VBCLASS
        struct.pack("<HHII", 0x1402, 3, 0x1003, 0x74) + b"\x08\x00\x01\x00",  # LF_IVBCLASS
        struct.pack("<HHI", 0x1409, 0, 0x74),  # LF_VFUNCTAB
        struct.pack("<HHI", 0x140A, 0, 0x74),  # LF_FRIENDCLS
        struct.pack("<HHII", 0x140C, 0, 0x74, 8),  # LF_VFUNCOFF
        struct.pack("<HH", 0x1502, 3) + b"\x04\x80\x00\x00\x00\x80" + name,  # LF_ENUMERATE
        struct.pack("<HHI", 0x150C, 0, 0x74) + name,  # LF_FRIENDFCN
        struct.pack("<HHI", 0x150E, 3, 0x74) + name,  # LF_STMEMBER
        struct.pack("<HHI", 0x150F, 2, 0x74) + name,  # LF_METHOD
        struct.pack("<HHI", 0x1510, 0, 0x74) + name,  # LF_NESTTYPE
        struct.pack("<HHI", 0x1511, 3, 0x74) + name,  # LF_ONEMETHOD
        struct.pack("<HHII", 0x1511, 4 << 2, 0x74, 16) + name,  # ... that introduces a virtual function
        struct.pack("<HHII", 0x1511, 6 << 2, 0x74, 16) + name,  # ... a pure one
        struct.pack("<HHI", 0x1512, 3, 0x74) + name,  # LF_NESTTYPEEX
        struct.pack("<HHI", 0x1513, 3, 0x74) + name,  # LF_MEMBERMODIFY
        _member("Last", b"\x44\x00", 0x74),
        struct.pack("<HHI", 0x1404, 0, 0x1002),  # LF_INDEX
    ]
    types = tpi(
        _list(*entries),
        _structure("Owner", 0x1000, b"\x50\x00", kind=0x1504),
        _list(_member("More", b"\x48\x00", 0x74), struct.pack("<HHI", 0x1404, 0, 0x1000)),  # and back: a loop
        _structure("Base", 0x1004, b"\x08\x00"),
        _list(_member("OfBase", b"\x04\x00", 0x74)),
    )
    found = opened(by_hand(types))
    assert found.offset("Owner", "Last") == 0x44
    assert found.offset("Owner", "More") == 0x48
    assert found.offset("Owner", "OfBase") == 0x24
    assert found.offset("Owner", "Name") is None
    assert found.notes == ()


def test_forward_references_are_followed_by_unique_name_first() -> None:
    """Two definitions of one name, as nameless structures have it: the unique name tells them apart."""
    types = tpi(
        _structure("S::<unnamed-tag>", 0, b"\x00\x00", 0x280, ".?AUsecond"),
        _structure("S::<unnamed-tag>", 0x1004, b"\x04\x00", 0x200, ".?AUfirst"),
        _structure("S::<unnamed-tag>", 0x1005, b"\x08\x00", 0x200, ".?AUsecond"),
        _structure("S", 0x1006, b"\x20\x00"),
        _list(_member("InFirst", b"\x00\x00", 0x74)),
        _list(_member("InSecond", b"\x04\x00", 0x74)),
        _list(_member("u", b"\x10\x00", 0x1000), _member("Next", b"\x18\x00", 0x1007)),
        _structure("Elsewhere", 0, b"\x00\x00", 0x80),
    )
    found = opened(by_hand(types))
    assert found.offset("S", "u.InSecond") == 0x14
    assert found.offset("S", "u.InFirst") is None
    assert found.offset("S", "Next") == 0x18 and found.offset("S", "Next.Field") is None
    assert found.size("S::<unnamed-tag>") is None  # it could be any


def test_structures_of_one_name_that_differ_are_told() -> None:
    """As two source files of a driver may have them. Only who asks for such a name hears of it."""
    types = tpi(
        _list(_member("A", b"\0\0", 0x74)),
        *(_structure("_CONTEXT", 0x1000, size) for size in (b"\x10\0", b"\x20\0")),
        *(_structure("_SAME", 0x1000, b"\x08\0") for _ in range(2)),
    )
    found = opened(by_hand(types))
    assert found.size("_SAME") == 8 and found.notes == ()
    assert found.size("_CONTEXT") == 0x10 and found.offset("_CONTEXT", "A") == 0
    assert found.notes == ("x.pdb: there are several _CONTEXT of different sizes: the first one is used",)


def test_structures_in_the_wide_form() -> None:
    """LF_STRUCTURE2 and LF_UNION2: 32 bits of properties, then the count as a number."""
    wide = struct.pack("<IIII", 0x200, 0x1002, 0, 0) + b"\x01\x00" + b"\x18\x00" + b"Wide\0.?AUWide\0"
    union = struct.pack("<II", 0, 0x1002) + b"\x01\x00" + b"\x28\x00" + b"Union\0"
    found = opened(
        by_hand(tpi(record(0x1609, wide), record(0x160A, union), _list(_member("F", b"\x08\x00", 0x74))))
    )
    assert (found.size("Wide"), found.offset("Wide", "F")) == (0x18, 8)
    assert (found.size("Union"), found.offset("Union", "F")) == (0x28, 8)


def test_members_without_a_name_and_modifiers_are_entered() -> None:
    types = tpi(
        record(0x1001, struct.pack("<IH", 0x1001, 1)),  # const
        _structure("Inner", 0x1003, b"\x08\x00", kind=0x1506),
        _structure("Outer", 0x1004, b"\x20\x00"),
        _list(_member("A", b"\x04\x00", 0x74)),
        _list(_member("", b"\x10\x00", 0x1000), _member("Own", b"\x00\x00", 0x1000)),
    )
    found = opened(by_hand(types))
    assert found.offset("Outer", "A") == 0x14
    assert found.offset("Outer", "Own.A") == 4


@pytest.mark.parametrize(("block", "maps"), [(512, 2), (1024, 1), (1 << 16, 1)])
def test_the_superblock_has_the_number_of_every_block_of_the_block_map(block: int, maps: int) -> None:
    """They are more than one in files that are large for the size of their blocks."""
    parts = [b"", info(), b"", dbi(4, [ABSENT] * 5 + [5]), public("Found", 1, 5), sections(0x1000)]
    data = container([*parts, bytes(9 << 20)], block)
    (directory,) = struct.unpack_from("<I", data, 44)
    assert -(-directory // block) * 4 > (maps - 1) * block
    assert opened(data).rva("Found") == 0x1005


# --- what is broken --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not begin like one"),
        (b"<html>", "does not begin like one"),
        (b"BSJB" + bytes(99), "not a PDB that can be read: it is a portable PDB"),
        (b"Microsoft C/C++ program database 2.00\r\n\x1aJG\0\0", "of the old form MSF 2.00"),
        (b"Microsoft MSFZ Container\r\n\x1aALD\0\0" + bytes(99), "of the compressed form MSFZ"),
        (content("layouts.pdb")[:40], "superblock is cut off"),
        (content("layouts.pdb")[:-1], "cut off: 73727 of 73728"),
        (content("layouts.pdb")[:32] + b"\1" + content("layouts.pdb")[33:], "block size is 4097"),
    ],
)
def test_files_that_are_no_pdbs(data: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as told:
        opened(data)
    assert str(told.value).startswith("x.pdb is ")


def test_damage_further_in_is_told_and_the_rest_is_used() -> None:
    parts = streams(content("layouts.pdb"))
    parts[2] = parts[2][:-4]  # the last type is cut off
    found = opened(container(parts))
    assert found.size("_IRP") == 0x1A8 and found.rva("Visible") == 0x1000
    assert any("types were read only up to" in note for note in found.notes)


def test_types_that_end_between_two_records() -> None:
    whole = tpi(
        _list(_member("A", b"\0\0", 0x74)), _structure("S", 0x1000, b"\4\0"), record(0x1002, bytes(8))
    )
    found = opened(by_hand(whole[:-12]))
    assert found.offset("S", "A") == 0
    assert found.notes == ("x.pdb: types were read only up to 0x1002 of 0x1003",)


def test_a_broken_field_list_is_told() -> None:
    types = tpi(record(0x1203, b"\x99\x99" + bytes(10)), _structure("S", 0x1000, b"\x08\x00"))
    found = opened(by_hand(types))
    assert found.size("S") == 8 and found.offset("S", "F") is None
    assert found.notes == ("x.pdb: the fields of S are damaged",)


def test_of_much_damage_little_is_told() -> None:
    """Each of these modules ends in the middle of a symbol; a name may be as long as the list."""
    module = struct.pack("<34xHI24x", 4, 22) + b"\x1b[31m" + b"n" * 500 + b"\0o\0"
    module += bytes(-len(module) % 4)
    header = struct.pack("<IHHIIH", 4, 0xFFF0, 0x110D, 0, 0, 1) + bytes(8)
    table = b"".join(module.replace(b"[31m", b"%4d" % n) for n in range(300))
    data = container([b"", info(), b"", dbi(ABSENT, [ABSENT] * 5 + [5], modules=table), header, sections(0)])
    found = opened(data)
    assert dict(found.names()) == {}
    assert len(found.notes) == 13 and found.notes[-1] == "x.pdb: more of it is damaged in such ways"
    assert all(len(note) < 300 and note.isprintable() for note in found.notes)


def test_a_loop_of_bases_ends() -> None:
    base = struct.pack("<HHI", 0x1400, 3, 0x1001) + b"\x00\x00"
    found = opened(by_hand(tpi(_list(base), _structure("S", 0x1000, b"\x08\x00"))))
    assert found.offset("S", "F") is None


def test_streams_that_do_not_exist() -> None:
    found = opened(container([b"", info(), b"", dbi(77, [ABSENT] * 5 + [88])]))
    assert found.rva("A") is None and found.size("S") is None and found.nearest(0x1000) is None
