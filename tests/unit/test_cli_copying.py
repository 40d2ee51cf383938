"""A copy as it is seen on a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from rich.console import Console

from lab.capture import DumpRef
from lab.cli.copying import finished, size
from lab.cli.unc import is_on_a_share, parts
from lab.model import ConfigurationError

REF = DumpRef("MEMORY.DMP", 4 << 30, "2026-01-01T00:00:00Z")


@dataclass
class Copy:
    """Goes to the end, or is interrupted at half of it."""

    interrupted: bool = False
    received: int = 1 << 30
    ref: DumpRef = REF

    def finish(self, show: Callable[[int, int], None]) -> str:
        self.received = 2 << 30
        show(self.received, self.ref.length)
        if self.interrupted:
            raise KeyboardInterrupt
        show(self.ref.length, self.ref.length)
        return "5ha"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    seen = io.StringIO()
    monkeypatch.setattr("lab.cli.copying.errors", Console(file=seen, force_terminal=terminal, width=120))
    return seen


def test_a_bar_on_a_terminal_and_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = on_a_terminal(monkeypatch, True)
    assert finished(Copy(), "srv1:MEMORY.DMP") == "5ha"  # type: ignore[arg-type]
    assert "hashing" in seen.getvalue() and "/4.0 GiB" in seen.getvalue()
    seen = on_a_terminal(monkeypatch, False)
    assert finished(Copy(), "srv1:MEMORY.DMP") == "5ha"  # type: ignore[arg-type]
    assert seen.getvalue() == ""


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("srv1:Minidump\\010126-1.dmp", r"lab fetch --host srv1 'Minidump\010126-1.dmp'"),
        ("//srv1/ADMIN$/MEMORY.DMP", "lab fetch '//srv1/ADMIN$/MEMORY.DMP'"),
    ],
)
def test_an_interrupted_copy_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    seen = on_a_terminal(monkeypatch, False)
    with pytest.raises(KeyboardInterrupt):
        finished(Copy(interrupted=True), name)  # type: ignore[arg-type]
    assert seen.getvalue().splitlines()[-1] == f'kept 2.0 GiB of 4.0 GiB of {name}: "{command}" goes on'


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KiB"),
        (31 << 20, "31 MiB"),
        (4 << 30, "4.0 GiB"),
        (3 << 50, "3072 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_what_lies_on_a_share(tmp_path: object) -> None:
    assert is_on_a_share("//srv1/ADMIN$/MEMORY.DMP") and is_on_a_share(r"\\srv1\ADMIN$\MEMORY.DMP")
    assert not is_on_a_share("/srv1/x.dmp") and not is_on_a_share("x.dmp") and not is_on_a_share(r"a\b.dmp")
    assert not is_on_a_share(f"/{tmp_path}"), "what is here is meant"
    assert parts(r"\\srv1\ADMIN$\Minidump\1.dmp") == ("srv1", "ADMIN$", "Minidump/1.dmp")
    for short in ("//", "//srv1", "//srv1/ADMIN$/", r"\\srv1"):
        with pytest.raises(ConfigurationError, match="names no file of a share"):
            parts(short)
