"""What the tables say of each kind of stop, and that no kind accuses anybody without evidence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from analysis_facts import base, stop

from lab.analysis.arguments import meanings
from lab.analysis.rules import apply, codes
from lab.analysis.rules.dispatch_routine import KINDS as ROUTINES
from lab.analysis.rules.fault import FAULT_ADDRESS
from lab.analysis.stops import KIND_PARAMETER, KINDS, Role, describe, kind
from lab.analysis.stops.plain import PLAIN
from lab.analysis.suspects import rank
from lab.model import Bugcheck
from lab.model.bugcheck import NAMES

Parameters = tuple[int, int, int, int]


def of(code: int, number: int, *others: int) -> Bugcheck:
    """A stop of a kind; the other parameters in their order."""
    values = list(others) + [0] * (3 - len(others))
    values.insert(KIND_PARAMETER[code] - 1, number)
    first, second, third, fourth = values
    return Bugcheck(code, (first, second, third, fourth))


EVERY = [(code, number) for code, kinds in KINDS.items() for number in kinds]
IDS = [f"{code:#x}-{number:#x}" for code, number in EVERY]

VERIFIER_ROLES: dict[int, tuple[Role, Role, Role]] = {
    0x30: (Role.NOTHING,) * 3,
    0x31: (Role.NOTHING,) * 3,
    0x32: (Role.NOTHING, Role.LOCK, Role.NOTHING),
    0x33: (Role.NOTHING, Role.LOCK, Role.NOTHING),
    0x34: (Role.NOTHING, Role.LOCK, Role.NOTHING),
    0x37: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0x38: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0x39: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0x3A: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0x3B: (Role.NOTHING,) * 3,
    0x3C: (Role.NOTHING,) * 3,
    0x3D: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0x3E: (Role.NOTHING,) * 3,
    0x3F: (Role.NOTHING,) * 3,
    0x40: (Role.NOTHING, Role.LOCK, Role.NOTHING),
    0x41: (Role.NOTHING, Role.LOCK, Role.NOTHING),
    0x42: (Role.NOTHING, Role.LOCK, Role.NOTHING),
    0x62: (Role.NAME, Role.NOTHING, Role.NOTHING),
    0x91: (Role.NOTHING,) * 3,
    0xC0: (Role.REQUEST, Role.NOTHING, Role.NOTHING),
    0xC1: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0xC2: (Role.NOTHING,) * 3,
    0xC3: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0xC5: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0xC6: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0xCA: (Role.LOCK, Role.NOTHING, Role.NOTHING),
    0xCB: (Role.LOCK, Role.NOTHING, Role.NOTHING),
    0xCC: (Role.LOCK, Role.POOL, Role.NOTHING),
    0xCD: (Role.LOCK, Role.NOTHING, Role.NOTHING),
    0xD0: (Role.LOCK, Role.NOTHING, Role.NOTHING),
    0xD1: (Role.LOCK, Role.NOTHING, Role.NOTHING),
    0xD2: (Role.LOCK, Role.POOL, Role.NOTHING),
    0xD5: (Role.NOTHING,) * 3,
    0xD6: (Role.NOTHING,) * 3,
    0xD7: (Role.NOTHING,) * 3,
    0xDA: (Role.IMAGE, Role.CODE, Role.NOTHING),
    0xDB: (Role.DEVICE, Role.NOTHING, Role.NOTHING),
    0xDD: (Role.CODE, Role.IMAGE, Role.NOTHING),
    0xE3: (Role.CODE, Role.NOTHING, Role.NOTHING),
    0xE5: (Role.NOTHING,) * 3,
    0xE6: (Role.CODE, Role.NOTHING, Role.NOTHING),
    0xEA: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0xEB: (Role.NOTHING, Role.NOTHING, Role.LOCK),
    0xF6: (Role.NOTHING, Role.NOTHING, Role.CODE),
    0xFA: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0xFB: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0x111: (Role.ROUTINE, Role.NOTHING, Role.NOTHING),
    0x11A: (Role.NOTHING,) * 3,
    0x11B: (Role.NOTHING,) * 3,
    0x1001: (Role.LOCK, Role.NOTHING, Role.NOTHING),
    0x1003: (Role.LOCK, Role.LOCK, Role.NOTHING),
    0x20002: (Role.RULE, Role.NOTHING, Role.NOTHING),
    0x40003: (Role.RULE, Role.NOTHING, Role.NOTHING),
    0x9400C: (Role.RULE, Role.NOTHING, Role.NOTHING),
}
"""Parameters 2, 3 and 4, by Microsoft's bug check code reference."""


