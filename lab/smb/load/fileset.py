"""The files that a load reads: made on the data share, known to the last byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from lab.model import InfrastructureError
from lab.smb.errors import NotThere, ShareFull
from lab.smb.profiles import Profile, Work
from lab.smb.remote_file import RemoteFile
from lab.smb.share import Share

NAME = "bugcheck-lab.bin"
"""The large file."""
FOLDER = "bugcheck-lab"
"""The folder of the small files."""

_BLOCK = 4096
_PATTERN_BLOCKS = 256
_CHUNK = 1 << 20
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


def prepare(share: Share, files: FileSet) -> bool:
    """See that the share holds the files, whole; writes those that it does not. True when it wrote any.

    Raises ShareFull when they do not fit; whatever goes wrong, a file half written is removed again.
    """
    missing = [index for index in range(len(files.names)) if not _whole(share, files, index)]
    if not missing:
        return False
    _make_room(share, files, missing)
    try:
        if files.folder:
            share.make_folder(files.folder)
        for index in missing:
            _write(share, files, index)
    except BaseException:
        with suppress(Exception):
            remove(share, files)
        raise
    return True


def check(file: RemoteFile, files: FileSet, index: int = 0) -> None:
    """Read some places of an opened file, and hold them against what must be there.

    Raises InfrastructureError when they differ: then the load would read something else.
    """
    for offset in _places(files.length):
        size = min(_BLOCK, files.length - offset)
        if file.read_at(offset, size) != content(index * files.length + offset, size):
            raise InfrastructureError(
                f"file '{files.names[index]}' does not hold what the load wrote to it",
                help="See who else writes to the data share, and whether its disk is sound.",
            )


def remove(share: Share, files: FileSet) -> None:
    """Remove the files, and their folder; those that are not there are no error."""
    for name in files.names:
        with suppress(NotThere):
            share.remove(name)
    if files.folder:
        with suppress(NotThere):
            share.remove_folder(files.folder)


def _whole(share: Share, files: FileSet, index: int) -> bool:
    """Whether a file is there in full length, or longer, and right wherever it is looked at."""
    try:
        with share.open(files.names[index]) as file:
            if file.length < files.length:
                return False
            check(file, files, index)
    except (NotThere, InfrastructureError) as error:
        if isinstance(error, NotThere) or type(error) is InfrastructureError:
            return False
        raise
    return True


def _places(length: int) -> Iterator[int]:
    """Blocks to look at: the first, the last, and some between."""
    last = max(0, length - 1) // _BLOCK
    yield from sorted({last * look // (_LOOKS - 1) * _BLOCK for look in range(_LOOKS)})


def _make_room(share: Share, files: FileSet, missing: list[int]) -> None:
    needed = files.length * len(missing)
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


def _write(share: Share, files: FileSet, index: int) -> None:
    start = index * files.length
    with share.create(files.names[index]) as file:
        for at in range(0, files.length, _CHUNK):
            file.write_at(at, content(start + at, min(_CHUNK, files.length - at)))
