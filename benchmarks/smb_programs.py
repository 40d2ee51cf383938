"""Samba's own clients: smbtorture's echo and smbclient's get. Their own words say how fast they were."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass

from benchmarks.smb_clients import PATIENCE, Figures

SECONDS = 2
PROTECTIONS = {"none": "off", "signed": "sign", "sealed": "encrypt"}


@dataclass(frozen=True)
class Login:
    port: int
    user: str
    password: str
    share: str

    @property
    def words(self) -> list[str]:
        return [f"//127.0.0.1/{self.share}", "-p", str(self.port), "-U", f"{self.user}%{self.password}"]


def missing() -> str:
    """Which of them is not installed, or ""."""
    return ", ".join(name for name in ("smbtorture", "smbclient") if shutil.which(name) is None)


def torture_echo(login: Login, depth: int) -> Figures:
    """ECHO, `depth` in flight; less the CPU of a run that logs on and does nothing."""
    options = {"timelimit": SECONDS, "qdepth": depth, "nprocs": 1}
    words = [f"--option=torture:{name}={value}" for name, value in options.items()]
    said, spent = _run(["smbtorture", *login.words, *words, "smb2.bench.echo"])
    _, idle = _run(["smbtorture", *login.words, "smb2.connect"])
    rates = re.findall(r"echo\[num/s=(\d+)", said)
    if not rates:
        raise RuntimeError(f"smbtorture said no rate: {said[-300:]}")
    rate = float(rates[-1])  # the last one is the average from the start
    return {"rate": rate, "cpu": (spent - idle) / (rate * SECONDS) * 1e6}


def client_get(login: Login, file: str, protection: str, place: str = "/dev/null") -> Figures:
    """MB/s of `get FILE PLACE`, by smbclient's own watch, which starts after the log-on."""
    words = [f"--client-protection={PROTECTIONS[protection]}", "-c", f"get {file} {place}"]
    said, _ = _run(["smbclient", *login.words, *words])
    rate = re.search(r"of size \d+ as \S+ \(([\d.]+) KiloBytes/sec\)", said)
    if rate is None:
        raise RuntimeError(f"smbclient said no rate: {said[-300:]}")
    return {"megabytes": float(rate[1]) * 1024 / 1e6}


def _run(command: list[str]) -> tuple[str, float]:
    """What it said, and its CPU seconds."""
    before = _children_cpu()
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False
    )
    if ran.returncode:
        raise RuntimeError(f"{command[0]} failed: {ran.stdout.strip()[-300:]}")
    return ran.stdout, _children_cpu() - before


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
