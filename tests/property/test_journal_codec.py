"""What is written is what is read, for every value the journal keeps."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.journal import codec
from lab.model import Driver, LoadPlan, LoadReport, Outcome, Recipe, Signature, Triage, Verdict, VerdictKind

# Also what only a damaged dump holds: NUL, lone surrogates.
st.register_type_strategy(str, st.text(st.characters(), max_size=6))
st.register_type_strategy(float, st.floats(allow_nan=False))

CODECS = [
    (codec.signature, Signature),
    (codec.load_plan, LoadPlan),
    (codec.load_report, LoadReport),
    (codec.drivers, tuple[Driver, ...]),
    (codec.verdict, Verdict),
    (codec.recipe, Recipe),
    (codec.outcome, Outcome),
    (codec.names, frozenset[str]),
]


@pytest.mark.parametrize(("kept", "kind"), CODECS, ids=lambda x: x.name if isinstance(x, codec.Codec) else "")
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_value_comes_back_equal_and_of_the_same_type(
    kept: codec.Codec[object], kind: type, data: st.DataObject
) -> None:
    value = data.draw(st.from_type(kind))
    text = kept.encode(value)
    back = kept.decode(text)
    assert back == value and type(back) is type(value)
    assert text.isascii() and kept.encode(back) == text


@given(st.from_type(Triage))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_triage_comes_back_equal(value: Triage) -> None:
    text = codec.triage.encode(value)
    assert codec.triage.decode(text) == value
    assert codec.triage.encode(codec.triage.decode(text)) == text


@given(st.frozensets(st.text(max_size=3)))
def test_equal_sets_are_written_alike(names: frozenset[str]) -> None:
    assert json.loads(codec.names.encode(names)) == sorted(names)


@given(st.text(st.characters()))
def test_storable_text_is_unicode_without_nul_and_stays_as_it_is(text: str) -> None:
    stored = codec.storable(text)
    assert "\x00" not in stored and stored.encode("utf-8").decode("utf-8") == stored
    assert codec.storable(stored) == stored and len(stored) == len(text)


def test_a_verdict_of_an_earlier_version_is_read() -> None:
    written = '{"kind":"undecided","culprits":["a","b"],"probability":0.6,"because":[],"confirmed_by":[]}'
    assert codec.verdict.decode(written) == Verdict(VerdictKind.UNDECIDED, ("a", "b"), 0.6, ())
