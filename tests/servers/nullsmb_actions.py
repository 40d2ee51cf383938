"""What a rule can do to an answer of the null server. Every action returns what is sent in its place."""

from __future__ import annotations

import struct
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from nullsmb_effects import Deed, Effect, Ended, Late, Raw, Sent
from nullsmb_wire import BREAK, PENDING, Answer, failure_body, framed

if TYPE_CHECKING:
    from nullsmb_connection import Connection

NOBODY = 0xFFFF_FFFF_FFFF_FFFF


def _header(deed: Deed, **fields: Any) -> list[Effect]:
    """Other values in the answer's fields; `body` as hexadecimal digits."""
    if "credits" in fields:
        deed.grant(fields.pop("credits"))
    for name, value in fields.items():
        known = {"body": bytes.fromhex, "signature": bytes.fromhex, "protocol": bytes.fromhex}
        setattr(deed.answer, name, known[name](value) if name in known else value)
    return [Sent(deed.answer)]


def _shift(deed: Deed, **fields: int) -> list[Effect]:
    """Fields that are off by so much: wrong session, tree or message ids."""
    for name, value in fields.items():
        setattr(deed.answer, name, (getattr(deed.answer, name) + value) & NOBODY)
    return [Sent(deed.answer)]


def _patch(deed: Deed, at: int | list[int], value: int, format: str = "<I") -> list[Effect]:
    """A number of the body, or several. `at` counts from the body's start; signatures are made afterwards."""
    body = bytearray(deed.answer.body)
    for each in [at] if isinstance(at, int) else at:
        struct.pack_into(format, body, each, value)
    deed.answer.body = bytes(body)
    return [Sent(deed.answer)]


def _append(deed: Deed, size: int) -> list[Effect]:
    """More body than there should be, all zeros."""
    deed.answer.body += bytes(size)
    return [Sent(deed.answer)]


def _cut(deed: Deed, size: int) -> list[Effect]:
    """A body of only `size` bytes; the frame is as short and well-formed."""
    deed.answer.body = deed.answer.body[:size]
    return [Sent(deed.answer)]


def _short(deed: Deed, size: int) -> list[Effect]:
    """A READ answer of no more than `size` bytes that is right in itself."""
    data = deed.answer.body[16:][:size]
    deed.answer.body = struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data
    return [Sent(deed.answer)]


def _status(deed: Deed, value: int) -> list[Effect]:
    deed.answer.status, deed.answer.body = value, failure_body()
    return [Sent(deed.answer)]


def _late(deed: Deed, ms: float, spread: float = 0.0) -> list[Effect]:
    """After `ms` milliseconds and up to `spread` more: answers overtake each other."""
    seconds = (ms + spread * deed.rng.random()) / 1000
    return [Late(seconds, lambda: [Sent(deed.answer)])]


def _interim(deed: Deed, ms: float = 5.0, times: int = 1, final: bool = True) -> list[Effect]:
    """STATUS_PENDING with the credits (3.3.4.2), and the final answer later, or never."""
    number = deed.connection.next_async()
    first = copy(deed.answer)
    first.async_id, first.status, first.body, first.sign = number, PENDING, failure_body(), False
    first.on_wire = None
    answer = deed.answer
    answer.async_id, answer.credits = number, 0
    again = [copy(first) for _ in range(times - 1)]
    for each in again:
        each.credits = 0
    if final:
        deed.connection.pending[number] = answer
    settle = partial(_settled, deed.connection, number)
    return [Sent(first), *[Sent(each) for each in again], *([Late(ms / 1000, settle)] if final else [])]


def _settled(connection: Connection, number: int) -> list[Effect]:
    connection.settle(number)
    return []


def _twice(deed: Deed) -> list[Effect]:
    second = copy(deed.answer)
    second.credits = 0
    return [Sent(deed.answer), Sent(second)]


def _stranger(deed: Deed, ahead: int = 1 << 20) -> list[Effect]:
    """An answer to a message id that was never used, before the right one."""
    stranger = copy(deed.answer)
    stranger.message_id, stranger.credits = deed.answer.message_id + ahead, 0
    return [Sent(stranger), Sent(deed.answer)]


def _break(deed: Deed, kind: str = "oplock") -> list[Effect]:
    """A break notification nobody asked for (2.2.23), before the answer."""
    if kind == "oplock":
        body = struct.pack("<HBBI16s", 24, 0, 0, 0, bytes(16))
    else:
        body = struct.pack("<HHI16sIIIII", 44, 0, 0, b"L" * 16, 3, 1, 0, 0, 0)
    return [Sent(Answer(BREAK, NOBODY, body=body)), Sent(deed.answer)]


def _endless_breaks(deed: Deed) -> list[Effect]:
    """No answer, but notifications without end, as many as the client takes in."""
    body = struct.pack("<HBBI16s", 24, 0, 0, 0, bytes(16))
    many = framed(Answer(BREAK, NOBODY, body=body).message()) * 100

    def more() -> list[Effect]:
        room = len(deed.connection.out) < 10
        return [*([Raw(many)] if room else []), Late(0.002, more)]

    return more()


def _drip(deed: Deed, ms: float = 50.0) -> list[Effect]:
    """The right answer, a byte at a time."""
    whole = framed(deed.connection.encoded([deed.answer]))

    def more(at: int) -> list[Effect]:
        rest: list[Effect] = [Late(ms / 1000, partial(more, at + 1))] if at + 1 < len(whole) else []
        return [Raw(whole[at : at + 1]), *rest]

    return more(0)


