"""The drivers of the simulated server: what its registry says of them, and which can be the culprit."""

from __future__ import annotations

from lab.model import ConfigurationError
from lab.twin.driver import CatalogueDriver
from lab.twin.inbox import IN_BOX
from lab.twin.thirdparty import NOISY, THIRD_PARTY

BUILDS = (7601, 9600, 14393, 17763, 20348)


def drivers(build: int) -> tuple[CatalogueDriver, ...]:
    """The drivers of a server of this build, in load order."""
    found = [driver for driver in (*IN_BOX, *THIRD_PARTY) if build in driver.builds]
    return tuple(sorted(found, key=lambda driver: driver.start))


def plantable(build: int) -> list[dict[str, str]]:
    """Third-party drivers that can be the culprit: `service`, `image`, `kind`, `vendor` of each.

    Left out are those whose part in the story is fixed: the noisy innocent, drivers the server cannot
    run without, and drivers whose device is absent.
    """
    return [
        {"service": d.service, "image": d.image, "kind": str(d.kind), "vendor": d.company}
        for d in drivers(build)
        if d.third_party and d.present and not d.vital and d.service != NOISY
    ]


def check_plantable(build: int, service: str) -> None:
    """Raises ConfigurationError when this service cannot be the culprit. Case does not matter."""
    if service.casefold() not in {entry["service"].casefold() for entry in plantable(build)}:
        raise ConfigurationError(
            f"the twin cannot plant {service!r} as the culprit",
            help=f"Choose a service that 'lab twin drivers --build {build}' lists.",
        )
