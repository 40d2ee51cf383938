"""SMB2: the read load, and files on a server's shares."""

from lab.model import CredentialsRefused
from lab.smb.errors import AccessDenied, Busy, NotThere, Unreachable
from lab.smb.legacy.load import Progress, run_load
from lab.smb.legacy.session import FileInfo, Share, connect
from lab.smb.profiles import PROFILES, Phase, Profile, find_profile
from lab.smb.target import Secret, SmbTarget

__all__ = [
    "PROFILES",
    "AccessDenied",
    "Busy",
    "CredentialsRefused",
    "FileInfo",
    "NotThere",
    "Phase",
    "Profile",
    "Progress",
    "Secret",
    "Share",
    "SmbTarget",
    "Unreachable",
    "connect",
    "find_profile",
    "run_load",
]
