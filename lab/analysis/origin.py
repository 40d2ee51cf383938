"""Who made a loaded image, and how we know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath

from lab.analysis.altitudes import group_of
from lab.analysis.inbox import IN_BOX, SHARED
from lab.model import Driver, Origin


@dataclass(frozen=True)
class Marks:
    """What an image says of itself in the dump; "" where the dump does not hold it.

    Anybody may write anything there: a mark of another maker is believed, a mark of Microsoft's only as far
    as nothing else contradicts it.
    """

    company: str = ""  # CompanyName of its version resource
    pdb: str = ""  # file name or path of its CodeView record
    altitude: str = ""  # of a minifilter's instance


_CUT_AT = 12
"""DUMP_UNLOADED_DRIVERS64.DriverName has room for so many characters."""


def by_image(known: Iterable[Driver]) -> Mapping[str, Driver]:
    """Drivers as a guest reported them, by lower-case image file name."""
    return {driver.image.casefold(): driver for driver in known if driver.image}


def classify(
    image: str, known: Mapping[str, Driver] | None = None, marks: Marks | None = None
) -> tuple[Origin, str]:
    """The origin of an image file name or path, and one clause that says how it is known.

    In this order: a guest's own verdict (`known`, see `by_image`), the signer that it reported, the company
    in the version resource, the path of the PDB, the list of names that come with Windows. An altitude only
    adds a hint. `dump_X` is the copy of X that Windows keeps for writing dumps, so it has the origin of X.
    What nothing else is known of is third-party until shown otherwise.
    """
    name = PureWindowsPath(image).name.casefold()
    marks = marks or Marks()
    reported = (known or {}).get(name)
    if reported is not None and reported.origin is not Origin.UNKNOWN:
        return reported.origin, reported.origin_because or "reported by the guest"
    if reported is not None and reported.signer.strip():
        return _by_signer(reported.signer.strip(), reported.company or marks.company)
    plain = name.removeprefix("dump_")
    if marks.company.strip():
        return _by_company(plain, marks)
    if _built_elsewhere(marks.pdb):
        said = f"its PDB was built as {marks.pdb}"
        if plain in IN_BOX:
            said += ", although a driver of this name comes with Windows"
        return Origin.THIRD_PARTY, said
    if plain in IN_BOX:
        copy = ", as the copy Windows keeps for dumps" if plain != name else ""
        return Origin.IN_BOX, f"in the list of in-box drivers{copy}"
    hint = _hint(marks.altitude)
    if plain in SHARED:
        return Origin.UNKNOWN, "Windows and the maker of the device both ship a file of this name" + hint
    if not name:
        return Origin.UNKNOWN, "the name of the image is not in the dump" + hint
    return Origin.THIRD_PARTY, "not in the list of in-box drivers" + hint


def may_be_in_box(name: str) -> bool:
    """Whether a name that a small dump cut off ("dump_storpor") may be one of Windows' own."""
    begin = name.casefold().removeprefix("dump_")
    return len(name) == _CUT_AT and any(each.startswith(begin) for each in IN_BOX)


def is_microsoft(company: str) -> bool:
    """Whether a CompanyName is Microsoft's own. The driver kits' samples say "Windows (R) ... provider"."""
    return bool(re.fullmatch(r"microsoft( corporation| corp\.?|\.?)", company.strip(), re.IGNORECASE))


_WINDOWS_SIGNERS = ("microsoft windows", "microsoft windows publisher")


def _by_signer(signer: str, company: str) -> tuple[Origin, str]:
    """Windows itself is signed by its own certificate; Microsoft's hardware lab signs for other makers."""
    if signer.casefold() in _WINDOWS_SIGNERS and (not company.strip() or is_microsoft(company)):
        return Origin.IN_BOX, f"signed as part of Windows ({signer})"
    made = f"made by {company.strip()}, " if company.strip() else ""
    return Origin.THIRD_PARTY, f"{made}signed by {signer}"


def _by_company(plain: str, marks: Marks) -> tuple[Origin, str]:
    company = marks.company.strip()
    listed = plain in IN_BOX
    said = f"its version resource names {company}"
    if not is_microsoft(company):
        if listed:
            said += ", although a driver of this name comes with Windows"
        return Origin.THIRD_PARTY, said
    if _built_elsewhere(marks.pdb):
        return Origin.UNKNOWN, f"{said}, but its PDB was built as {marks.pdb}"
    if listed:
        return Origin.IN_BOX, f"{said}, and it is in the list of in-box drivers"
    if marks.pdb:
        return Origin.IN_BOX, f"{said}, and its PDB a bare {marks.pdb}, as Windows' own; no list knows it"
    return Origin.UNKNOWN, f"{said}, which anybody can write; nothing else confirms it"


def _built_elsewhere(pdb: str) -> bool:
    """A CodeView record with a whole path: Windows itself is built with bare file names."""
    return "\\" in pdb or "/" in pdb


def _hint(altitude: str) -> str:
    group = group_of(altitude)
    if group is None:
        return ""
    kept = ", which is kept for Microsoft's own" if group.reserved else ""
    return f"; its altitude {altitude} is of the group {group.name}{kept}, a weak hint"
