"""What can be wrong with the media of an installation."""

from __future__ import annotations

from lab.model import ConfigurationError


class BadImage(ConfigurationError):
    """An ISO image or a WIM is damaged, or not what it has to be."""

    help = "Take the ISO as Microsoft gives it, and compare its SHA-256."


class BadAnswerFile(ConfigurationError):
    """Windows Setup would stop at this answer file, or ask."""
