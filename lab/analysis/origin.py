"""Who made a loaded image, and how we know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PureWindowsPath

from lab.analysis.inbox import IN_BOX, SHARED
from lab.model import Driver, Origin


def by_image(known: Iterable[Driver]) -> Mapping[str, Driver]:
    """Drivers as a guest reported them, by lower-case image file name."""
    return {driver.image.casefold(): driver for driver in known if driver.image}


def classify(image: str, known: Mapping[str, Driver] | None = None) -> tuple[Origin, str]:
    """The origin of an image file name or path, and one clause that says how it is known.

    A guest's own facts (`known`, see `by_image`) win over the name. `dump_X` is the copy of X that Windows
    keeps for writing dumps, so it has the origin of X. Anything else is third-party until shown otherwise.
    """
    name = PureWindowsPath(image).name.casefold()
    reported = (known or {}).get(name)
    if reported is not None and reported.origin is not Origin.UNKNOWN:
        return reported.origin, reported.origin_because or "reported by the guest"
    plain = name.removeprefix("dump_")
    if plain in IN_BOX:
        copy = ", as the copy Windows keeps for dumps" if plain != name else ""
        return Origin.IN_BOX, f"in the list of in-box drivers{copy}"
    if plain in SHARED:
        return Origin.UNKNOWN, "Windows and the maker of the device both ship a file of this name"
    if not name:
        return Origin.UNKNOWN, "the name of the image is not in the dump"
    return Origin.THIRD_PARTY, "not in the list of in-box drivers"
