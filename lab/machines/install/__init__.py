"""Unattended installation of Windows on bare metal, through virtual media of a management controller."""

from lab.machines.install.errors import BadAnswerFile, BadImage
from lab.machines.install.installer import Prepared, install, prepare, undo
from lab.machines.install.iso import WindowsIso, inspect

__all__ = ["BadAnswerFile", "BadImage", "Prepared", "WindowsIso", "inspect", "install", "prepare", "undo"]
