"""The files that a load reads: made on the data share, known to the last byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from lab.model import InfrastructureError, LabError
from lab.smb.errors import Malformed, NotThere, ShareFull, of_status
from lab.smb.messages import (
    Access,
    Disposition,
    Option,
    close_request,
    create_request,
    parse_create,
    parse_read,
    parse_write,
    read_request,
    write_request,
)
from lab.smb.outstanding import Reply
from lab.smb.profiles import Profile, Work
from lab.smb.share import AT_ONCE, Share
from lab.smb.wire import CREDIT_BYTES, Command

NAME = "bugcheck-lab.bin"
"""The large file."""
FOLDER = "bugcheck-lab"
"""The folder of the small files."""

_BLOCK = 4096
_PATTERN_BLOCKS = 256
_LOOKS = 5


@dataclass(frozen=True)
class FileSet:
    """Files of a load: `names` from the share's root, each of `length` bytes.

    Together they hold `content` from its start, one behind the other.
    """

    names: tuple[str, ...]
    length: int
    folder: str = ""  # the folder made for them, "" for none

    @property
    def size(self) -> int:
        return self.length * len(self.names)


def file_set(profile: Profile) -> FileSet:
    """The files that `profile` reads."""
    if profile.work is Work.FILES:
        names = tuple(f"{FOLDER}\\{index:05}.bin" for index in range(profile.files))
        return FileSet(names, profile.size, FOLDER)
    return FileSet((NAME,), profile.file_bytes)


def content(offset: int, size: int) -> bytes:
    """What the files hold: each block of 4 KiB begins with its number, so that none is like another."""
    first, last = offset // _BLOCK, -(-(offset + size) // _BLOCK)
    pattern, parts = _pattern(), []
    for block in range(first, last):
        at = block % _PATTERN_BLOCKS * _BLOCK
        parts += [block.to_bytes(8, "little"), pattern[at + 8 : at + _BLOCK]]
    skip = offset - first * _BLOCK
    return b"".join(parts)[skip : skip + size]


@cache
def _pattern() -> bytes:
    return random.Random(NAME).randbytes(_PATTERN_BLOCKS * _BLOCK)


def missing(share: Share, files: FileSet) -> list[int]:
    """Which of the files the share does not hold: not there, too short, or not right where looked at.

    Raises the errors of `lab.smb.errors` where they cannot be looked at.
    """
    return [
        index
        for some in _batches(range(len(files.names)))
        for index in sorted(set(some) - _whole(share, files, some))
    ]


def write(share: Share, files: FileSet, absent: Sequence[int]) -> None:
    """Write these of the files, in the place of what is there. Raises ShareFull when they do not fit."""
    _make_room(share, files.length * len(absent))
    if files.folder:
        share.make_folder(files.folder)
    step = min(CREDIT_BYTES, share.connection.max_write)
    for some in _batches(absent):
        opened = _opened(share, files, some, Access.READ_WRITE, _fail, disposition=Disposition.SUPERSEDE)
        pieces = [
            (index, at, min(step, files.length - at))
            for index in opened
            for at in range(0, files.length, step)
        ]
        bodies = (
            write_request(opened[index], at, content(index * files.length + at, size))
            for index, at, size in pieces
        )
        for (index, _, size), reply in zip(pieces, share.exchange_all(Command.WRITE, bodies), strict=True):
            _succeeded(share, reply, f"writing {_named(share, files, index)}")
            if (written := reply.read(parse_write)) != size:
                raise Malformed(f"{share.target.place} wrote {written} of {size} bytes")
        _close(share, opened)


def remove(share: Share, files: FileSet) -> None:
    """Remove the files, and their folder, as far as the server lets us.

    Those that are not there are no error; raises the first error of those that stay.
    """
    stay: list[LabError] = []

    def refused(error: LabError) -> None:
        if not isinstance(error, NotThere):
            stay.append(error)

    options = Option.NO_FOLDER | Option.DELETE_ON_CLOSE
    for some in _batches(range(len(files.names))):
        _close(share, _opened(share, files, some, Access.DELETE, refused, options=options))
    if stay:
        raise stay[0]
    if files.folder:
        with suppress(NotThere):
            share.remove_folder(files.folder)


def _batches(indexes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Files that are open at a time."""
    return (indexes[at : at + AT_ONCE] for at in range(0, len(indexes), AT_ONCE))


def _whole(share: Share, files: FileSet, some: Sequence[int]) -> set[int]:
    """Which of some files are there, at least in full length, and right wherever they are looked at."""
    opened = _opened(share, files, some, Access.READ, _unless_readable)
    whole = set(opened)
    for at in _places(files.length):
        size = min(_BLOCK, files.length - at)
        looked = sorted(whole)  # at what is still thought to be
        bodies = [read_request(opened[index], at, size) for index in looked]
        for index, reply in zip(looked, share.exchange_all(Command.READ, bodies), strict=True):
            if reply.status or reply.read(parse_read, size) != content(index * files.length + at, size):
                whole.discard(index)
    _close(share, opened)
    return whole


def _opened(
    share: Share,
    files: FileSet,
    some: Sequence[int],
    access: int,
    refused: Callable[[LabError], None],
    *,
    disposition: int = Disposition.OPEN,
    options: int = Option.NO_FOLDER,
) -> dict[int, bytes]:
    """The file ids of those that could be opened; `refused` gets the errors of the others."""
    bodies = (create_request(files.names[index], access, disposition, options) for index in some)
    opened = {}
    for index, reply in zip(some, share.exchange_all(Command.CREATE, bodies), strict=True):
        try:
            _succeeded(share, reply, _named(share, files, index))
        except LabError as error:
            refused(error)
        else:
            opened[index] = reply.read(parse_create).file_id
    return opened


def _close(share: Share, opened: dict[int, bytes]) -> None:
    for reply in share.exchange_all(Command.CLOSE, map(close_request, opened.values())):
        _succeeded(share, reply, "closing a file of the load")


def _fail(error: LabError) -> None:
    raise error


def _unless_readable(error: LabError) -> None:
    """A file that is not there, or in a state of its own, is written anew; what is refused is an error."""
    if not isinstance(error, NotThere) and type(error) is not InfrastructureError:
        raise error


def _succeeded(share: Share, reply: Reply, what: str) -> None:
    if reply.status:
        raise of_status(reply.status, share.target.place, share.target.user, what)


def _named(share: Share, files: FileSet, index: int) -> str:
    return f"file '{files.names[index]}' of share '{share.name}'"


def _places(length: int) -> Iterator[int]:
    """Blocks to look at: the first, the last, and some between."""
    last = max(0, length - 1) // _BLOCK
    yield from sorted({last * look // (_LOOKS - 1) * _BLOCK for look in range(_LOOKS)})


def _make_room(share: Share, needed: int) -> None:
    try:
        free = share.free_space()
    except InfrastructureError as error:
        if not share.alive:
            raise error
        return  # a server that does not say: writing will show
    if free < needed:
        raise ShareFull(
            f"share '{share.name}' on {share.target.place} has {free / 1e6:,.1f} MB free; "
            f"the files of the load take {needed / 1e6:,.1f} MB"
        )
