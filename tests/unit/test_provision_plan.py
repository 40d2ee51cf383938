"""From a pool, a number and what exists to a plan, and to the pool that fits a case."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.inventory import Pool
from lab.model import Case, ConfigurationError, InfrastructureError, LabError, LoadPlan, Refused, Signature
from lab.provision import Candidate, Plan, Stock, make_plan, pool_for
from lab.provision.maker import AT_ONCE, GUESS, MOST_TOLD

RESTORE = "restore the checkpoint 'baseline' and power on"
GUEST = {"shell": {"kind": "psrp", "user": "u", "password": {"env": "P"}}}
VSPHERE = {
    "kind": "vsphere",
    "controller": {"kind": "vcenter", "url": "https://vc", "user": "u", "password": {"env": "V"}},
    "template": "ws",
}


def rack(**settings: Any) -> Pool:
    return Pool.model_validate({"name": "rack", "members": ["a", "b", "c"], **settings})


def clones(**settings: Any) -> Pool:
    made = {"name": "ws", "machine": VSPHERE, "guest": GUEST, "expendable": True}
    return Pool.model_validate({**made, **settings})


MEMBERS = Stock(tuple(Candidate(name, RESTORE) for name in "abc"))
FRESH = Stock(fresh="full clone of ws")


def names(plan: Plan) -> list[str]:
    return [each.name for each in plan.hosts]


def test_members_that_are_free_in_their_order() -> None:
    plan = make_plan(rack(), 2, MEMBERS, busy={"a": "leased by x:1 until y"})
    plan.check()
    assert names(plan) == ["b", "c"] and plan.hosts[0].how == RESTORE
    assert plan.left_out == (Candidate("a", RESTORE, "leased by x:1 until y"),)


def test_too_few_free_members_says_why_each_is_not() -> None:
    plan = make_plan(rack(), 2, MEMBERS, busy={"a": "leased by x", "b": "handed out to me"}, out=["b"])
    assert names(plan) == ["c"]
    with pytest.raises(InfrastructureError, match="has 1 free of the 2 hosts that were asked for") as caught:
        plan.check()
    assert str(caught.value).endswith(": a: leased by x; b: handed out to me")
    assert "wait until hosts are free" in caught.value.help


MARK = "Set hosts.a.expendable to true."


@pytest.mark.parametrize(("wanted", "kind"), [(2, InfrastructureError), (3, ConfigurationError)])
def test_what_no_waiting_changes_is_bad_input(wanted: int, kind: type[LabError]) -> None:
    """One member is free, one is leased, and one can never be had: two come in time, and three never."""
    wrong = Candidate("a", "", "not marked 'expendable: true'", MARK)
    plan = make_plan(rack(), wanted, Stock((wrong, *MEMBERS.candidates[1:])), busy={"b": "leased by x"})
    with pytest.raises(kind) as caught:
        plan.check()
    assert type(caught.value) is kind
    assert str(caught.value).endswith(": a: not marked 'expendable: true'; b: leased by x")
    assert (caught.value.help == MARK) == (kind is ConfigurationError)


def test_many_members_with_one_obstacle_are_told_in_one_breath() -> None:
    members = [f"srv{number}" for number in range(30)]
    pool = Pool.model_validate({"name": "rack", "members": members, "most": 99})
    stock = Stock(tuple(Candidate(each, "", "not marked", f"Mark {each}.") for each in members))
    with pytest.raises(ConfigurationError) as caught:
        make_plan(pool, 1, stock).check()
    named = ", ".join(members[:MOST_TOLD])
    assert str(caught.value) == f"pool 'rack' cannot give 1 host: {named}, …: not marked"
    assert caught.value.help.startswith("Mark srv0. ") and caught.value.help.endswith("The others likewise.")


def test_more_hosts_than_members() -> None:
    with pytest.raises(ConfigurationError, match="has 3 members, and 4 were asked for"):
        make_plan(rack(), 4, MEMBERS).check()


def test_fresh_hosts_take_the_lowest_numbers_that_are_free() -> None:
    stock = Stock(fresh="full clone", taken=frozenset({"WS-3"}))
    plan = make_plan(clones(), 3, stock, busy={"ws-1": "leased"}, hosts=["ws-4", "other"])
    plan.check()
    assert names(plan) == ["ws-2", "ws-5", "ws-6"]


def test_the_pools_most_counts_those_that_are_out() -> None:
    make_plan(clones(most=3), 2, FRESH, out=["ws-1"]).check()
    plan = make_plan(clones(most=3), 3, FRESH, out=["ws-1"])
    with pytest.raises(  # which handing back would change
        InfrastructureError, match=r"gives 3 hosts at most, of which are out 1 \(ws-1\), and 3 more were"
    ):
        plan.check()
    with pytest.raises(ConfigurationError, match="3 hosts at most, and 4"):
        make_plan(clones(most=3), 4, FRESH).check()


def test_fewer_than_one_host() -> None:
    with pytest.raises(ConfigurationError, match="0 hosts cannot be provisioned"):
        make_plan(clones(), 0, FRESH).check()


def test_what_is_missing_is_told_with_what_exists() -> None:
    missing = ("there is no template 'ws'; known: ws2019", "there is no network 'x'; known: y")
    with pytest.raises(ConfigurationError, match="no template 'ws'; known: ws2019") as caught:
        make_plan(clones(), 1, Stock(fresh="full clone", missing=missing)).check()
    assert "no network 'x'" in caught.value.help


def test_too_little_space() -> None:
    stock = Stock(fresh="full clone", room=2, room_because="datastore d has 100 GiB free")
    make_plan(clones(), 2, stock).check()
    with pytest.raises(InfrastructureError, match=r"room for 2 of the 3 hosts .* pool 'ws': .*100 GiB free"):
        make_plan(clones(), 3, stock).check()


def test_a_pool_that_is_not_expendable_is_refused() -> None:
    with pytest.raises(Refused, match="pool 'ws' is not marked"):
        make_plan(clones(expendable=False), 1, FRESH).check()


def test_how_long_is_from_settings_else_from_the_past_else_a_guess() -> None:
    guess = make_plan(clones(), 1, FRESH)
    assert guess.seconds == GUESS and "a guess" in guess.seconds_from
    past = make_plan(clones(), 1, FRESH, past=[100.0, 900.0, 120.0])
    assert past.seconds == 120 and past.seconds_from == "the median of 3 hosts of this pool before"
    assert make_plan(clones(make_seconds=60.0), 1, FRESH, past=[100.0]).seconds == 60
    many = make_plan(clones(most=99), AT_ONCE + 1, FRESH, past=[100.0])
    assert many.seconds == 200  # two rounds
    assert make_plan(clones(), 3, Stock(fresh="slow", seconds=50, at_once=1)).seconds == 150


def case(build: int | None) -> Any:
    """A case as far as choosing a pool looks at it."""
    crashes = {} if build is None else {"sha": SimpleNamespace(dump=SimpleNamespace(build=build))}
    return SimpleNamespace(id="2026-11-22-0x20-abcd", customer="sha", crashes=crashes)


def test_the_pool_that_fits_a_case() -> None:
    pools = {"z": rack(build=17763), "a": clones(build=14393), "b": clones()}
    assert pool_for(case(17763), pools) is pools["z"]
    with pytest.raises(ConfigurationError, match=r"no pool has build 20348.*a \(build 14393\), b \(no build"):
        pool_for(case(20348), pools)
    with pytest.raises(ConfigurationError, match="there is no pool at all"):
        pool_for(case(20348), {})
    with pytest.raises(ConfigurationError, match="has no customer's dump"):
        pool_for(case(None), pools)


def test_a_case_without_a_dump_really_has_no_build() -> None:
    opened = Case("id", "title", "2026-11-22", Signature(0x20, 0, "", ()), LoadPlan("burst", 1.0))
    with pytest.raises(ConfigurationError, match="has no customer's dump"):
        pool_for(opened, {})
