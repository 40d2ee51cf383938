"""The same plan reads the same places, whatever else goes over the connection in between."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.smb.load.tape import LAP, Address, Reads, Tape
from lab.smb.signing import SigningAlgorithm, new_signer
from lab.smb.wire import parse_header

FIRST = 9


def tape(size: int = 4096, address: Address | None = None) -> Tape:
    return Tape([(bytes(16), 64 << 20)], Reads(size, seed=3), address or Address(1, 2), first_id=FIRST)


def take(laid: Tape, count: int) -> list[bytes]:
    """The next `count` messages, without framing."""
    out: list[bytes] = []
    while len(out) < count:
        view = laid.take(count - len(out))
        out += [bytes(view[at + 4 : at + laid.stride]) for at in range(0, len(view), laid.stride)]
    return out


def offsets(messages: list[bytes]) -> list[int]:
    return [struct.unpack_from("<Q", message, 72)[0] for message in messages]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 2 * LAP), min_size=1, max_size=5),
    st.sampled_from([4096, 256 * 1024]),
    st.booleans(),
)
def test_a_skipped_number_moves_the_later_ones_and_no_place(runs: list[int], size: int, built: bool) -> None:
    plain, skipping = tape(size), tape(size)
    got: list[bytes] = []
    ids: list[int] = []
    for run in runs:
        if built:
            skipping.build(LAP)
        first = skipping.next_id
        skipping.skip()
        assert skipping.next_id == first + skipping.charge
        ids += [skipping.next_id + skipping.charge * each for each in range(run)]
        got += take(skipping, run)
    assert [parse_header(message).message_id for message in got] == ids
    assert offsets(got) == offsets(take(plain, len(got)))


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_what_is_numbered_anew_is_signed_anew(algorithm: SigningAlgorithm) -> None:
    signer = new_signer(algorithm, bytes(range(16)))
    laid = tape(address=Address(1, 2, signer))
    take(laid, 3)
    laid.skip()
    after = take(laid, 3)
    assert [parse_header(message).message_id for message in after] == [FIRST + 4, FIRST + 5, FIRST + 6]
    assert all(signer.verify(bytearray(message)) for message in after)
