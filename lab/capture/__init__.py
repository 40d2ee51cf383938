"""How a dump gets here: where dumps lie, when one is whole, fetching it, and the store of dumps."""

from lab.capture.fetch import Fetch, fetch
from lab.capture.incoming import VaultError
from lab.capture.patience import Replaced
from lab.capture.readers import InPlace
from lab.capture.share import ShareSource
from lab.capture.source import DumpRef, DumpSource, RandomAccessFile, Repeatable, find, header_of
from lab.capture.vault import Vault
from lab.capture.whole import wait_until_whole
from lab.capture.why import why_no_dump

__all__ = [
    "DumpRef",
    "DumpSource",
    "Fetch",
    "InPlace",
    "RandomAccessFile",
    "Repeatable",
    "Replaced",
    "ShareSource",
    "Vault",
    "VaultError",
    "fetch",
    "find",
    "header_of",
    "wait_until_whole",
    "why_no_dump",
]
