"""Wait until a dump is whole: Windows copies it out of the page file after the next boot."""

from __future__ import annotations

from collections.abc import Callable

from lab.capture.source import DumpRef, DumpSource, find, head_of
from lab.dumps import expected_length as length_by_header
from lab.model import Clock, InfrastructureError, wait_until
from lab.smb import AccessDenied, CredentialsRefused

LOOK_EVERY = 0.5
"""Seconds between two looks; a dump is whole when two of them agree."""

LOOKS_WITHOUT_LENGTH = 10
"""Looks that must agree when the header does not say how long the dump will be."""

SIGNATURES = (b"PAGEDU64", b"PAGEDUMP")
"""64-bit, and 32-bit: that one is no use to us, but its reader says so better than a time-out."""


def wait_until_whole(
    source: DumpSource,
    ref_name: str,
    *,
    not_like: bytes | None,
    expected_length: Callable[[bytes], int | None] = length_by_header,
    clock: Clock,
    seconds: float,
    every: float = LOOK_EVERY,
) -> DumpRef:
    """Wait until the dump `ref_name` is there and whole, and return it as it then is.

    Whole: its first bytes are not those of the old dump (`not_like`), it has a dump's signature, it is
    at least as long as its header says, and neither length, time nor first bytes change between two
    looks. Raises TimedOut ("dump") with what was seen last; refused credentials and denied access at
    once. Other trouble with the source is waited out: the host is only just booting.
    """
    watch = _Watch(source, ref_name, not_like, expected_length)
    return wait_until(
        watch.look, wait="dump", seconds=seconds, clock=clock, every=every, last_seen=lambda: watch.seen
    )


class _Watch:
    """Remembers the last look. `seen` is for the user."""

    def __init__(
        self,
        source: DumpSource,
        name: str,
        not_like: bytes | None,
        expected_length: Callable[[bytes], int | None],
    ) -> None:
        self._source, self._name, self._not_like = source, name, not_like
        self._expected_length = expected_length
        self._last: tuple[DumpRef, bytes] | None = None
        self._agreed = 0
        self.seen = "nothing"

    def look(self) -> DumpRef | None:
        try:
            ref = find(self._source, self._name)
            head = b"" if ref is None else head_of(self._source, ref)
        except (AccessDenied, CredentialsRefused):
            raise
        except InfrastructureError as error:
            self._last, self.seen = None, error.message
            return None
        if ref is None:
            self._last, self.seen = None, f"no file {self._name}"
            return None
        self._agreed = self._agreed + 1 if (ref, head) == self._last else 1
        self._last = (ref, head)
        return ref if self._whole(ref, head) else None

    def _whole(self, ref: DumpRef, head: bytes) -> bool:
        if _same_beginning(head, self._not_like):
            self.seen = f"{ref.name} is still the one from before"
            return False
        if not head.startswith(SIGNATURES):
            self.seen = f"{ref.name} of {ref.length} bytes does not begin as a dump"
            return False
        expected = self._expected_length(head) if head.startswith(b"PAGEDU64") else None
        if expected is not None and ref.length < expected:
            self.seen = f"{ref.name} has {ref.length} of {expected} bytes"
            return False
        self.seen = f"{ref.name} of {ref.length} bytes is still changing"
        return self._agreed >= (2 if expected is not None else LOOKS_WITHOUT_LENGTH)


def _same_beginning(head: bytes, old: bytes | None) -> bool:
    shared = min(len(head), len(old or b""))
    return old is not None and shared > 0 and head[:shared] == old[:shared]
