"""The contract of shells, run by SSH against a real sshd: logged on to with a key, and with a password."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from shell_contract import LONG, ShellContract
from sshd import SSHD, Sshd, can_have_accounts, hashed

from lab.windows.ssh import SshGuestShell

PASSWORD = "Pass wörd 'n\" $1"
pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd: tests/servers/install.sh installs it")


class SshGuest:
    """A guest behind a real sshd, where a stand-in for powershell.exe answers."""

    def __init__(self, server: Sshd, **access: Any) -> None:
        self.server, self._access = server, access
        self.disk = server.folder / "bin"
        self.cut, self.gone, self.back = server.cut, server.kill, server.start

    def shell(self, *, script: float = LONG, **changed: Any) -> SshGuestShell:
        if "password" in changed:
            changed["key_file"] = None
        return self.server.shell(script=script, **(self._access | changed))


class TestSshByKey(ShellContract):
    @pytest.fixture
    def guest(self, tmp_path: Path) -> Iterator[SshGuest]:
        server = Sshd(tmp_path)
        server.start()
        yield SshGuest(server)
        server.kill()


class TestSshByPassword(ShellContract):
    @pytest.fixture
    def guest(self, tmp_path: Path) -> Iterator[SshGuest]:
        if not can_have_accounts():
            pytest.skip("needs root and mount namespaces, for a server with users of its own")
        server = Sshd(tmp_path, accounts={"lab": f"{hashed(PASSWORD)}:19000::::::"})
        server.start()
        yield SshGuest(server, user="lab", password=PASSWORD, key_file=None)
        server.kill()
