"""Four twins with the same hidden culprit, as processes of their own, and `lab` with an inventory of them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.inventory import load
from lab.model import DriverSetting, VerifierPlan
from lab.windows import open_guest, surgery

ENV, PASSWORD = "BUGCHECK_LAB_TWIN_PASSWORD", "Four-of-a-kind-1"
HOSTS = ("twin1", "twin2", "twin3", "twin4")
READS_PER_SECOND = 100  # chance is in time, not in READs: few of them leave the processors to the lab
SPEED = 120.0
ENDING = 20.0

As_found = dict[str, tuple[tuple[DriverSetting, ...], VerifierPlan]]


@dataclass
class Site:
    """Running twins. `revealed` is what they told at their end."""

    folder: Path
    twins: list[subprocess.Popen[str]]
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    @property
    def customer_dump(self) -> Path:
        return self.folder / "customer.dmp"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def lab(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own; its story goes to `story.txt`."""
        with (self.folder / "story.txt").open("a") as story:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=story,
                text=True,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self.started.append(process)
        return process

    def told(self) -> str:
        return (self.folder / "story.txt").read_text("utf-8", "replace")

    def settings(self) -> As_found:
        """What each host would load at its next boot."""
        inventory, found = load([self.inventory]), {}
        for name in inventory.hosts:
            with open_guest(inventory.host(name)) as guest:
                guest.wait_until_reachable()
                found[name] = surgery.settings(guest.drivers()), guest.verifier().pending
        return found

    def culprits(self) -> tuple[str, ...]:
        """End the twins and open their seals, which must be whole and say the same."""
        said = set()
        for twin, endpoints in zip(self.twins, self.endpoints, strict=True):
            twin.terminate()
            rest, _ = twin.communicate(timeout=ENDING)
            revealed = json.loads(rest.splitlines()[-1])
            sealed = hashlib.sha256((revealed["culprit"] + revealed["salt"]).encode()).hexdigest()
            assert sealed == endpoints["commitment"]
            said.add(revealed["culprit"])
        (culprits,) = said
        return tuple(culprits.split("+")) if culprits else ()

    def end(self) -> None:
        """End what a test that failed has left: with all that it started."""
        for process in (*self.started, *self.twins):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextmanager
def four_twins(folder: Path, *plots: str, hidden_seed: int, half_life: float) -> Iterator[Site]:
    """32 third-party drivers on each, and the dump of a customer who has them, too."""
    with some_twins(folder, HOSTS, 32, *plots, hidden_seed=hidden_seed, half_life=half_life) as site:
        yield site


@contextmanager
def some_twins(
    folder: Path, names: tuple[str, ...], drivers: int, *plots: str, hidden_seed: int, half_life: float
) -> Iterator[Site]:
    """As many twins as there are names, with so many third-party drivers each."""
    numbers = range(1, len(names) + 1)
    site = Site(folder, [_serve(folder, n, drivers, plots, hidden_seed, half_life) for n in numbers])
    try:
        for twin in site.twins:
            assert twin.stdout is not None
            site.endpoints.append(json.loads(twin.stdout.readline()))
        hosts = zip(names, site.endpoints, strict=True)
        text = yaml.safe_dump({"hosts": {name: _host(folder, ends) for name, ends in hosts}})
        site.inventory.write_text(text, "utf-8")
        yield site
    finally:
        site.end()


def _serve(
    folder: Path, number: int, drivers: int, plots: tuple[str, ...], hidden_seed: int, half_life: float
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lab", "twin", "serve", "--state", str(folder / f"state{number}")]
    command += ["--host", f"127.0.0.{number}", "--seed", str(number), "--speed", str(SPEED)]
    command += ["--drivers", str(drivers)]
    command += ["--hidden-seed", str(hidden_seed), "--half-life", str(half_life)]
    for plot in plots:
        command += ["--hidden", plot]
    for service in ("winrm", "winrm-tls", "smb", "redfish", "symbols"):
        command += [f"--{service}-port", "0"]
    if number == 1:
        command += ["--customer-dump", str(folder / "customer.dmp")]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True
    )


def _host(folder: Path, ends: dict[str, Any]) -> dict[str, Any]:
    password = {"env": ENV}
    machine = {"kind": "redfish", "url": ends["redfish_url"], "user": ends["user"], "password": password}
    shell = {"kind": "psrp", "port": ends["winrm_port"], "tls": False, "user": ends["user"]}
    return {
        "address": ends["host"],
        "expendable": True,
        "machine": {**machine, "ca_file": ends["ca_file"]},
        "guest": {"shell": {**shell, "password": password}},
        "smb": {"port": ends["smb_port"], "most_reads_per_second": READS_PER_SECOND},
        "symbols": [f"srv*{folder / 'symbols'}*{ends['symbols_url']}"],
        "timeouts": {"reachable": 20, "boot": 20, "dump": 30, "poll": 0.1},
    }
