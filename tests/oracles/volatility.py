"""Volatility 3 as a separate process: one plugin over one dump, the rows as it prints them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-oracles" / "bin" / "vol"
TABLES = ROOT.parent / "shared" / "data" / "isf"
_ADDRESS_BITS = (1 << 48) - 1


@dataclass(frozen=True)
class Volatility:
    """Its folder of symbols and its cache, both in `home`."""

    home: Path

    @classmethod
    def at(cls, home: Path) -> Volatility:
        """With the kernels' real tables, in the layout that it looks for."""
        folder = home / "symbols" / "windows" / "ntkrnlmp.pdb"
        folder.mkdir(parents=True, exist_ok=True)
        (home / "cache").mkdir(exist_ok=True)
        for table in TABLES.glob("*.json.xz"):
            if not (folder / table.name).exists():
                shutil.copy(table, folder)
        return cls(home)

    def command(self, plugin: str, dump: Path) -> list[str]:
        return [
            *(str(PROGRAM), "-q", "-r", "json", "--offline"),
            *("--cache-path", str(self.home / "cache"), "-s", str(self.home / "symbols")),
            *("-f", str(dump), plugin),
        ]

    def run(self, plugin: str, dump: Path, *, seconds: float = 120) -> list[dict[str, Any]]:
        """The rows. RuntimeError with its words when it printed none."""
        ran = subprocess.run(
            self.command(plugin, dump), capture_output=True, text=True, timeout=seconds, check=False
        )
        _, bracket, rows = ran.stdout.partition("\n[")
        if not bracket:
            raise RuntimeError(f"Volatility 3 said: {ran.stdout[-2000:]} {ran.stderr[-2000:]}")
        found: list[dict[str, Any]] = json.loads(bracket + rows)
        return found


def address(value: int) -> int:
    """An address as Volatility counts them: without the sign bits above bit 47."""
    return value & _ADDRESS_BITS
