"""Files of shares as they are written: //HOST/SHARE/PATH, or with backslashes."""

from __future__ import annotations

from pathlib import Path

from lab.model import ConfigurationError


def is_on_a_share(dump: str) -> bool:
    """Whether that names a file of a share, and not one that is here: //tmp/x.dmp is /tmp/x.dmp, too."""
    return dump.replace("\\", "/").startswith("//") and not Path(dump).exists()


def parts(dump: str) -> tuple[str, str, str]:
    """Host, share, and path with slashes."""
    host, _, rest = dump.replace("\\", "/").lstrip("/").partition("/")
    share, _, path = rest.partition("/")
    path = path.strip("/")
    if not host or not share or not path:
        raise ConfigurationError(
            f"{dump} names no file of a share",
            help="Write //HOST/SHARE/PATH, as in //srv1/ADMIN$/MEMORY.DMP.",
        )
    return host, share, path
