"""How the documentation of a bugcheck is written down: what happened, and what each parameter is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a parameter leads to, where it leads to anybody."""

    NOTHING = ""
    ROUTINE = "routine"  # the routine that broke the rule
    CODE = "code"  # an address in the code that made the call
    IMAGE = "image"  # the start of the image in question
    NAME = "name"  # a pointer to its name
    RULE = "rule"  # a pointer to the text of the rule that was broken
    DEVICE = "device"
    DRIVER = "driver"  # a driver object
    REQUEST = "request"  # an IRP
    POOL = "pool"  # a block of pool
    TAG = "tag"  # a pool tag
    LOCK = "lock"
    MEMORY = "memory"  # the memory that was touched
    THREAD = "thread"


@dataclass(frozen=True)
class Parameter:
    """One parameter: a clause that says what it is, and what it leads to."""

    text: str = ""
    role: Role = Role.NOTHING


@dataclass(frozen=True)
class Stop:
    """A kind of stop. `meaning` is one clause without a full stop; parameters in order."""

    meaning: str
    parameters: tuple[Parameter, Parameter, Parameter, Parameter]


Kinds = dict[int, Stop]
"""The kinds of one bugcheck, by the parameter that tells them apart."""

NOTHING = Parameter()
RESERVED = Parameter("Reserved")
IRQL = Parameter("Current IRQL")
DEVICE = Parameter("Device object", Role.DEVICE)
REQUEST = Parameter("IRP", Role.REQUEST)
BLOCK = Parameter("Pool block", Role.POOL)
POOL_TYPE = Parameter("Pool type (0 nonpaged, 1 paged)")
BYTES = Parameter("Size in bytes")


def violation(
    meaning: str, second: Parameter = NOTHING, third: Parameter = NOTHING, fourth: Parameter = NOTHING
) -> Stop:
    """A kind that parameter 1 tells; its clause becomes the meaning of parameter 1."""
    return Stop(meaning, (Parameter(meaning), second, third, fourth))