def _unanswered(deed: Deed) -> list[Effect]:
    return []


def _end(deed: Deed, how: str, first: bool = False) -> list[Effect]:
    """The end of the conversation, instead of the answer or behind it."""
    return [Sent(deed.answer), Ended(how)] if first else [Ended(how)]


def _torn(deed: Deed, size: int, how: str) -> list[Effect]:
    """The first `size` bytes of the right frame, and then the end."""
    whole = framed(deed.connection.encoded([deed.answer]))
    return [Raw(whole[:size]), Ended(how)]


def _frame_length(deed: Deed, value: int) -> list[Effect]:
    """The right message behind four framing bytes that say otherwise."""
    return [Sent(deed.answer, lambda frame: struct.pack(">I", value) + frame[4:])]


def _raw(deed: Deed, data: str = "", random: int = 0, framing: bool = True, again: int = 1) -> list[Effect]:
    """Given (hexadecimal) or random bytes instead of an answer."""
    made = bytes.fromhex(data) + deed.rng.randbytes(random)
    return [Raw(framed(made) if framing else made)] * again


def _compressed(deed: Deed) -> list[Effect]:
    """The answer behind an unchained compression header (2.2.42.1) that nobody negotiated."""
    message = deed.connection.encoded([deed.answer])
    return [Raw(framed(struct.pack("<4sIHHI", b"\xfcSMB", len(message), 1, 0, 0) + message))]


def _looping_set_up(deed: Deed) -> list[Effect]:
    """MORE_PROCESSING_REQUIRED whatever comes, with the token of the first answer."""
    deed.answer.status = 0xC000_0016
    body = deed.answer.body
    deed.answer.body = body if len(body) > 9 else struct.pack("<HHHH", 9, 0, 72, 0)
    deed.answer.session_id = deed.answer.session_id or 1
    return [Sent(deed.answer)]


def _flip(deed: Deed, bits: int = 1, skip: int = 0) -> list[Effect]:
    """Random bits of the message turned over, after it was signed or sealed."""

    def change(frame: bytes) -> bytes:
        changed = bytearray(frame)
        for _ in range(bits):
            at = deed.rng.randrange(4 + skip, len(changed))
            changed[at] ^= 1 << deed.rng.randrange(8)
        return bytes(changed)

    return [Sent(deed.answer, change)]


def _negotiate_context(deed: Deed, kind: int, at: int, value: int, format: str = "<H") -> list[Effect]:
    """One number of a context of the NEGOTIATE answer; `at` counts from the context's data."""
    body = bytearray(deed.answer.body)
    where = struct.unpack_from("<I", body, 60)[0] - 64
    for _ in range(struct.unpack_from("<H", body, 6)[0]):
        found, length = struct.unpack_from("<HH", body, where)
        if found == kind:
            struct.pack_into(format, body, where + 8 + at, value)
        where += 8 + length + -length % 8
    deed.answer.body = bytes(body)
    return [Sent(deed.answer)]


def _directory(
    deed: Deed, following: int | None = None, size: int | None = None, name: str = "loop", count: int = 1
) -> list[Effect]:
    """Entries (FileFullDirectoryInformation) with NextEntryOffset, name length and name of choice."""
    text = name.encode("utf-16-le")
    times = (132_000_000_000_000_000,) * 4
    rest = struct.pack("<I4QQQIII", 0, *times, 1, 1, 0x20, len(text) if size is None else size, 0) + text
    rest += bytes(-(4 + len(rest)) % 8)
    entries = [struct.pack("<I", 4 + len(rest)) + rest] * (count - 1)
    data = b"".join([*entries, struct.pack("<I", following or 0) + rest])
    deed.answer.status = 0
    deed.answer.body = struct.pack("<HHI", 9, 72, len(data)) + data
    return [Sent(deed.answer)]


def _scramble(deed: Deed, at: int, size: int = 1 << 20) -> list[Effect]:
    """Random bytes in a part of the body."""
    body = bytearray(deed.answer.body)
    size = max(0, min(size, len(body) - at))
    body[at : at + size] = deed.rng.randbytes(size)
    deed.answer.body = bytes(body)
    return [Sent(deed.answer)]


def _long(deed: Deed, more: int) -> list[Effect]:
    """A READ answer, right in itself, with more bytes than were asked for."""
    data = deed.answer.body[16:] + b"M" * more
    deed.answer.body = struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data
    return [Sent(deed.answer)]


ACTIONS: dict[str, Callable[..., list[Effect]]] = {
    "header": _header,
    "shift": _shift,
    "patch": _patch,
    "append": _append,
    "cut": _cut,
    "short": _short,
    "status": _status,
    "late": _late,
    "interim": _interim,
    "twice": _twice,
    "stranger": _stranger,
    "break": _break,
    "unanswered": _unanswered,
    "endless breaks": _endless_breaks,
    "drip": _drip,
    "end": _end,
    "torn": _torn,
    "frame length": _frame_length,
    "raw": _raw,
    "compressed": _compressed,
    "looping set-up": _looping_set_up,
    "flip": _flip,
    "negotiate context": _negotiate_context,
    "directory": _directory,
    "scramble": _scramble,
    "long": _long,
}
