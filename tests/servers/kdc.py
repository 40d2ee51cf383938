"""A private Kerberos KDC on 127.0.0.1 for tests: its own realm, keys and state in one folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from smbd import free_port

REALM = "LAB.TEST"
SERVICE = "cifs/localhost"

CLIENTS = """\
[libdefaults]
  default_realm = {realm}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
"""

# Without a PAC, which a standalone Samba could not make sense of: it looks the user up by name.
SERVER = """\
[kdcdefaults]
  kdc_listen = ""
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
    disable_pac = true
  }}
[logging]
  kdc = FILE:{folder}/kdc.log
"""


def missing() -> str:
    """Why Kerberos cannot be tried here, or ""."""
    if not all(map(_program, ("krb5kdc", "kdb5_util", "kadmin.local", "kinit"))):
        return "a Kerberos KDC is not installed; tests/servers/install.sh does it"
    if find_spec("gssapi") is None or find_spec("krb5") is None:
        return "pyspnego[kerberos] is not installed; tests/servers/install.sh does it"
    return ""


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin") or ""


class Kdc:
    """One realm with one service, whose key is in `keytab`. `environment` makes programs use it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._log = folder / "kdc.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.keytab = folder / "service.keytab"
        (folder / "krb5.conf").write_text(CLIENTS.format(realm=REALM, port=self._port))
        (folder / "kdc.conf").write_text(SERVER.format(realm=REALM, port=self._port, folder=folder))
        self.environment = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{folder / 'tickets'}",
        }
        self._run("kdb5_util", "create", "-r", REALM, "-s", "-P", "master of the test realm")
        self.administer(f"addprinc -randkey {SERVICE}")
        self.administer(f"ktadd -k {self.keytab} {SERVICE}")

    def start(self) -> None:
        self._process = subprocess.Popen(
            [_program("krb5kdc"), "-n"],
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError("the KDC did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def administer(self, command: str) -> None:
        """A command of kadmin, such as `addprinc -pw PASSWORD NAME`."""
        self._run("kadmin.local", "-r", REALM, "-q", command)

    def log_in(self, user: str, password: str) -> None:
        """Put a ticket for `user` into the environment's ticket cache."""
        self._run("kinit", user, text=password)

    def tickets_issued(self) -> int:
        """How many tickets for the service this KDC has given out, by its own log."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return sum("TGS_REQ" in line and "ISSUE" in line and f"for {SERVICE}@" in line for line in lines)

    def _run(self, program: str, *arguments: str, text: str = "") -> None:
        subprocess.run(
            [_program(program), *arguments],
            env=os.environ | self.environment,
            input=text.encode(),
            capture_output=True,
            check=True,
        )
