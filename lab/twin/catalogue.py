"""The drivers of the simulated server: what its registry says of them, and which can be the culprit."""

from __future__ import annotations

from lab.model import ConfigurationError
from lab.twin.crowded import CROWD
from lab.twin.driver import CatalogueDriver
from lab.twin.inbox import IN_BOX
from lab.twin.thirdparty import NOISY, THIRD_PARTY

BUILDS = (7601, 9600, 14393, 17763, 20348)

FEWEST = sum(driver.present for driver in THIRD_PARTY)
MOST = FEWEST + len(CROWD)
"""How many third-party drivers can run."""


def check_count(third_party: int) -> int:
    """Raises ConfigurationError when not so many third-party drivers can run."""
    if not FEWEST <= third_party <= MOST:
        raise ConfigurationError(
            f"the twin cannot have {third_party} third-party drivers",
            help=f"Choose a number from {FEWEST} to {MOST}.",
        )
    return third_party


def drivers(build: int, third_party: int = FEWEST) -> tuple[CatalogueDriver, ...]:
    """The drivers of a server of this build, in load order. `third_party` of them run as shipped."""
    wanted = (*IN_BOX, *THIRD_PARTY, *CROWD[: check_count(third_party) - FEWEST])
    return tuple(sorted((d for d in wanted if build in d.builds), key=lambda driver: driver.start))


def can_be_planted(driver: CatalogueDriver) -> bool:
    """Left out are those whose part in the story is fixed: the noisy innocent, drivers the server cannot
    run without, and drivers whose device is absent."""
    return driver.third_party and driver.present and not driver.vital and driver.service != NOISY


def plantable(build: int, third_party: int = FEWEST) -> list[dict[str, str]]:
    """Third-party drivers that can be the culprit: `service`, `image`, `kind`, `vendor` of each."""
    return [
        {"service": d.service, "image": d.image, "kind": str(d.kind), "vendor": d.company}
        for d in drivers(build, third_party)
        if can_be_planted(d)
    ]


def check_plantable(build: int, service: str, third_party: int = FEWEST) -> None:
    """Raises ConfigurationError when this service cannot be the culprit. Case does not matter."""
    known = {entry["service"].casefold() for entry in plantable(build, third_party)}
    if service.casefold() not in known:
        raise ConfigurationError(
            f"the twin cannot plant {service!r} as the culprit",
            help=f"Choose a service that 'lab twin drivers --build {build}' lists.",
        )
