"""Drivers as a reader wants to meet them: what it is, who made it, where it sits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from lab.model import Case, Driver, Origin
from lab.report import words

_GROUPS = (
    (420000, 429999, "filter"),
    (400000, 409999, "top of the stack"),
    (392000, 394999, "security monitor"),
    (360000, 389999, "activity monitor"),
    (340000, 349999, "undelete"),
    (320000, 329999, "antivirus"),
    (300000, 309999, "replication"),
    (280000, 289999, "continuous backup"),
    (260000, 269999, "content screener"),
    (240000, 249999, "quota management"),
    (220000, 229999, "system recovery"),
    (200000, 209999, "cluster file system"),
    (180000, 189999, "hierarchical storage"),
    (170000, 175000, "imaging"),
    (160000, 169999, "compression"),
    (140000, 149999, "encryption"),
    (130000, 139999, "virtualization"),
    (120000, 129999, "physical quota management"),
    (100000, 109999, "open file"),
    (80000, 89999, "security enhancer"),
    (60000, 69999, "copy protection"),
    (40000, 49999, "bottom of the stack"),
    (20000, 29999, "system"),
)
"""Load order groups of minifilters by altitude (Microsoft's list of load order groups and altitudes)."""


@dataclass(frozen=True)
class DriverCard:
    """One driver to show. `role` is a noun phrase; `place` says where it sits, or ""."""

    service: str
    image: str
    name: str
    company: str
    version: str
    signer: str
    role: str
    place: str
    start: str
    origin: str
    origin_because: str
    pinned: str
    running: bool
    culprit: bool = False


def same(a: str, b: str) -> bool:
    """Windows compares names of services and images without case."""
    return a.casefold() == b.casefold()


def find(case: Case, name: str) -> Driver | None:
    """The host's driver whose service or image is `name`."""
    by_service = next((d for d in case.drivers if same(d.service, name)), None)
    return by_service or next((d for d in case.drivers if same(d.image, name)), None)


def image(case: Case, service: str) -> str:
    """The file name of a service's image; the service's own name when the host does not list it."""
    driver = find(case, service)
    return driver.image if driver and driver.image else service


def culprit_names(case: Case) -> frozenset[str]:
    """Services and images of the verdict's culprits, case-folded."""
    found = set()
    for service in case.verdict.culprits if case.verdict else ():
        found |= {service.casefold(), image(case, service).casefold()}
    return frozenset(found)


def altitude_key(altitude: str) -> Decimal:
    """Altitudes are decimal numbers of any length; what is none sorts last."""
    try:
        value = Decimal(altitude)
    except InvalidOperation:
        return Decimal(-1)
    return value if value.is_finite() else Decimal(-1)


def altitude_group(altitude: str) -> str:
    """What filters at this altitude are for ("hierarchical storage"), or ""."""
    value = altitude_key(altitude)
    return next((name for low, high, name in _GROUPS if low <= value < high + 1), "")


def role(driver: Driver) -> tuple[str, str]:
    """What a driver is and where it sits: ("minifilter", "at altitude 189600 (hierarchical storage)")."""
    if driver.is_minifilter:
        group = altitude_group(driver.altitudes[0])
        suffix = f" ({group})" if group else ""
        word = "altitude" if len(driver.altitudes) == 1 else "altitudes"
        return "minifilter", f"at {word} {words.names(driver.altitudes)}{suffix}"
    if driver.class_filters:
        places = tuple(f"{f.position} filter of {f.class_name or f.class_guid}" for f in driver.class_filters)
        return "class filter", words.names(places)
    return "kernel driver", f"of group {driver.group}" if driver.group else ""


def card(case: Case, driver: Driver) -> DriverCard:
    kind, place = role(driver)
    return DriverCard(
        service=driver.service,
        image=driver.image,
        name=driver.display_name,
        company=driver.company,
        version=driver.version,
        signer=driver.signer,
        role=kind,
        place=place,
        start=driver.start.name.lower(),
        origin=driver.origin.value,
        origin_because=driver.origin_because,
        pinned=driver.pinned,
        running=driver.running,
        culprit=driver.service.casefold() in culprit_names(case),
    )


def culprit_cards(case: Case) -> tuple[DriverCard, ...]:
    """The verdict's drivers; one the host does not list is shown by its name alone."""
    cards = []
    for service in case.verdict.culprits if case.verdict else ():
        driver = find(case, service)
        if driver:
            cards.append(card(case, driver))
        else:
            cards.append(
                DriverCard(service, service, "", "", "", "", "driver", "", "", "unknown", "", "", True, True)
            )
    return tuple(cards)


def third_party_services(case: Case) -> tuple[str, ...]:
    """Every service the trials could switch: of the host's list and of the trials, culprits first."""
    found: dict[str, str] = {}
    for driver in case.drivers:
        if driver.origin is not Origin.IN_BOX:
            found.setdefault(driver.service.casefold(), driver.service)
    for trial in case.trials:
        for service in sorted(trial.enabled | trial.recipe.disabled):
            found.setdefault(service.casefold(), service)
    culprits = culprit_names(case)
    return tuple(sorted(found.values(), key=lambda s: (s.casefold() not in culprits, s.casefold())))
