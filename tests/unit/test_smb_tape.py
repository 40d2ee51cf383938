"""READ requests laid end to end: every field of every one is right, in every lap."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from lab.smb.keys import SessionKeys
from lab.smb.load.tape import LAP, Address, Reads, Tape
from lab.smb.messages import read_request
from lab.smb.sealing import Cipher, Sealer
from lab.smb.signing import SigningAlgorithm, new_signer
from lab.smb.wire import FRAMING, Command, Flags, header, parse_header, parts

A, B = bytes(range(16)), bytes(range(16, 32))
MIB = 1 << 20


def frames(view: memoryview, stride: int) -> list[bytes]:
    assert len(view) % stride == 0
    return [bytes(view[at : at + stride]) for at in range(0, len(view), stride)]


def taken(tape: Tape, count: int) -> list[bytes]:
    """The next `count` messages, without framing."""
    out: list[bytes] = []
    while len(out) < count:
        out += frames(tape.take(count - len(out)), tape.stride)
    for each in out:
        assert FRAMING.unpack_from(each)[0] == len(each) - 4
    return [each[4:] for each in out]


def offset_of(message: bytes) -> int:
    return int(struct.unpack_from("<Q", message, 72)[0])


def tape(reads: Reads | None = None, address: Address | None = None, *, first_id: int = 5) -> Tape:
    files = [(A, 16 * MIB), (B, 8 * MIB)]
    return Tape(files, reads or Reads(), address or Address(77, 3), first_id=first_id)


def test_a_request_is_what_the_wire_layer_would_have_made() -> None:
    reads = Reads(unbuffered=True)
    laid = tape(reads)
    laid.credits = 300
    for number, message in enumerate(taken(laid, 2 * LAP + 10)):
        file_id, offset = (A, B)[number % 2], offset_of(message)
        want = header(Command.READ, message_id=5 + number, session_id=77, tree_id=3, credits=300)
        assert message == want + read_request(file_id, offset, 4096, unbuffered=True)
        assert offset % 4096 == 0 and offset + 4096 <= (16 * MIB, 8 * MIB)[number % 2]


def test_the_same_seed_reads_the_same_offsets() -> None:
    def offsets(seed: int) -> list[int]:
        return [offset_of(each) for each in taken(tape(Reads(seed=seed)), 3 * LAP)]

    assert offsets(1) == offsets(1)
    assert offsets(1) != offsets(2)
    assert offsets(1)[:LAP] != offsets(1)[LAP : 2 * LAP]  # a lap is not the one before again


def test_offsets_do_not_depend_on_how_the_requests_are_taken() -> None:
    one, other = tape(), tape()
    other.build(2 * LAP)
    piecewise = [message for count in (1, 7, 1000, 16, 24, 1) for message in taken(other, count)]
    assert taken(one, len(piecewise)) == piecewise


def test_all_of_a_span_is_read_and_nothing_else() -> None:
    laid = tape(Reads(size=4096, span=5 * 4096))
    assert {offset_of(each) for each in taken(laid, 4 * LAP)} == {0, 4096, 8192, 12288, 16384}


@pytest.mark.parametrize(
    ("size", "length", "places"), [(4096, 0, 1), (100, 450, 4), (65536, 65536 + 8192, 3)]
)
def test_places_of_a_file(size: int, length: int, places: int) -> None:
    assert Reads(size=size).places(length) == places


@pytest.mark.parametrize("size", [65536, 65537, MIB, 8 * MIB])
def test_a_large_read_takes_several_message_ids(size: int) -> None:
    laid = tape(Reads(size=size), first_id=9)
    charge = -(-size // 65536)
    heads = [parse_header(each) for each in taken(laid, LAP + 3)]
    assert [head.message_id for head in heads] == [9 + number * charge for number in range(LAP + 3)]
    assert {head.credit_charge for head in heads} == {charge}
    assert laid.next_id == 9 + (LAP + 3) * charge


def test_a_dialect_without_charges_says_none() -> None:
    laid = tape(address=Address(1, 2, multi_credit=False))
    assert parse_header(taken(laid, 1)[0]).credit_charge == 0


def test_a_view_keeps_its_bytes_until_the_next_is_taken() -> None:
    """What a full socket has not sent yet must not be laid out anew."""
    laid = tape()
    laid.take(LAP - 1)
    view = laid.take(1)  # the last of its lap
    before = bytes(view)
    laid.build(5 * LAP)
    assert bytes(view) == before
    while laid.ready:
        view = laid.take(LAP)
        before = bytes(view)
        laid.build(LAP)
        assert bytes(view) == before
        if laid.laps_laid > 20:
            break


def test_two_laps_in_turns_are_enough() -> None:
    laid = tape()
    places = set()
    for _ in range(50):
        laid.build(LAP)
        places.add(id(laid.take(LAP).obj))
    assert laid.laps_laid == 50
    assert len(places) == 2


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_signed_requests_verify_in_every_lap(algorithm: SigningAlgorithm) -> None:
    signer = new_signer(algorithm, b"k" * 16)
    for message in taken(tape(address=Address(1, 2, signer)), 2 * LAP + 5):
        assert parse_header(message).flags & Flags.SIGNED
        assert signer.verify(message)


def test_sealed_requests_open_and_no_nonce_comes_twice() -> None:
    ours = SessionKeys(signing=bytes(16), encryption=b"e" * 16, decryption=b"d" * 16)
    theirs = SessionKeys(signing=bytes(16), encryption=b"d" * 16, decryption=b"e" * 16)
    address = Address(9, 2, sealer=Sealer(Cipher.AES_128_GCM, ours, 9))
    server = Sealer(Cipher.AES_128_GCM, theirs, 9)
    sealed = taken(tape(address=address), 2 * LAP + 5)
    heads = [parse_header(server.unseal(each)) for each in sealed]
    assert [head.message_id for head in heads] == list(range(5, 5 + 2 * LAP + 5))
    assert len({each[20:36] for each in sealed}) == len(sealed)


def test_more_files_than_a_lap_has_requests_are_all_read() -> None:
    files = [(number.to_bytes(16, "little"), MIB) for number in range(LAP + 500)]
    laid = Tape(files, Reads(), Address(1, 2), first_id=0)
    assert [each[80:96] for each in taken(laid, len(files))] == [file_id for file_id, _ in files]


SIZES = [2, 3, 8, 16]


def compounds(tape: Tape, count: int) -> list[bytes]:
    """The next messages with `count` READs in all; some more where they do not fit."""
    out: list[bytes] = []
    while len(out) * tape.compound < count:
        asked = -(-(count - len(out) * tape.compound) // tape.compound) * tape.compound
        out += [each[4:] for each in frames(tape.take(asked), tape.stride)]
    return out


@pytest.mark.parametrize("size", SIZES)
def test_reads_in_one_message_are_those_that_would_go_in_many(size: int) -> None:
    reads = Reads(seed=7, unbuffered=True)
    one, many = (
        Tape([(A, 16 * MIB)], each, Address(77, 3), first_id=5)
        for each in (reads, replace(reads, compound=size))
    )
    one.credits = many.credits = 300
    singles = iter(taken(one, 3 * LAP))
    for message in compounds(many, 2 * LAP + 10):
        found = [bytes(part) for part in parts(message)]
        assert len(found) == size
        for index, part in enumerate(found):
            single = next(singles)
            following = 120 if index < size - 1 else 0
            assert part == single[:20] + following.to_bytes(4, "little") + single[24:] + bytes(
                7 if following else 0
            )


@pytest.mark.parametrize("size", SIZES)
def test_files_take_turns_in_compounds_too(size: int) -> None:
    laid = tape(Reads(compound=size))
    messages = [bytes(part) for message in compounds(laid, 2 * size) for part in parts(message)]
    assert [each[80:96] for each in messages] == [(A, B)[at % 2] for at in range(len(messages))]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_each_part_of_a_compound_is_signed_with_its_padding(algorithm: SigningAlgorithm, size: int) -> None:
    signer = new_signer(algorithm, b"k" * 16)
    for message in compounds(tape(Reads(compound=size), Address(1, 2, signer)), 2 * LAP + 5):
        assert all(signer.verify(part) for part in parts(bytearray(message)))


def test_a_compound_is_sealed_as_a_whole_and_numbered_anew_after_an_echo() -> None:
    ours = SessionKeys(signing=bytes(16), encryption=b"e" * 16, decryption=b"d" * 16)
    theirs = SessionKeys(signing=bytes(16), encryption=b"d" * 16, decryption=b"e" * 16)
    laid = tape(Reads(compound=8), Address(9, 2, sealer=Sealer(Cipher.AES_128_GCM, ours, 9)))
    server = Sealer(Cipher.AES_128_GCM, theirs, 9)
    before = compounds(laid, LAP + 40)
    laid.skip()
    heads = [
        [parse_header(part) for part in parts(server.unseal(each))] for each in before + compounds(laid, 100)
    ]
    assert {len(each) for each in heads} == {8}
    ids = [head.message_id for each in heads for head in each]
    assert ids == [5 + at + (at >= LAP + 40) for at in range(len(ids))]
    assert laid.next_id == ids[-1] + 1
