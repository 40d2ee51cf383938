"""What independent clients do with a running twin: pypsrp, smbprotocol's smbclient, sushy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import smbclient
import sushy
import sushy.auth
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from lab.twin.server import Endpoints, Twin

PASSWORD = "Tw1n-P@ss:word"
SPEED = 240.0


class ScriptFailed(Exception):
    """The guest answered with an error record."""


@dataclass
class Running:
    """A started twin, and what a client can do with it from outside."""

    twin: Twin
    ends: Endpoints
    state: Path

    def connection(self, **changes: Any) -> WSMan:
        given: dict[str, Any] = {"username": self.ends.user, "password": PASSWORD, "auth": "ntlm"}
        given |= {"port": self.ends.winrm_port, "ssl": False, **changes}
        return WSMan(self.ends.host, no_proxy=True, **given)

    def script(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        text = f"#Requires -Version 5.1\n# Script: {name}\nparam()\n"
        with self.connection() as connection, RunspacePool(connection) as pool:
            shell = PowerShell(pool)
            shell.add_script(text).add_parameters(parameters)
            output = shell.invoke()
            if shell.had_errors:
                raise ScriptFailed(str(shell.streams.error[0]))
        assert len(output) == 1
        rows = json.loads(output[0])
        assert isinstance(rows, list)
        return rows

    def share(self, name: str) -> str:
        return rf"\\{self.ends.host}\{name}"

    def smb(self, cache: dict[str, Any], password: str = PASSWORD) -> dict[str, Any]:
        """Keyword arguments of smbclient's functions for a session of its own."""
        return {
            "username": self.ends.user,
            "password": password,
            "port": self.ends.smb_port,
            "connection_cache": cache,
        }

    def system(self, password: str = PASSWORD) -> Any:
        root = sushy.Sushy(
            self.ends.redfish_url,
            verify=self.ends.ca_file,
            auth=sushy.auth.BasicAuth(self.ends.user, password),
        )
        return root.get_system(f"/redfish/v1/Systems/{self.ends.system_id}")

    def boot(self) -> dict[str, Any]:
        return self.script("Get-LabBoot")[0]

    def wait_boot(self, after: int = -1, seconds: float = 20) -> dict[str, Any]:
        """Until a boot later than `after` answers."""

        def poll() -> dict[str, Any] | None:
            try:
                found = self.boot()
            except Exception:
                return None
            return found if found["bootId"] > after else None

        return until(poll, seconds)

    def restart(self) -> dict[str, Any]:
        before = self.boot()["bootId"]
        assert self.script("Restart-LabGuest", Token="t") == [{"accepted": True}]
        return self.wait_boot(before)

    def burst(self, reads: int = 1200) -> int:
        """READs of the data share until `reads` are done or the server dies. How many were answered."""
        cache: dict[str, Any] = {}
        answered = 0
        try:
            path = self.share("LabData") + r"\data-00.bin"
            with smbclient.open_file(path, "rb", buffering=0, **self.smb(cache)) as file:
                for number in range(reads):
                    file.seek(number % 1000 * 4096)
                    assert len(file.read(4096)) == 4096
                    answered += 1
        except Exception:
            return answered
        finally:
            forget(cache)
        return answered

    def crash(self) -> dict[str, Any]:
        """Load until the server has crashed and booted again: that boot."""
        before = self.boot()["bootId"]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.burst()
            time.sleep(0.3)
            try:
                if self.boot()["bootId"] != before:
                    break
            except Exception:
                break
        return self.wait_boot(before)


def forget(cache: dict[str, Any]) -> None:
    try:
        smbclient.reset_connection_cache(fail_on_error=False, connection_cache=cache)
    except Exception:
        cache.clear()


def until(poll: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = poll()
        if found is not None and found is not False:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds:g} s in vain")


Start = Callable[..., Running]
