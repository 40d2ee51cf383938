"""A vCenter for tests: govmomi's simulator with our corrections (tests/servers/vcsim), on 127.0.0.1.

What cannot be tried against it: real disks (a restore brings back power, CPUs and memory size only), Sysprep,
VMware Tools, HA, DRS and Storage DRS at work, datastores that fill up, and a vCenter's own timing.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SOURCES = Path(__file__).with_name("vcsim")
GOCODE = Path("/usr/share/gocode")
USER = "administrator@vsphere.local"
PASSWORD = "Simulated 1 ü"


def program() -> Path:
    """Where the built simulator lies: its name has what it was built from."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.go")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "bugcheck-lab" / f"vcsim-{digest.hexdigest()[:16]}"


def build() -> str:
    """Build it when there is a compiler and it is not there yet; why that cannot be, or ""."""
    wanted = program()
    if wanted.is_file():
        return ""
    simulator = GOCODE / "src/github.com/vmware/govmomi/simulator"
    if not simulator.is_dir():
        return "no vCenter simulator: run tests/servers/install.sh (golang-github-vmware-govmomi-dev)"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.parent) as folder:
        made = Path(folder) / "vcsim"
        try:
            done = subprocess.run(
                ["go", "build", "-o", str(made), "."],
                cwd=SOURCES,
                env={**os.environ, "GO111MODULE": "off", "GOPATH": str(GOCODE)},
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            return "no vCenter simulator: run tests/servers/install.sh (golang-go)"
        if done.returncode:
            raise RuntimeError(f"the vCenter simulator cannot be built: {done.stderr.strip()}")
        made.replace(wanted)
    return ""


class Vcsim:
    """One simulator of our own. `control` changes how it behaves while it runs (see vcsim/front.go)."""

    def __init__(
        self,
        folder: Path,
        *,
        vms: int = 2,
        templates: Sequence[str] = (),
        monitoring: str = "",
        pod: Sequence[str] = (),
        expired: bool = False,
    ) -> None:
        self.folder = folder
        self.ca_file, key = certificate(folder, "vcenter", expired=expired)
        self._arguments = [
            f"-cert={self.ca_file}",
            f"-key={key}",
            f"-user={USER}",
            f"-password={PASSWORD}",
            f"-vms={vms}",
            f"-templates={','.join(templates)}",
            f"-ha={monitoring}",
            f"-pod={','.join(pod)}",
            f"-control={folder / 'control.json'}",
            f"-record={folder / 'record'}",
        ]
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self._control: dict[str, Any] = {}
        self.control()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def thumbprint(self) -> str:
        """SHA-256 of its certificate, as people write it."""
        der = ssl.PEM_cert_to_DER_cert(self.ca_file.read_text())
        digits = hashlib.sha256(der).hexdigest().upper()
        return ":".join(digits[i : i + 2] for i in range(0, 64, 2))

    def start(self) -> None:
        """On the port that it had before, if it had one."""
        with (self.folder / "errors").open("ab") as errors:
            self._process = subprocess.Popen(
                [str(program()), f"-port={self.port}", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self.kill()
            raise RuntimeError(f"vcsim did not start: {(self.folder / 'errors').read_text()[-500:]}")
        self.port = int(line)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Stop it where it is; the kernel goes on taking connections for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any(_state(each) != "T" for each in threads.iterdir()):
            time.sleep(0.01)  # one that runs still might answer

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def control(self, **change: Any) -> None:
        """Change some of what is told to it: delay, work, finish, stuck, faults, drop, free, behind."""
        self._control |= change
        made = self.folder / "control.new"
        made.write_text(json.dumps(self._control))
        made.replace(self.folder / "control.json")

    def forget_sessions(self) -> None:
        self.control(sessions=self._control.get("sessions", 0) + 1)

    def calls(self, method: str | None = None) -> list[tuple[str, str]]:
        """What reached it: method and the name of the virtual machine ("" for others), in order."""
        record = self.folder / "record"
        rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        return [(row["method"], row["of"]) for row in rows if method in (None, row["method"])]


def _state(thread: Path) -> str:
    """A letter, as in proc(5): T is stopped."""
    return (thread / "stat").read_text().rpartition(") ")[2][:1]


def redfish(
    url: str, system: str, user: str, password: str, ca_file: str, address: str = ""
) -> dict[str, str]:
    """What `Vcsim.control(behind={name: ...})` takes to put a Redfish controller behind a machine."""
    return {
        "address": address,
        "url": f"{url}/redfish/v1/Systems/{system}/Actions/ComputerSystem.Reset",
        "user": user,
        "password": password,
        "caFile": ca_file,
    }


def certificate(folder: Path, name: str, *, expired: bool = False) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=2))
        .not_valid_after(until)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, private
