"""Where a host's dumps are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.capture import ShareSource
from lab.inventory import Host, SshShell
from lab.trials.target import target_of

if TYPE_CHECKING:
    from lab.capture.sftp import SftpSource


def dumps_of(host: Host) -> ShareSource | SftpSource:
    """The dumps of a host, by its inventory entry: on its share, or over SFTP. Connects when first needed.

    Raises ConfigurationError when a secret is missing.
    """
    if host.dumps == "sftp":
        from lab.capture.sftp import SftpSource
        from lab.windows.ssh_connection import access_of

        shell = host.guest.shell
        assert isinstance(shell, SshShell)  # checked when the inventory was read
        return SftpSource(access_of(host.address, shell, host.timeouts), host.dump_folder)
    return ShareSource(target_of(host), seconds=host.timeouts.connect)
