"""`make bench-smb`: what our SMB2 READs cost, against the goals and against every other client at hand.

All clients read the same file from the same server, in turn, round after round, each time in a new process.
Of CPU times the median counts, of rates the best. Writes benchmarks/results/smb.json and docs/images/smb.svg,
and prints the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import smb_clients as clients
from benchmarks.analyser import Row, machine
from benchmarks.crashes import dispatch_crash
from benchmarks.readme_table import SMB, SMB_PICTURE, smb_table
from benchmarks.repack import read_pages, stretched, write_complete
from benchmarks.smb_clients import ROOT, Figures, in_turns, readers
from benchmarks.smb_peers.job import Job
from benchmarks.smb_peers.our_security import our_target
from benchmarks.smb_picture import Bar, picture
from benchmarks.smb_programs import Login, client_get, missing, torture_echo
from lab.twin.memory import write_dump

DEPTH = 64
FILE, LENGTH = "data.bin", 64 << 20
LARGE_FILE, LARGE = "large.bin", 1 << 30
DUMP = 4 << 30
SECONDS = 1.0
SERVER = """
  aio read size = 0
[Sealed]
  path = {data}
  force user = root
  smb encrypt = required
"""
"""By default each READ goes through smbd's pool of threads, which costs it three to five times as much."""

ECHO = "smbtorture's echo"
OURS = (clients.OURS.name, clients.OURS_COMPOUND.name, clients.READ_AT.name)
TOGETHER = f"{clients.OURS_COMPOUND.compound} in one message"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="processes for each figure")
    rounds = options.parse_args().rounds
    if not clients.PEERS.exists() or missing():
        print(f"run benchmarks/install.sh first ({missing() or clients.PEERS})", file=sys.stderr)
        return 2
    began = time.monotonic()
    with ExitStack() as stack:
        job, folder = stack.enter_context(samba())
        login = Login(job.port, job.user, job.password, job.share)
        plain = plain_reads(job, login, rounds)
        rows = [*cost_rows(plain), *rate_rows(plain), null_row(rounds)]
        rows += [
            *protected_rows(job, rounds),
            *copy_rows(job, folder, login, rounds),
            triage_row(job, folder),
        ]
    results = {"rows": [asdict(row) for row in rows], "machine": machine(rounds)}
    SMB.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    SMB_PICTURE.write_text(drawn(plain, rounds), encoding="utf-8")
    print(smb_table(results))
    print(f"\n{time.monotonic() - began:.0f} s in all", file=sys.stderr)
    return 0 if all(row.met is not False for row in rows) else 1


@contextmanager
def samba() -> Iterator[tuple[Job, Path]]:
    """A smbd of our own with the files; a job for it, and the folder behind its share."""
    sys.path.insert(0, str(ROOT / "tests" / "servers"))
    from smbd import PASSWORD, USER, Smbd, missing

    if missing():
        raise SystemExit(missing())
    memory = Path("/dev/shm")  # a disk's writing back would go on while others are measured
    folder = Path(tempfile.mkdtemp(prefix="bench-smb-", dir=memory if memory.is_dir() else None))
    server = Smbd(folder)
    try:
        server.configure(SERVER.format(data=server.data))
        (server.data / FILE).write_bytes(os.urandom(LENGTH))
        server.start()
        yield (
            Job(server.port, USER, PASSWORD, "Data", FILE, LENGTH, 4096, DEPTH, SECONDS, server=server.pid),
            server.data,
        )
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def plain_reads(job: Job, login: Login, rounds: int) -> dict[str, Figures]:
    """4 KiB, unsigned, one connection: all clients."""
    all_clients = [
        clients.OURS,
        clients.OURS_COMPOUND,
        clients.SMBPROTOCOL,
        clients.IMPACKET,
        clients.PIKE,
        clients.AIOSMB,
        clients.AIOSMB_HANDLES,
        clients.PYSMB,
        clients.PYSMB_IN_ORDER,
        clients.VSMB,
        clients.READ_AT,
    ]
    return in_turns(readers(all_clients, job) | {ECHO: lambda: torture_echo(login, DEPTH)}, rounds)


