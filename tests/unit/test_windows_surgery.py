"""Planning a change of the driver set, against a model of what Set-LabDriver does to the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model import ClassFilter, ConfigurationError, Driver, DriverSetting, Origin, Refused, StartType
from lab.windows.surgery import plan, settings, switchable, with_dependants

DISK = "{4d36e967-e325-11ce-bfc1-08002be10318}"


def driver(service: str, **more: object) -> Driver:
    base = Driver(service, f"{service}.sys", "", StartType.SYSTEM, True, origin=Origin.THIRD_PARTY)
    return replace(base, **more)  # type: ignore[arg-type]


def place(index: int, position: str = "upper", guid: str = DISK) -> ClassFilter:
    return ClassFilter(guid, "DiskDrive", position, index)


@dataclass
class Registry:
    """Start types and class filter lists. `write` is the contract of Set-LabDriver."""

    found: tuple[Driver, ...]

    def __post_init__(self) -> None:
        self.starts = {d.service: d.start for d in self.found}
        self.lists: dict[tuple[str, str], list[str]] = {}
        places = sorted((f.index, f, d.service) for d in self.found for f in d.class_filters)
        for index, f, service in places:
            names = self.lists.setdefault((f.class_guid, f.position), [])
            names += [f"stale{n}" for n in range(len(names), index)]  # a name that is no driver service
            names.append(service)

    def write(self, wanted: Sequence[DriverSetting]) -> None:
        named = {s.service for s in wanted}
        for key in self.lists:
            self.lists[key] = [n for n in self.lists[key] if n not in named]
        for _, f, service in sorted((f.index, f, s.service) for s in wanted for f in s.class_filters):
            names = self.lists.setdefault((f.class_guid, f.position), [])
            names.insert(min(f.index, len(names)), service)
        self.starts |= {s.service: s.start for s in wanted}

    def drivers(self) -> tuple[Driver, ...]:
        return tuple(
            replace(
                d,
                start=self.starts[d.service],
                class_filters=tuple(
                    ClassFilter(guid, "DiskDrive", position, names.index(d.service))
                    for (guid, position), names in sorted(self.lists.items())
                    if d.service in names
                ),
            )
            for d in self.found
        )

    def state(self) -> tuple[dict[str, StartType], dict[tuple[str, str], list[str]]]:
        return dict(self.starts), {k: list(v) for k, v in self.lists.items() if v}


FOUND = (
    driver("Inbox", origin=Origin.IN_BOX, class_filters=(place(1),)),
    driver("A", class_filters=(place(0), place(0, "lower"))),
    driver("B", class_filters=(place(2),), start=StartType.BOOT),
    driver("C", class_filters=(place(3), place(1, "lower"))),
    driver("Mini", altitudes=("189600",), depends_on=("Inbox",)),
    driver("Needs", depends_on=("mini",)),
    driver("Far", depends_on=("NEEDS",)),
    driver("Hba", pinned="the boot disk hangs on it"),
    driver("Off", start=StartType.DISABLED, running=False),
)


def test_switching_off_takes_the_name_out_of_every_filter_list() -> None:
    wanted, inverse = plan(FOUND, frozenset({"A"}))
    assert wanted == [DriverSetting("A", StartType.DISABLED)]
    assert inverse == list(settings(d for d in FOUND if d.service == "A"))
    registry = Registry(FOUND)
    registry.write(wanted)
    assert registry.state()[1] == {(DISK, "upper"): ["Inbox", "B", "C"], (DISK, "lower"): ["C"]}


def test_what_needs_it_goes_with_it_however_far() -> None:
    assert with_dependants(FOUND, {"MINI"}) == {"Mini", "Needs", "Far"}
    wanted, _ = plan(FOUND, frozenset({"Mini"}))
    assert [s.service for s in wanted] == ["Mini", "Needs", "Far"]


def test_nothing_to_do() -> None:
    assert plan(FOUND, frozenset()) == ([], [])
    assert plan(FOUND, frozenset({"off"})) == ([], [])


def test_from_one_set_to_another() -> None:
    registry = Registry(FOUND)
    registry.write(plan(FOUND, frozenset({"A", "B", "Mini"}))[0])
    wanted, inverse = plan(registry.drivers(), frozenset({"C"}), as_found=FOUND)
    before = registry.state()
    registry.write(wanted)
    assert registry.state()[1] == {(DISK, "upper"): ["A", "Inbox", "B"], (DISK, "lower"): ["A"]}
    assert registry.starts["Mini"] is StartType.SYSTEM and registry.starts["C"] is StartType.DISABLED
    assert registry.starts["Off"] is StartType.DISABLED  # as it was found, not switched on
    registry.write(inverse)
    assert registry.state() == before


@pytest.mark.parametrize(
    ("disabled", "says"),
    [
        ("Hba", "'Hba' is not switched off, because it is pinned: the boot disk hangs on it"),
        ("Inbox", "'Inbox' is not switched off, because it is part of Windows"),
    ],
)
def test_pinned_and_in_box_drivers_are_refused(disabled: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        plan(FOUND, frozenset({"A", disabled}))


def test_a_driver_that_a_pinned_one_needs_is_refused() -> None:
    drivers = (*FOUND, driver("Nic", depends_on=("B",), pinned="we come in through it"))
    with pytest.raises(Refused, match="'Nic' needs one of the drivers to switch off"):
        plan(drivers, frozenset({"B"}))


def test_an_unknown_service_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="no driver service 'BadDrivr'"):
        plan(FOUND, frozenset({"BadDrivr"}))


def test_a_driver_of_unknown_origin_is_not_innocent() -> None:
    assert "X" in switchable([driver("X", origin=Origin.UNKNOWN)])


@st.composite
def labs(draw: st.DrawFn) -> tuple[Driver, ...]:
    """Drivers with places in up to four filter lists, some of them in-box or pinned."""
    names = [f"D{i}" for i in range(draw(st.integers(1, 8)))]
    places: dict[str, list[ClassFilter]] = {name: [] for name in names}
    for position in ("upper", "lower"):
        for guid in (DISK, DISK.replace("967", "971")):
            listed = draw(st.permutations(names))[: draw(st.integers(0, len(names)))]
            gap = draw(st.integers(0, 1))  # a stale name in front
            for index, name in enumerate(listed):
                places[name].append(place(index + gap, position, guid))
    return tuple(
        driver(
            name,
            class_filters=tuple(places[name]),
            start=draw(st.sampled_from([StartType.BOOT, StartType.DEMAND])),
            origin=draw(st.sampled_from([Origin.IN_BOX, Origin.THIRD_PARTY, Origin.THIRD_PARTY])),
            pinned=draw(st.sampled_from(["", "", "", "needed"])),
        )
        for name in names
    )


@given(labs(), st.data())
def test_any_way_through_driver_sets_leads_back_to_what_was_found(
    found: tuple[Driver, ...], data: st.DataObject
) -> None:
    registry = Registry(found)
    as_found = registry.state()
    may = sorted(switchable(found))
    for _ in range(3):
        disabled = frozenset(data.draw(st.sets(st.sampled_from(may)) if may else st.just(set())))
        before = registry.state()
        wanted, inverse = plan(registry.drivers(), disabled, as_found=found)
        registry.write(wanted)
        starts, lists = registry.state()
        expected = {k: [n for n in v if n not in disabled] for k, v in as_found[1].items()}
        assert lists == {k: v for k, v in expected.items() if v}  # in the order as found
        assert starts == as_found[0] | dict.fromkeys(disabled, StartType.DISABLED)
        written = {s.service: s for s in settings(registry.drivers())}
        assert all(written[s.service] == s for s in wanted)  # what a read-back will be compared with
        registry.write(inverse)
        assert registry.state() == before
        registry.write(wanted)
    registry.write(plan(registry.drivers(), frozenset(), as_found=found)[0])
    assert registry.state() == as_found


@pytest.mark.parametrize("unswitchable", [{"pinned": "we come in through it"}, {"origin": Origin.IN_BOX}])
def test_a_driver_that_does_not_run_holds_nothing_up(unswitchable: dict[str, object]) -> None:
    idle = driver("Idle", depends_on=("B",), running=False, start=StartType.DEMAND, **unswitchable)
    wanted, _ = plan((*FOUND, idle), frozenset({"B"}))
    assert [s.service for s in wanted] == ["B"]  # the idle one is not touched
    with pytest.raises(Refused, match="'Idle' needs one of the drivers"):
        plan((*FOUND, replace(idle, running=True)), frozenset({"B"}))
    with pytest.raises(Refused, match="'Idle' needs one of the drivers"):  # found idle, runs by now
        plan((*FOUND, replace(idle, running=True)), frozenset({"B"}), as_found=(*FOUND, idle))
    with pytest.raises(Refused, match="'Idle' is not switched off"):
        plan((*FOUND, idle), frozenset({"Idle"}))
