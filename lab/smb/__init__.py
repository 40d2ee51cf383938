"""SMB2: the read load, and files on a server's shares."""

from lab.model import CredentialsRefused
from lab.smb.errors import AccessDenied, Busy, Malformed, NotOffered, NotThere, ShareFull, Unreachable
from lab.smb.load.report import Progress
from lab.smb.load.run import run_load
from lab.smb.profiles import PROFILES, Phase, Profile, find_profile
from lab.smb.share import FileInfo, Share, connect
from lab.smb.target import Authentication, Encryption, Secret, Security, Signing, SmbTarget

__all__ = [
    "PROFILES",
    "AccessDenied",
    "Authentication",
    "Busy",
    "CredentialsRefused",
    "Encryption",
    "FileInfo",
    "Malformed",
    "NotOffered",
    "NotThere",
    "Phase",
    "Profile",
    "Progress",
    "Secret",
    "Security",
    "Share",
    "ShareFull",
    "Signing",
    "SmbTarget",
    "Unreachable",
    "connect",
    "find_profile",
    "run_load",
]
