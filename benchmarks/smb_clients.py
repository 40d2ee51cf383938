"""SMB2 clients as processes: each reads for a while, in turn with the others, round after round."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.smb_peers.job import Job

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-bench" / "bin" / "python"
PATIENCE = 60.0
"""Seconds after which a process that has not ended is given up."""

Figures = dict[str, float]
"""`rate` requests and `megabytes` (10^6) a second; microseconds of CPU for each request: `cpu` of the client,
`server` of the server."""


@dataclass(frozen=True)
class Client:
    """One way to read. `depth`: READs in flight when it cannot have as many as the job says.

    `whole`: it reads the file once, from end to end, in pieces of its own.
    """

    name: str
    module: str
    depth: int | None = None
    easy: bool = False
    compound: int = 1
    whole: bool = False
    ours: bool = False

    def read(self, job: Job) -> Figures:
        """Do the job in a new process. RuntimeError when it fails or got other lengths than it asked for."""
        job = replace(job, depth=self.depth or job.depth, easy=self.easy, compound=self.compound)
        python = sys.executable if self.ours else str(PEERS)
        command = [python, "-m", f"benchmarks.smb_peers.{self.module}", json.dumps(asdict(job))]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if ran.returncode or not ran.stdout:
            raise RuntimeError(f"{self.name} failed: {ran.stderr.strip()[-600:]}")
        found = json.loads(ran.stdout.splitlines()[-1])
        reads = found["reads"]
        if not reads or found["bytes"] != (job.length if self.whole else reads * job.size):
            raise RuntimeError(f"{self.name}: {reads} READs of {job.size} bytes gave {found['bytes']} bytes")
        figures = {
            "rate": reads / found["seconds"],
            "cpu": (found["cpu_user"] + found["cpu_system"]) / reads * 1e6,
        }
        if found["cpu_server"] is not None:
            figures["server"] = found["cpu_server"] / reads * 1e6
        return figures | {"megabytes": found["bytes"] / found["seconds"] / 1e6}


OURS = Client("Bugcheck Lab", "ours", ours=True)
OURS_COMPOUND = Client("Bugcheck Lab, 8 READs a message", "ours", compound=8, ours=True)
READ_AT = Client("Bugcheck Lab, one at a time", "read_at", 1, ours=True)
SMBPROTOCOL = Client("smbprotocol", "smbprotocol")
OUR_GET = Client("Bugcheck Lab", "our_get", whole=True, ours=True)
OUR_FETCH = Client("Bugcheck Lab", "our_fetch", whole=True, ours=True)
PIKE = Client("pike", "pike")
IMPACKET = Client("impacket", "impacket", 1)
AIOSMB = Client("aiosmb", "aiosmb")
AIOSMB_HANDLES = Client("aiosmb, 64 open files", "aiosmb", easy=True)
PYSMB = Client("pysmb", "pysmb", 1)
PYSMB_IN_ORDER = Client("pysmb, in order", "pysmb", 1, easy=True)
VSMB = Client("vsmb (Rust)", "vsmb")


def in_turns(subjects: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, Figures]:
    """Each subject once a round, in turn; its figures by its name.

    Of CPU times the median, of rates the best: whatever else runs on the machine only lowers a rate.
    """
    found: dict[str, list[Figures]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            found[name].append(subject())
    return {
        name: {figure: _over_rounds(figure, [each[figure] for each in all_]) for figure in all_[0]}
        for name, all_ in found.items()
    }


def _over_rounds(figure: str, values: Sequence[float]) -> float:
    return max(values) if figure in ("rate", "megabytes") else statistics.median(values)


def readers(clients: Iterable[Client], job: Job) -> dict[str, Callable[[], Figures]]:
    """The clients as subjects of `in_turns`, by their names."""
    return {client.name: lambda client=client: client.read(job) for client in clients}  # type: ignore[misc]
