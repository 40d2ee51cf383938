"""`make bench-sftp`: fetching a dump over SFTP, against the sftp command and paramiko's own ways.

A private sshd on this computer serves a file of random bytes. All clients fetch it in turn, round after
round, each time in a new process and onto the disk, the order turned in every other round; what each has
fetched is compared with the file. Times are medians, and a ratio is the median of the rounds' ratios: what
else this computer is doing is as long as a round, not as a client. Ours hashes the dump and waits for the
disk as well; sftp does neither. Writes benchmarks/results/sftp.json and prints the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.analyser import ROOT, Row, machine

sys.path.insert(0, str(ROOT / "tests" / "servers"))

from sshd import SSHD, USER, Sshd  # type: ignore[import-not-found]

RESULTS = ROOT / "benchmarks" / "results" / "sftp.json"
LENGTH = 1 << 30
FACTOR = 1.5
"""How much longer than the sftp command a fetch may take."""

PATIENCE = 60.0
"""Seconds; what took longer is not measured again."""

GCM = "sftp -c aes128-gcm@openssh.com"
"""The sftp command with the cipher that we prefer: its default, chacha20-poly1305, costs it more."""

OURS = """
import sys
from pathlib import Path
from lab.capture import Vault, fetch
from lab.capture.sftp import SftpSource
from lab.windows.ssh_connection import SshAccess
port, user, host_key, key, folder, to = sys.argv[1:]
with SftpSource(SshAccess("127.0.0.1", int(port), user, host_key, key_file=Path(key)), folder) as source:
    fetch(source, source.dumps()[0], Vault(Path(to)))
"""

PARAMIKO = """
import sys, paramiko
port, user, host_key, key, folder, to, most = sys.argv[1:]
transport = paramiko.Transport(("127.0.0.1", int(port)))
transport.connect(username=user, pkey=paramiko.Ed25519Key.from_private_key_file(key))
client = paramiko.SFTPClient.from_transport(transport)
client.get(folder + "/MEMORY.DMP", to + "/out", max_concurrent_prefetch_requests=int(most) or None)
transport.close()
"""


@dataclass(frozen=True)
class Fetched:
    """One fetch: seconds on the clock, and of the client's processors."""

    clock: float
    cpu: float


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="processes for each figure")
    rounds = options.parse_args().rounds
    if SSHD is None:
        print("run tests/servers/install.sh first", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="lab-bench-sftp-"))
    server = Sshd(folder / "sshd")
    try:
        dump = folder / "dumps" / "MEMORY.DMP"
        dump.parent.mkdir()
        _write(dump)
        server.start()
        sha256 = _sha256(dump)
        fetched = _in_turns(_clients(server, dump), folder / "to", rounds, sha256)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
    rows = _rows(fetched)
    RESULTS.write_text(
        json.dumps({"rows": [asdict(row) for row in rows], "machine": machine(rounds)}, indent=1) + "\n"
    )
    for row in rows:
        print(f"{row.name}: {row.ours}; {row.peer_name}: {row.peer}; ratio {row.ratio:.2f} {row.goal}")
    return 0 if all(row.met is not False for row in rows) else 1


def _write(path: Path) -> None:
    """Random bytes, which no compression helps with."""
    with path.open("wb") as file:
        for _ in range(LENGTH >> 22):
            file.write(os.urandom(1 << 22))


def _clients(server: Sshd, dump: Path) -> dict[str, list[str]]:
    """Commands by name; each takes one more argument, an empty folder to fetch into."""
    where = [str(server.port), USER, server.host_key, str(server.folder / "user"), str(dump.parent)]
    known = server.folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    sftp = ["sftp", "-q", "-F", "none", "-P", str(server.port), "-i", str(server.folder / "user")]
    sftp += ["-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    remote = f"{USER}@127.0.0.1:{dump}"
    return {
        "ours": [sys.executable, "-c", OURS, *where, "{to}"],
        "sftp": [*sftp, remote, "{to}/out"],
        GCM: [*sftp, "-c", "aes128-gcm@openssh.com", remote, "{to}/out"],
        "paramiko get": [sys.executable, "-c", PARAMIKO, *where, "{to}", "0"],
        "paramiko get, 64 in flight": [sys.executable, "-c", PARAMIKO, *where, "{to}", "64"],
    }


def _in_turns(clients: dict[str, list[str]], to: Path, rounds: int, sha256: str) -> list[dict[str, Fetched]]:
    """What each round saw, by the client's name."""
    seen: list[dict[str, Fetched]] = []
    for number in range(rounds):
        names = [name for name in clients if all(r[name].clock < PATIENCE for r in seen if name in r)]
        this: dict[str, Fetched] = {}
        for name in names if number % 2 == 0 else reversed(names):
            shutil.rmtree(to, ignore_errors=True)
            to.mkdir()
            os.sync()  # what one client leaves to be written would slow down the next
            this[name] = _fetched([word.replace("{to}", str(to)) for word in clients[name]])
            (file,) = (path for path in to.rglob("*") if path.name == "out" or path.suffix == ".dmp")
            assert _sha256(file) == sha256, f"{name} fetched something else"
            print(
                f"{name}: {this[name].clock:.2f} s, CPU {this[name].cpu:.2f} s", file=sys.stderr, flush=True
            )
        seen.append(this)
    return seen


def _fetched(command: list[str]) -> Fetched:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    quiet = subprocess.DEVNULL
    subprocess.run(command, check=True, cwd=ROOT, stdin=quiet, stdout=quiet)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Fetched(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(rounds: list[dict[str, Fetched]]) -> list[Row]:
    copy = f"Fetching {LENGTH >> 30} GiB over SFTP into the vault, hashed"
    rows = [_row(copy, peer, rounds, "clock") for peer in rounds[0] if peer != "ours"]
    return rows + [_row("The same: CPU of the client", peer, rounds, "cpu") for peer in ("sftp", GCM)]


def _row(name: str, peer: str, rounds: list[dict[str, Fetched]], what: str) -> Row:
    pairs = [(getattr(r["ours"], what), getattr(r[peer], what)) for r in rounds if peer in r]
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    judged = peer == "sftp" and what == "clock"
    return Row(
        name=name,
        ours=f"{statistics.median(getattr(r['ours'], what) for r in rounds):.1f} s",
        peer=f"{statistics.median(theirs for _, theirs in pairs):.1f} s",
        peer_name=peer,
        ratio=round(ratio, 2),
        goal=f"≤ {FACTOR:g} times its time" if judged else "",
        met=1 / ratio <= FACTOR if judged else None,
    )


if __name__ == "__main__":
    sys.exit(main())
