"""ntoseye as a separate process: debugger commands over one dump, the words it prints for each."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-oracles" / "bin" / "ntoseye"
_PROMPT = "dmp> "
_NOWHERE = "http://127.0.0.1:9"  # it always asks the public symbol server, too; here it must not get there


def run(dump: Path, *commands: str, home: Path, symbols: Path | None = None) -> dict[str, str]:
    """What it prints for each command. RuntimeError with its words when it cannot open the dump.

    `home` is a folder for its cache; `symbols` a folder with PDB files.
    """
    arguments = [str(PROGRAM), "--dump", str(dump), "--batch"]
    if symbols is not None:
        arguments += ["--sympath-append", str(symbols)]
    for command in commands:
        arguments += ["-c", command]
    environment = {**os.environ, "HOME": str(home), "HTTPS_PROXY": _NOWHERE, "HTTP_PROXY": _NOWHERE}
    ran = subprocess.run(
        arguments, env=environment, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
    parts = ran.stdout.split(_PROMPT)[1:]
    if len(parts) != len(commands):
        raise RuntimeError((ran.stdout + ran.stderr).strip())
    return {command: part.partition("\n")[2] for command, part in zip(commands, parts, strict=True)}