def cost_rows(plain: dict[str, Figures]) -> Iterator[Row]:
    mine = plain[clients.OURS.name]["cpu"]
    name = "Client CPU for a 4 KiB READ, unsigned"
    yield Row(name, _us(mine), goal="≤ 3.5 µs", met=mine <= 3.5)
    for peer, figures in plain.items():
        if peer in OURS:
            continue
        goal = 40 if peer == clients.SMBPROTOCOL.name else None
        yield _less(name, mine, figures["cpu"], peer, goal)
    yield Row(f"{name}, {TOGETHER}", _us(plain[clients.OURS_COMPOUND.name]["cpu"]))
    one = plain[clients.READ_AT.name]["cpu"]
    theirs = plain[clients.PYSMB_IN_ORDER.name]["cpu"]
    yield _less(f"{name}, one at a time", one, theirs, clients.PYSMB_IN_ORDER.name)
    title, peer = "Samba's own CPU for such a READ", clients.SMBPROTOCOL.name
    yield _less(title, plain[clients.OURS.name]["server"], plain[peer]["server"], peer)
    together = plain[clients.OURS_COMPOUND.name]["server"]
    yield _less(f"{title}, {TOGETHER}", together, plain[peer]["server"], peer)


def rate_rows(plain: dict[str, Figures]) -> Iterator[Row]:
    """The goal is against clients in Python that read at random places of one open file, as we do."""
    name = "4 KiB READs a second from Samba"
    for how, ours in ((name, clients.OURS), (f"{name}, {TOGETHER}", clients.OURS_COMPOUND)):
        mine = plain[ours.name]["rate"]
        for client in (clients.SMBPROTOCOL, clients.IMPACKET, clients.PIKE, clients.AIOSMB, clients.PYSMB):
            yield _more(how, mine, plain[client.name]["rate"], client.name, 10)
        for client in (clients.AIOSMB_HANDLES, clients.PYSMB_IN_ORDER, clients.VSMB):
            yield _more(how, mine, plain[client.name]["rate"], client.name)


def null_row(rounds: int) -> Row:
    """READs a second that one process of ours can take in, from a server that costs next to nothing."""
    from nullsmb import NullServer

    with NullServer(files={FILE: LENGTH}) as server:
        settings = server.settings
        job = Job(server.port, settings.user, settings.password, "data", FILE, LENGTH, 4096, DEPTH, SECONDS)
        rate = in_turns(readers([clients.OURS], job), rounds)[clients.OURS.name]["rate"]
    name = "4 KiB READs a second from a server that only gives canned answers, one process"
    return Row(name, f"{rate:,.0f}", goal="≥ 300,000", met=rate >= 300_000)


def protected_rows(job: Job, rounds: int) -> Iterator[Row]:
    """Signed and encrypted. Every answer is verified, by both."""
    peer = clients.SMBPROTOCOL.name
    signed = replace(job, size=1 << 16, depth=16, protection="signed")
    found = in_turns(readers([clients.OURS, clients.SMBPROTOCOL], signed), rounds)
    mine, theirs = found[clients.OURS.name], found[peer]
    yield _less(
        "Client CPU for a 64 KiB READ, signed, every answer verified", mine["cpu"], theirs["cpu"], peer, 5
    )
    yield _more("64 KiB READs a second, signed, every answer verified", mine["rate"], theirs["rate"], peer)
    sealed = replace(job, share="Sealed", protection="sealed")
    others = [clients.SMBPROTOCOL, clients.PIKE, clients.IMPACKET]
    found = in_turns(readers([clients.OURS, *others], sealed), rounds)
    for other in others:
        cost = found[clients.OURS.name]["cpu"], found[other.name]["cpu"]
        yield _less("Client CPU for a 4 KiB READ, encrypted", *cost, other.name)


