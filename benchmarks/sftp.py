"""`make bench-sftp`: fetching a dump over SFTP, against the sftp command and paramiko's own ways.

A private sshd on this computer serves a file of random bytes. All clients fetch it in turn, round after
round, each time in a new process and onto the disk; the best time of each counts. Ours hashes it as well.
Writes benchmarks/results/sftp.json and prints the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
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


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3, help="processes for each figure")
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
        best = _in_turns(_clients(server, dump), folder / "to", rounds)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
    rows = _rows(best)
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
        "sftp -c aes128-gcm@openssh.com": [*sftp, "-c", "aes128-gcm@openssh.com", remote, "{to}/out"],
        "paramiko get": [sys.executable, "-c", PARAMIKO, *where, "{to}", "0"],
        "paramiko get, 64 in flight": [sys.executable, "-c", PARAMIKO, *where, "{to}", "64"],
    }


def _in_turns(clients: dict[str, list[str]], to: Path, rounds: int) -> dict[str, float]:
    """The best seconds of each."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, command in clients.items():
            if best.get(name, 0.0) > PATIENCE:
                continue
            shutil.rmtree(to, ignore_errors=True)
            to.mkdir()
            began = time.perf_counter()
            subprocess.run(
                [word.replace("{to}", str(to)) for word in command],
                check=True,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            seconds = time.perf_counter() - began
            fetched = sum(
                path.stat().st_size for path in to.rglob("*") if path.name == "out" or path.suffix == ".dmp"
            )
            assert fetched == LENGTH, f"{name} fetched {fetched} bytes"
            best[name] = min(seconds, best.get(name, seconds))
            print(f"{name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    return best


def _rows(best: dict[str, float]) -> list[Row]:
    ours = best.pop("ours")
    name = f"Fetching {LENGTH >> 30} GiB over SFTP into the vault, hashed"
    return [
        Row(
            name=name,
            ours=f"{ours:.1f} s",
            peer=f"{seconds:.1f} s",
            peer_name=peer,
            ratio=round(seconds / ours, 2),
            goal=f"≤ {FACTOR:g} times as long" if peer == "sftp" else "",
            met=ours <= FACTOR * seconds if peer == "sftp" else None,
        )
        for peer, seconds in best.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
