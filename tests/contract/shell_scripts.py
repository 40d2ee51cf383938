"""What the guest's side of the contract of shells does instead of PowerShell: named acts, Python only.

Used by the stand-in for powershell.exe and by the PSRP server of the tests, so that both shells get the same.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Failed(Exception):
    """The script throws."""


def answer(script: str, parameters: Mapping[str, Any], folder: str) -> str:
    """What the script writes to its output. `folder` is the guest's disk."""
    if "# Script: " in script:  # a script of the project: answers as the test has laid down
        name = script.split("# Script: ")[1].split("\n")[0]
        return (Path(folder) / f"{name}.json").read_text("utf-8")
    act, _, rest = script.split("\n")[0].partition(" ")
    return _ACTS[act](rest, parameters, Path(folder))


def _echo(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    return json.dumps([dict(parameters)])


def _say(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    return rest


def _large(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    rows, width = map(int, rest.split())
    return json.dumps([{"number": n, "text": f"{n:x}" * (width // len(f"{n:x}"))} for n in range(rows)])


def _throw(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    raise Failed(rest)


def _hang(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    time.sleep(float(rest or 60))
    return "[]"


def _count(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    """Leaves a trace of each run; then hangs for so many seconds."""
    with (folder / "runs").open("a") as runs:
        runs.write("x")
    time.sleep(float(rest or 0))
    return json.dumps([{"runs": len((folder / "runs").read_text())}])


# --- for the stand-in for powershell.exe only ------------------------------------------------------------


def _noise(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    """Everything that comes beside an answer: a banner, host output, progress and errors as CLIXML."""
    sys.stdout.write("\ufeffWelcome to LAB1\r\n<0000<bm8=>0000>\r\n[{}]\r\n")
    sys.stderr.write(
        '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
        '<Obj S="progress" RefId="0"><MS><I64 N="SourceId">1</I64></MS></Obj></Objs>'
    )
    sys.stderr.write("warning\n" * 100_000)
    sys.stderr.flush()
    return json.dumps([dict(parameters)])


def _broken(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    sys.stderr.write(rest)
    sys.exit(9)


def _stop(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    """PowerShell ends by itself, in the middle of its answer."""
    sys.stdout.write("<half an answer")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def _flood(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    while True:
        sys.stdout.write("x" * (1 << 20))


def _complain(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    while True:
        sys.stderr.write("x" * (1 << 20))


def _slow(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    """Output that comes in drops for so many seconds."""
    until = time.monotonic() + float(rest)
    while time.monotonic() < until:
        sys.stdout.write(".")
        sys.stdout.flush()
        time.sleep(0.05)
    return json.dumps([{"slow": True}])


def _started(rest: str, parameters: Mapping[str, Any], folder: Path) -> str:
    """Writes half of a large output, leaves a file to say so, and waits to be killed."""
    sys.stdout.write("x" * 100_000)
    sys.stdout.flush()
    with (folder / "runs").open("a") as runs:
        runs.write("x")
    time.sleep(60)
    return "[]"


_ACTS = {
    "echo": _echo,
    "say": _say,
    "large": _large,
    "throw": _throw,
    "hang": _hang,
    "count": _count,
    "noise": _noise,
    "broken": _broken,
    "stop": _stop,
    "flood": _flood,
    "complain": _complain,
    "slow": _slow,
    "started": _started,
}
