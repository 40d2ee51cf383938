"""A trial's dump: fetched when it is whole, and once more when Windows touched it after all."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from capture_sources import HandClock, MemorySource, dump

from lab.capture import Replaced, Vault
from lab.model import EntryKind
from lab.trials.aftermath import _capture

DUMP = dump(pages=20)


def bench(source: MemorySource, vault: Path, told: list[tuple[EntryKind, str]]) -> Any:
    return SimpleNamespace(
        dumps=lambda: closing(source),
        vault=Vault(vault),
        clock=HandClock(),
        host=SimpleNamespace(timeouts=SimpleNamespace(dump=60.0, poll=1.0, transfer=60.0)),
        tell=lambda kind, text: told.append((kind, text)),
    )


@pytest.mark.parametrize("touched", [0, 1, 2])
def test_a_dump_that_is_touched_while_it_is_fetched(tmp_path: Path, touched: int) -> None:
    source, times = MemorySource({"MEMORY.DMP": DUMP}), [0]

    def touch(number: int) -> None:
        if source.opened >= 3 * (times[0] + 1) + 1 and times[0] < touched:  # after two looks, in the fetch
            times[0] += 1
            source.modified = f"2026-01-01T00:00:0{times[0]}Z"

    source.on_read = touch
    told: list[tuple[EntryKind, str]] = []
    if touched == 2:
        with pytest.raises(Replaced):
            _capture(bench(source, tmp_path, told), None)
    else:
        assert _capture(bench(source, tmp_path, told), None) == hashlib.sha256(DUMP).hexdigest()
    warnings = [text for kind, text in told if kind is EntryKind.WARNING]
    assert warnings == ["MEMORY.DMP was replaced or cut short while it was fetched: once more"] * min(
        touched, 1
    )
