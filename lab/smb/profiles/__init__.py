"""Load profiles by name. A new profile is a new module here with a `PROFILE`; it is found by itself."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from lab.model import ConfigurationError
from lab.smb.profiles.plan import shaped
from lab.smb.profiles.profile import Disturbance, Phase, Profile, Work
from lab.smb.profiles.schedule import Schedule, Slot


def found() -> dict[str, Profile]:
    """The `PROFILE` of each module of this package, by name."""
    modules = (import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__))
    profiles = [module.PROFILE for module in modules if hasattr(module, "PROFILE")]
    return {profile.name: profile for profile in sorted(profiles, key=lambda profile: profile.name)}


PROFILES: dict[str, Profile] = found()


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises ConfigurationError that lists all names."""
    if name not in PROFILES:
        raise ConfigurationError(
            f"there is no load profile '{name}'; the profiles are {', '.join(PROFILES)}",
            help="Choose one of the profiles named above.",
        )
    return PROFILES[name]


__all__ = [
    "PROFILES",
    "Disturbance",
    "Phase",
    "Profile",
    "Schedule",
    "Slot",
    "Work",
    "find_profile",
    "found",
    "shaped",
]
