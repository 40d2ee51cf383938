"""Values of the model to JSON text and back, equal after the round trip.

Sets are written sorted, so that equal values give equal text. JSON is written as ASCII, so that text
read from a broken dump (lone surrogates) can be stored as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from lab.model import (
    ConfigurationError,
    Driver,
    LoadPlan,
    LoadReport,
    Outcome,
    Recipe,
    Signature,
    Triage,
    Verdict,
)

T = TypeVar("T")


def _unordered(value: object) -> list[Any]:
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def dump_json(value: object) -> str:
    """JSON text of plain values, tuples and sets; sets sorted."""
    return json.dumps(value, default=_unordered, ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True)
class Codec(Generic[T]):
    """How values of one type are kept. `name` is for messages."""

    name: str
    adapter: TypeAdapter[T]

    def encode(self, value: T) -> str:
        return dump_json(self.adapter.dump_python(value))

    def decode(self, text: str) -> T:
        """Raises ConfigurationError when the text is not such a value: another program wrote it."""
        try:
            return self.adapter.validate_python(json.loads(text))
        except (ValidationError, ValueError) as error:
            raise ConfigurationError(
                f"the journal holds a {self.name} that this version cannot read",
                help="Open the journal with the version of 'lab' that wrote it.",
            ) from error


signature: Codec[Signature] = Codec("signature", TypeAdapter(Signature))
load_plan: Codec[LoadPlan] = Codec("load plan", TypeAdapter(LoadPlan))
load_report: Codec[LoadReport] = Codec("load report", TypeAdapter(LoadReport))
drivers: Codec[tuple[Driver, ...]] = Codec("list of drivers", TypeAdapter(tuple[Driver, ...]))
verdict: Codec[Verdict] = Codec("verdict", TypeAdapter(Verdict))
recipe: Codec[Recipe] = Codec("recipe", TypeAdapter(Recipe))
outcome: Codec[Outcome] = Codec("outcome", TypeAdapter(Annotated[Outcome, Field(discriminator="kind")]))
names: Codec[frozenset[str]] = Codec("set of names", TypeAdapter(frozenset[str]))
triage: Codec[Triage] = Codec("triage", TypeAdapter(Triage))


def optional(decode: Callable[[str], T], text: str | None) -> T | None:
    """`decode(text)`, or None for a null column."""
    return None if text is None else decode(text)


def storable(text: str) -> str:
    """`text` as every database takes it: valid Unicode, without NUL (PostgreSQL refuses both)."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "�")
