"""syzkaller's minimize.Slice: split what is needed in two and drop what can be dropped, layer by layer.

Read in pkg/bisect/minimize/slice.go of google/syzkaller and written anew: the first layer has three chunks,
and the last chunk of a split one is not tried when none of the others was needed. A sequential test with p
and q known answers each question, 5 % wrong in all.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bisect_peers.halving import steps
from benchmarks.bisect_peers.meter import WRONG, Found, Meter, Told, World
from benchmarks.bisect_peers.predicates import Test, sprt

Chunk = Sequence[str]


def slices(world: World, told: Told) -> Found:
    meter = Meter(world, told)
    questions = 2 * steps(len(told.names)) * told.size
    return meter.found(minimal(told.names, sprt(meter, WRONG / questions)))


def minimal(units: Sequence[str], crashes: Test) -> list[str]:
    """A subset that still crashes, of which every unit was found needed."""
    chunks = _layer([units], 3, crashes, needed=False)
    while any(len(chunk) > 1 for chunk in chunks):
        chunks = _layer(chunks, 2, crashes, needed=True)
    return _merged(chunks)


def _layer(chunks: Sequence[Chunk], parts: int, crashes: Test, *, needed: bool) -> list[Chunk]:
    """Of every chunk the parts that are needed. `needed`: something of each is, for sure."""
    kept: list[Chunk] = []
    for at, chunk in enumerate(chunks):
        if len(chunk) == 1 and needed:
            kept.append(chunk)
            continue
        pieces = _split(chunk, parts)
        found = False
        for number, piece in enumerate(pieces, 1):
            sure = needed and not found and number == len(pieces)
            if not sure and crashes(_merged([*kept, *pieces[number:], *chunks[at + 1 :]])):
                continue
            found = True
            kept.append(piece)
    return kept


def _split(chunk: Chunk, parts: int) -> list[Chunk]:
    size = max(1, -(-len(chunk) // parts))
    return [chunk[at : at + size] for at in range(0, len(chunk), size)]


def _merged(chunks: Sequence[Chunk]) -> list[str]:
    return [unit for chunk in chunks for unit in chunk]
