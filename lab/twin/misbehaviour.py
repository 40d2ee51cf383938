"""What the twin can be told to do wrong, as real servers do."""

from __future__ import annotations

from enum import StrEnum

from lab.model import ConfigurationError


class Misbehaviour(StrEnum):
    SLOW_BOOT = "slow-boot"  # each boot takes several times as long
    NO_DUMP = "no-dump"  # the dump cannot be initialised: event 46, and no dump after a stop
    WINRM_REFUSES = "winrm-refuses"  # connections refused for a while after each boot but the first
    DRIVER_STICKS = "driver-sticks"  # one driver puts its start value back at the next boot
    VERIFIER_REFUSED = "verifier-refused"  # verifier.exe fails and changes nothing


def parse(names: frozenset[str]) -> frozenset[Misbehaviour]:
    """Raises ConfigurationError for a name that is not one of the above."""
    known = {str(kind) for kind in Misbehaviour}
    unknown = sorted(names - known)
    if unknown:
        raise ConfigurationError(
            f"the twin does not know the misbehaviour {unknown[0]!r}",
            help=f"Choose among {', '.join(sorted(known))}.",
        )
    return frozenset(Misbehaviour(name) for name in names)
