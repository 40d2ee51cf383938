"""Named scripts of odd and hostile behaviour. Offsets count from a body's start (MS-SMB2 2.2)."""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]


def _one(on: str, do: str, **more: Any) -> list[Rule]:
    return [{"on": on, "do": do, **more}]


def _patch(on: str, at: int | list[int], value: int, format: str = "<I", **more: Any) -> list[Rule]:
    return _one(on, "patch", at=at, value=value, format=format, **more)


def _context(kind: int, at: int, value: int) -> list[Rule]:
    return _one("NEGOTIATE", "negotiate context", kind=kind, at=at, value=value)


NEGOTIATING: dict[str, list[Rule]] = {
    "negotiate: no answer": _one("NEGOTIATE", "unanswered"),
    "negotiate: closed": _one("NEGOTIATE", "end", how="close"),
    "negotiate: reset": _one("NEGOTIATE", "end", how="reset"),
    "negotiate: a web server": _one(
        "NEGOTIATE", "raw", data=b"HTTP/1.1 400 Bad Request\r\n\r\n".hex(), framing=False
    ),
    "negotiate: SMB1": _one("NEGOTIATE", "raw", data="ff534d4272", random=64),
    "negotiate: an encrypted message": _one("NEGOTIATE", "raw", data="fd534d42", random=128),
    "negotiate: noise": _one("NEGOTIATE", "raw", random=256),
    "negotiate: unknown dialect": _patch("NEGOTIATE", 4, 0x0999, "<H"),
    "negotiate: wildcard": _patch("NEGOTIATE", 4, 0x02FF, "<H"),
    "negotiate: no contexts": _patch("NEGOTIATE", 6, 0, "<H"),
    "negotiate: 65535 contexts": _patch("NEGOTIATE", 6, 0xFFFF, "<H"),
    "negotiate: contexts out of the frame": _patch("NEGOTIATE", 60, 0x7FFF_FFF8),
    "negotiate: contexts before the body": _patch("NEGOTIATE", 60, 0),
    "negotiate: unknown hash": _context(1, 4, 2),
    "negotiate: signing not offered": _context(8, 2, 7),
    "negotiate: two ways of signing": _context(8, 0, 2),
    "negotiate: cipher not offered": _context(2, 2, 9),
    "negotiate: sizes of 0": _patch("NEGOTIATE", [28, 32, 36], 0),
    "negotiate: token out of the frame": _patch("NEGOTIATE", 58, 0xFFFF, "<H"),
    "negotiate: token of noise": _one("NEGOTIATE", "scramble", at=64, size=60),
    "negotiate: structure size": _patch("NEGOTIATE", 0, 64, "<H"),
    "negotiate: cut": _one("NEGOTIATE", "cut", size=30),
    "negotiate: an error": _one("NEGOTIATE", "status", value=0xC000_009A),
    "negotiate: no common dialect": _one("NEGOTIATE", "status", value=0xC000_00BB),
    "negotiate: no credits": _one("NEGOTIATE", "header", credits=0),
    "negotiate: pending": _one("NEGOTIATE", "interim", final=False),
}
LOGGING_ON: dict[str, list[Rule]] = {
    "log-on: no answer": _one("SESSION_SETUP", "unanswered"),
    "log-on: closed": _one("SESSION_SETUP", "end", how="close"),
    "log-on: endless": _one("SESSION_SETUP", "looping set-up"),
    "log-on: token of noise": _one("SESSION_SETUP", "scramble", at=8, number=1),
    "log-on: end of token of noise": _one("SESSION_SETUP", "scramble", at=60, number=1),
    "log-on: last token of noise": _one("SESSION_SETUP", "scramble", at=8, number=2),
    "log-on: token out of the frame": _patch("SESSION_SETUP", 6, 0xFFFF, "<H"),
    "log-on: no session": _one("SESSION_SETUP", "header", session_id=0, number=1),
    "log-on: another session": _one("SESSION_SETUP", "shift", session_id=1, number=2),
    "log-on: guest": _patch("SESSION_SETUP", 2, 1, "<H", number=2),
    "log-on: null session": _patch("SESSION_SETUP", 2, 2, "<H", number=2),
    "log-on: success at once": _one("SESSION_SETUP", "header", status=0, number=1),
    "log-on: unsigned": _one("SESSION_SETUP", "header", sign=False, number=2),
    "log-on: wrong signature": _one("SESSION_SETUP", "header", signature="5a" * 16, number=2),
    "log-on: unsigned guest": _one("SESSION_SETUP", "header", sign=False, body="0900010048000000", number=2),
    "tree: no answer": _one("TREE_CONNECT", "unanswered"),
    "tree: a pipe": _patch("TREE_CONNECT", 2, 2, "<B"),
    "tree: a printer": _patch("TREE_CONNECT", 2, 3, "<B"),
    "tree: refused": _one("TREE_CONNECT", "status", value=0xC000_0022),
    "tree: unsigned": _one("TREE_CONNECT", "header", sign=False),
    "tree: cut": _one("TREE_CONNECT", "cut", size=8),
}
FOLDERS: dict[str, list[Rule]] = {
    "directory: back": _one("QUERY_DIRECTORY", "directory", following=0xFFFF_FFF8),
    "directory: a little further": _one("QUERY_DIRECTORY", "directory", following=4),
    "directory: out of the frame": _one("QUERY_DIRECTORY", "directory", following=0x10000),
    "directory: a huge name": _one("QUERY_DIRECTORY", "directory", size=0x7FFF_FFFE),
    "directory: half a character": _one("QUERY_DIRECTORY", "directory", size=7),
    "directory: a path as a name": _one("QUERY_DIRECTORY", "directory", name="..\\..\\evil"),
    "directory: the folder above": _one("QUERY_DIRECTORY", "directory", name=".."),
    "directory: endless": _one("QUERY_DIRECTORY", "directory", count=700),
    "directory: an empty answer": _one("QUERY_DIRECTORY", "header", body="0900480000000000", status=0),
    "directory: out of the answer": _patch("QUERY_DIRECTORY", 4, 0x7FFF_FFFF),
}
OPENING: dict[str, list[Rule]] = {
    "create: structure size": _patch("CREATE", 0, 88, "<H"),
    "create: cut": _one("CREATE", "cut", size=40),
    "create: another command": _one("CREATE", "header", command=6),
    "create: another session": _one("CREATE", "shift", session_id=1),
    "create: a request": _one("CREATE", "header", flags=0),
    "create: noise": _one("CREATE", "scramble", at=0),
    "create: negative length": _patch("CREATE", 48, (1 << 64) - 1, "<Q"),
}
READING_BADLY: dict[str, list[Rule]] = {
    "read: no answer": _one("READ", "unanswered", number=3),
    "read: closed": _one("READ", "end", how="close", number=3),
    "read: reset": _one("READ", "end", how="reset", number=3),
    "read: silence": _one("READ", "end", how="silence", number=3),
    "read: window closed": _one("READ", "end", how="deaf", number=3),
    "read: nothing but breaks": _one("READ", "endless breaks", number=3),
    "read: a byte at a time": [*_one("READ", "drip", number=3), *_one("READ", "unanswered", **{"from": 4})],
    "read: interim for ever": _one("READ", "interim", final=False, number=3),
    "read: two interims": _one("READ", "interim", times=2, number=3),
    "read: twice": _one("READ", "twice", number=3),
    "read: stranger": _one("READ", "stranger", number=3),
    "read: another id": _one("READ", "shift", message_id=1 << 20, number=3),
    "read: another session": _one("READ", "shift", session_id=1, number=3),
    "read: another tree": _one("READ", "shift", tree_id=1, number=3),
    "read: another command": _one("READ", "header", command=13, number=3),
    "read: a request": _one("READ", "header", flags=0, number=3),
    "read: wrong signature": _one("READ", "header", signature="5a" * 16, number=3),
    "read: unsigned": _one("READ", "header", sign=False, number=3),
    "read: bit flipped": _one("READ", "flip", skip=80, number=3),
    "read: pending without a promise": _one("READ", "header", status=0x103, number=3),
    "read: an error": _one("READ", "status", value=0xC000_009A, number=3),
    "read: warning with data": _one("READ", "header", status=0x8000_0005, number=3),
    "read: session deleted": _one("READ", "status", value=0xC000_0203, number=3),
    "read: no credits": _one("READ", "header", credits=0),
    "read: torn, silence": _one("READ", "torn", size=70, how="silence", number=3),
    "read: torn, close": _one("READ", "torn", size=70, how="close", number=3),
    "read: torn, reset": _one("READ", "torn", size=70, how="reset", number=3),
    "read: two framing bytes": _one("READ", "torn", size=2, how="silence", number=3),
    "read: frame of 16 MiB": _one("READ", "frame length", value=0xFF_FFFF, number=3),
    "read: frame of 2 GiB": _one("READ", "frame length", value=0x7FFF_FFFF, number=3),
    "read: frame of 0": _one("READ", "frame length", value=0, number=3),
    "read: frame of 63": _one("READ", "frame length", value=63, number=3),
    "read: compound of itself": _one("READ", "header", next_command=64, number=3),
    "read: compound askew": _one("READ", "header", next_command=9, number=3),
    "read: compound out of the frame": _one("READ", "header", next_command=0xFFFF_FFF8, number=3),
    "read: header size": _one("READ", "header", header_size=63, number=3),
    "read: data out of the frame": _patch("READ", 2, 255, "<B", number=3),
    "read: data in the header": _patch("READ", 2, 8, "<B", number=3),
    "read: length beyond the frame": _patch("READ", 4, 0x7FFF_FFFF, number=3),
    "read: negative length": _patch("READ", 4, 0xFFFF_FFFF, number=3),
    "read: more than asked": _one("READ", "long", more=8, number=3),
    "read: structure size": _patch("READ", 0, 0, "<H", number=3),
    "read: cut": _one("READ", "cut", size=10, number=3),
    "read: noise": _one("READ", "raw", random=300, number=3),
    "read: noise without frames": _one("READ", "raw", random=3000, framing=False, number=3),
    "read: SMB1": _one("READ", "raw", data="ff534d422e", random=64, number=3),
    "read: compressed": _one("READ", "compressed", number=3),
    "read: sealed by nobody": _one("READ", "raw", data="fd534d42", random=200, number=3),
    "read: break of no shape": _one("READ", "raw", data="fe534d4240", random=59, number=3),
}
READING_ODDLY: dict[str, list[Rule]] = {
    "odd: short": _one("READ", "short", size=1000, every=2),
    "odd: late": _one("READ", "late", ms=20),
    "odd: reordered": _one("READ", "late", ms=0, spread=30),
    "odd: interim": _one("READ", "interim", ms=3),
    "odd: some interim": _one("READ", "interim", ms=20, every=3),
    "odd: credit flood": _one("READ", "header", credits=65_535),
    "odd: oplock breaks": _one("READ", "break", kind="oplock"),
    "odd: lease breaks": _one("READ", "break", kind="lease"),
    "odd: sizes of 4 GiB": _patch("NEGOTIATE", [28, 32, 36], 0xFFFF_FFFF),
    "odd: more behind the data": _one("READ", "append", size=24),
}
MODES: dict[str, list[Rule]] = {
    **NEGOTIATING,
    **LOGGING_ON,
    **FOLDERS,
    **OPENING,
    **READING_BADLY,
    **READING_ODDLY,
}
