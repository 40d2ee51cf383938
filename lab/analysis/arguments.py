"""What the four parameters of a bugcheck mean, as the lines under `Arguments:` say it."""

from __future__ import annotations

from lab.analysis.stops import KIND_PARAMETER, describe, kind
from lab.model import Bugcheck
from lab.model.bugcheck import IMAGER_MARKS

Meanings = tuple[str, str, str, str]


def meanings(bugcheck: Bugcheck) -> Meanings:
    """One clause a parameter; "" where the tables know none."""
    if bugcheck.imaged:
        first, second, third, fourth = (
            f'The imager\'s mark "{IMAGER_MARKS[each]}"' for each in bugcheck.parameters
        )
        return first, second, third, fourth
    stop = describe(bugcheck)
    if stop is not None:
        first, second, third, fourth = (parameter.text for parameter in stop.parameters)
        return first, second, third, fourth
    which = kind(bugcheck)
    if which is None:
        return "", "", "", ""
    unknown = f"Kind of violation {which:#x}"
    return ("", "", "", unknown) if KIND_PARAMETER[bugcheck.code] == 4 else (unknown, "", "", "")
