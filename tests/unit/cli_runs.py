"""What the tests of the command line share: dumps to ask, and running `lab` as a person does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.cli import main
from lab.twin.crash import CrashState, Image, Instance, RegionLogEntry, Stop
from lab.twin.memory import write_dump, write_symbols

SYSTEM = tuple(Image(n, False) for n in ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys"))
THIRD = tuple(Image(n, True) for n in ("BadDriver.sys", "Suspect.sys", "Other.sys"))
CRASHING = 7
BUILD = 17763

VERIFIED = CrashState(
    BUILD,
    1,
    Stop.DISPATCH_CHANGED_APC,
    SYSTEM + THIRD,
    CRASHING,
    instances=(
        Instance("BadDriver.sys Instance", "189600", "BadDriver.sys"),
        Instance("Other Instance", "328010", "Other.sys"),
    ),
    verifier_level=0x810,
    verified=("BadDriver.sys", "Other.sys"),
    region_log=(
        RegionLogEntry(50, "enter", "Suspect.sys"),
        RegionLogEntry(50, "leave", "Suspect.sys"),
        RegionLogEntry(CRASHING, "enter", "BadDriver.sys"),
    ),
)
"""Verifier's stop 0xC4/0xC5 on a server with two third-party minifilters."""


@dataclass(frozen=True)
class Dumps:
    """A dump, and the folder of symbols for it."""

    dump: Path
    symbols: Path


def write(folder: Path) -> Dumps:
    write_symbols(BUILD, folder / "symbols")
    write_dump(VERIFIED, folder / "MEMORY.DMP", filler_pages=0)
    return Dumps(folder / "MEMORY.DMP", folder / "symbols")


def hostile(dump: Path, to: Path) -> str:
    """Copy `dump` with BadDriver.sys called something that would do harm; gives that name."""
    name = "<b>\x1b[2J\n.sys\u202e"[:13]
    name += "x" * (len("BadDriver.sys") - len(name))
    to.write_bytes(dump.read_bytes().replace("BadDriver.sys".encode("utf-16-le"), name.encode("utf-16-le")))
    return name


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def sentence(self) -> str:
        """The one sentence after `error:`."""
        (found,) = (line for line in self.err.splitlines() if line.startswith("error: "))
        return found.removeprefix("error: ")


class Lab:
    """Runs `lab` in this process, in a folder of its own and without the user's environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path | int) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 1 if code else 0, out, err)


def lab_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Lab]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "400")
    for name in ("BUGCHECK_LAB_SYMBOLS", "_NT_SYMBOL_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield Lab(monkeypatch, capsys)