@pytest.mark.parametrize(("number", "roles"), VERIFIER_ROLES.items(), ids=map(hex, VERIFIER_ROLES))
def test_what_the_parameters_of_a_verifier_violation_lead_to(
    number: int, roles: tuple[Role, Role, Role]
) -> None:
    found = describe(Bugcheck(0xC4, (number, 0, 0, 0)))
    assert found is not None
    assert tuple(parameter.role for parameter in found.parameters[1:]) == roles


@pytest.mark.parametrize("number", [0x200, 0x226, 0x24D, 0x312, 0x2FF])
def test_io_manager_errors_from_0x200_on_have_code_irp_and_device(number: int) -> None:
    found = describe(Bugcheck(0xC9, (number, 0, 0, 0)))
    assert found is not None
    assert [p.role for p in found.parameters[1:]] == [Role.CODE, Role.REQUEST, Role.DEVICE]


@pytest.mark.parametrize(("code", "number"), EVERY, ids=IDS)
def test_every_kind_is_described(code: int, number: int) -> None:
    bugcheck = of(code, number)
    found = describe(bugcheck)
    assert found is not None
    assert kind(bugcheck) == number
    assert found.meaning and not found.meaning.endswith(".")
    assert found.parameters[KIND_PARAMETER[code] - 1].text == found.meaning
    assert meanings(bugcheck)[KIND_PARAMETER[code] - 1] == found.meaning
    assert found.meaning[0].isupper() or found.meaning.split()[0].isidentifier() or found.meaning[0] in "'\""


@pytest.mark.parametrize(("code", "number"), EVERY, ids=IDS)
def test_no_kind_accuses_anybody_when_its_parameters_lead_nowhere(code: int, number: int) -> None:
    bugcheck = of(code, number, 1, 2, 3)
    facts = stop(bugcheck.code, bugcheck.parameters, "nt!Something+0x1")
    evidence, notes = apply(facts)
    assert rank(facts, evidence) == ()
    assert not any(each.points_to for each in evidence)
    assert evidence or notes


@pytest.mark.parametrize(("code", "number"), EVERY, ids=IDS)
def test_windows_own_drivers_are_never_accused(code: int, number: int) -> None:
    inside = base("Ntfs.sys") + 0x100
    bugcheck = of(code, number, inside, inside, inside)
    facts = stop(bugcheck.code, bugcheck.parameters, "nt!Something+0x1", "Ntfs!NtfsRead+0x1")
    evidence, _ = apply(facts)
    assert rank(facts, evidence) == ()
    assert not any(each.points_to for each in evidence)


@pytest.mark.parametrize("code", sorted(PLAIN), ids=hex)
def test_plain_stops_accuse_nobody_of_windows_save_where_it_faulted(code: int) -> None:
    inside = base("Ntfs.sys") + 0x100
    facts = stop(code, (inside,) * 4, "nt!Something+0x1", "Ntfs!NtfsRead+0x1")
    evidence, _ = apply(facts)
    assert {each.rule for each in evidence if each.points_to} <= {FAULT_ADDRESS}
    assert meanings(facts.bugcheck) != ("", "", "", "")


def test_every_stop_that_has_a_rule_has_a_name_and_a_table() -> None:
    ours = {0x80, 0xE2}
    assert codes() <= set(NAMES)
    assert codes() - ours <= set(KINDS) | set(PLAIN)
    assert set(KINDS) | set(PLAIN) <= codes(), "a table without a rule says nothing"


def test_every_stop_that_has_a_rule_is_in_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/bugchecks.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(0x[0-9A-F]+)` \| (\w+) \|", page, re.MULTILINE))
    assert rows == {f"0x{code:X}": NAMES[code] for code in codes()}


def test_routines_of_the_rules_are_routines_of_the_tables() -> None:
    for code, number in ROUTINES:
        found = describe(of(code, number))
        assert found is not None
        assert found.parameters[1].role is Role.ROUTINE, hex(number)
    by_tables = {
        (code, number)
        for code, number in EVERY
        if any(parameter.role is Role.ROUTINE for parameter in KINDS[code][number].parameters)
    }
    assert by_tables == set(ROUTINES)


@pytest.mark.parametrize(
    ("bugcheck", "said"),
    [
        (Bugcheck(0xC4, (0x1F0, 0, 0, 0)), "Kind of violation 0x1f0"),
        (Bugcheck(0xC1, (0, 0, 0, 0x99)), "Kind of violation 0x99"),
        (Bugcheck(0xC4, (0x2FFFF, 0, 0, 0)), "The driver broke the DDI compliance rule number 0x2ffff"),
        (Bugcheck(0x3D), ""),
    ],
)
def test_unknown_kinds_are_said_to_be_unknown(bugcheck: Bugcheck, said: str) -> None:
    assert (said in meanings(bugcheck)) and all(
        text in ("", said) or "rule" in said for text in meanings(bugcheck)
    )