def copy_rows(job: Job, folder: Path, login: Login, rounds: int) -> Iterator[Row]:
    """A large file, once from end to end to /dev/null; smbclient by its own watch."""
    with (folder / LARGE_FILE).open("wb") as file:
        for _ in range(LARGE >> 24):
            file.write(os.urandom(1 << 24))
    for protection, words in (("none", "unsigned"), ("signed", "signed"), ("sealed", "encrypted")):
        large = replace(job, file=LARGE_FILE, length=LARGE, size=1 << 20, protection=protection)
        found = in_turns(
            readers([clients.OUR_GET], large)
            | {"smbclient": lambda: client_get(login, LARGE_FILE, protection)},  # noqa: B023
            rounds,
        )
        mine, theirs = found[clients.OUR_GET.name]["megabytes"], found["smbclient"]["megabytes"]
        yield _more(f"Copy of a 1 GiB file, {words}: MB/s", mine, theirs, "smbclient", 1)
    place = folder.parent / "copy.bin"
    large = replace(job, file=LARGE_FILE, length=LARGE, protection="signed", folder=str(folder.parent))
    found = in_turns(
        readers([clients.OUR_FETCH], large)
        | {"smbclient": lambda: client_get(login, LARGE_FILE, "signed", str(place))},
        rounds,
    )
    place.unlink()
    mine, theirs = found[clients.OUR_FETCH.name]["megabytes"], found["smbclient"]["megabytes"]
    name = "Copy of a 1 GiB file into the vault, signed, with its hashes: MB/s"
    yield _more(name, mine, theirs, "smbclient, into a file")


class Counted:
    """A remote file that counts what is read of it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.requests = self.bytes = 0

    def read_at(self, offset: int, size: int) -> bytes:
        data: bytes = self._file.read_at(offset, size)
        self.requests += 1
        self.bytes += len(data)
        return data

    def close(self) -> None:
        self._file.close()


def triage_row(job: Job, folder: Path) -> Row:
    """A verdict about a dump with every page of 4 GiB, where it lies."""
    from lab.analysis import triage
    from lab.dumps import RemoteSource
    from lab.smb.share import connect

    small, name = folder / "small.dmp", "MEMORY.DMP"
    write_dump(dispatch_crash(20348), small, filler_pages=0)
    write_complete(stretched(read_pages(small), DUMP), folder / name)
    with connect(our_target(job), job.share) as share, share.open(name) as file:
        counted = Counted(file)
        found = triage(RemoteSource(counted, file.length))
        share_read = 100 * counted.bytes / file.length
    local = triage(folder / name)
    if found.suspects != local.suspects or found.bugcheck != local.bugcheck or not found.suspects:
        raise SystemExit("the remote triage and one of the file itself differ")
    title = "Triage of a 4 GiB dump on the server: share of its bytes read before the verdict"
    said = f"{share_read:.3f} % in {counted.requests} requests"
    return Row(title, said, goal="< 1 %", met=share_read < 1)


def drawn(plain: dict[str, Figures], rounds: int) -> str:
    order = sorted(plain, key=lambda name: (name not in OURS, plain[name]["cpu"]))
    bars = [Bar(name, plain[name]["cpu"], plain[name]["rate"], name in OURS) for name in order]
    title = "4 KiB READs from Samba, unsigned: what they cost the client, and how many it gets"
    note = (
        f"One connection, {DEPTH} in flight where the client can. An echo carries no data. "
        f"Logarithmic scales; {rounds} runs of each."
    )
    return picture(title, bars, note)


def _less(name: str, mine: float, theirs: float, peer: str, goal: float | None = None) -> Row:
    """Microseconds: the ratio is theirs divided by ours."""
    ratio, words = theirs / mine, f"{goal:g} times less" if goal else ""
    return Row(name, _us(mine), _us(theirs), peer, _three(ratio), words, ratio >= goal if goal else None)


def _more(name: str, mine: float, theirs: float, peer: str, goal: float | None = None) -> Row:
    """Rates: the ratio is ours divided by theirs."""
    ratio = mine / theirs
    words = ("no slower" if goal == 1 else f"{goal:g} times as many") if goal else ""
    met = ratio >= goal if goal else None
    return Row(name, f"{mine:,.0f}", f"{theirs:,.0f}", peer, _three(ratio), words, met)


def _us(value: float) -> str:
    return f"{value:.1f} µs" if value < 100 else f"{value:,.0f} µs"


def _three(value: float) -> float:
    return float(f"{value:.3g}")


if __name__ == "__main__":
    sys.exit(main())
