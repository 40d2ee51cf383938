"""Load profiles by name. A new profile is a new module here with a `PROFILE`, and a line below."""

from __future__ import annotations

from lab.model import ConfigurationError
from lab.smb.profiles import burst, steady
from lab.smb.profiles.profile import Phase, Profile, Slot, check, schedule, slot_at

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (burst.PROFILE, steady.PROFILE)}


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises ConfigurationError that lists all names."""
    if name not in PROFILES:
        raise ConfigurationError(
            f"there is no load profile '{name}'; the profiles are {', '.join(sorted(PROFILES))}",
            help="Choose one of the profiles named above.",
        )
    return PROFILES[name]


__all__ = ["PROFILES", "Phase", "Profile", "Slot", "check", "find_profile", "schedule", "slot_at"]
