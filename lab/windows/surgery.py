"""What to change so that a set of drivers does not load at the next boot, and how to take it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from lab.model import ClassFilter, ConfigurationError, Driver, DriverSetting, Origin, Refused, StartType


def settings(drivers: Iterable[Driver]) -> tuple[DriverSetting, ...]:
    """The drivers' settings as they are."""
    return tuple(DriverSetting(d.service, d.start, tuple(sorted(d.class_filters))) for d in drivers)


def switchable(drivers: Iterable[Driver]) -> frozenset[str]:
    """Services that a plan may switch off: not part of Windows and not pinned."""
    return frozenset(d.service for d in drivers if d.origin is not Origin.IN_BOX and not d.pinned)


def with_dependants(drivers: Sequence[Driver], disabled: Iterable[str]) -> frozenset[str]:
    """`disabled` and every driver that needs one of them, directly or not (they move as one).

    Raises ConfigurationError for a service that is not among `drivers`.
    """
    by_name = _by_name(drivers)
    found = {_known(by_name, name).service for name in disabled}
    while True:
        folded = {name.casefold() for name in found}
        more = {
            d.service
            for d in drivers
            if d.service not in found and any(need.casefold() in folded for need in d.depends_on)
        }
        if not more:
            return frozenset(found)
        found |= more


def plan(
    drivers: Sequence[Driver], disabled: frozenset[str], *, as_found: Sequence[Driver] | None = None
) -> tuple[list[DriverSetting], list[DriverSetting]]:
    """The settings to write so that exactly `disabled` (and what needs them) is off, and their inverse.

    `drivers` is what the guest says now; `as_found` what it said before the lab first changed it
    (default: the same). Every switchable driver outside `disabled` gets its setting of `as_found` back.
    Only what differs from now is in the plan. Positions in class filter lists are those that hold after
    the whole plan is written, so the lists keep their order whichever of their names are out.

    Raises Refused for a pinned or in-box driver, or one that such a driver needs while it runs;
    ConfigurationError for an unknown service. A pinned or in-box driver that needs one of them but does
    not run is not touched: nothing is taken from it.
    """
    found = _by_name(as_found if as_found is not None else drivers)
    off = with_dependants(list(found.values()), disabled)
    asked = {name.casefold() for name in disabled}
    running = {d.service.casefold() for d in (*found.values(), *drivers) if d.running}
    off -= {name for name in off if _left_alone(found[name.casefold()], asked, running)}
    for name in sorted(off):
        _check(found[name.casefold()], asked)
    wanted: list[DriverSetting] = []
    inverse: list[DriverSetting] = []
    filters = _lists(found.values(), off)
    for driver in drivers:
        key = driver.service.casefold()
        if key not in found or (driver.service not in off and not _may_switch(found[key])):
            continue
        target = _target(found[key], off, filters)
        now = settings([driver])[0]
        if _kind(target) != _kind(now):
            wanted.append(target)
            inverse.append(now)
    return wanted, inverse


def _kind(setting: DriverSetting) -> tuple[StartType, frozenset[tuple[str, str]]]:
    """A setting without positions: those move by themselves when a neighbour in the list comes or goes."""
    return setting.start, frozenset((f.class_guid, f.position) for f in setting.class_filters)


def _target(
    driver: Driver, off: frozenset[str], filters: dict[tuple[str, str], list[tuple[int, str]]]
) -> DriverSetting:
    if driver.service in off:
        return DriverSetting(driver.service, StartType.DISABLED)
    return DriverSetting(
        driver.service,
        driver.start,
        tuple(sorted(replace(f, index=_position(f, filters)) for f in driver.class_filters)),
    )


def _lists(drivers: Iterable[Driver], off: frozenset[str]) -> dict[tuple[str, str], list[tuple[int, str]]]:
    """For each class filter list, the places (as found) that are taken out of it."""
    lists: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for driver in drivers:
        if driver.service in off:
            for f in driver.class_filters:
                lists.setdefault((f.class_guid, f.position), []).append((f.index, driver.service))
    return lists


def _position(f: ClassFilter, filters: dict[tuple[str, str], list[tuple[int, str]]]) -> int:
    out = filters.get((f.class_guid, f.position), [])
    return f.index - sum(index < f.index for index, _ in out)


def _by_name(drivers: Iterable[Driver]) -> dict[str, Driver]:
    return {d.service.casefold(): d for d in drivers}


def _known(by_name: dict[str, Driver], name: str) -> Driver:
    driver = by_name.get(name.casefold())
    if driver is None:
        raise ConfigurationError(
            f"the guest has no driver service '{name}'", help="List its drivers to see their service names."
        )
    return driver


def _may_switch(driver: Driver) -> bool:
    return driver.origin is not Origin.IN_BOX and not driver.pinned


def _left_alone(driver: Driver, asked: set[str], running: set[str]) -> bool:
    key = driver.service.casefold()
    return not _may_switch(driver) and key not in asked and key not in running


def _check(driver: Driver, asked: set[str]) -> None:
    if _may_switch(driver):
        return
    because = f"it is pinned: {driver.pinned}" if driver.pinned else "it is part of Windows"
    if driver.service.casefold() in asked:
        raise Refused(
            f"driver '{driver.service}' is not switched off, because {because}",
            help="Leave it out, or lift the pin in the inventory if you are sure.",
        )
    needs = ", ".join(driver.depends_on)
    raise Refused(
        f"driver '{driver.service}' needs one of the drivers to switch off ({needs}), "
        f"and cannot go with them, because {because}",
        help="Leave the driver that it needs switched on.",
    )
