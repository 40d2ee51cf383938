"""`lab triage --watch`: every dump that comes into a folder, triaged once and when it is whole."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape

from lab.analysis import triage
from lab.cli.console import errors, out
from lab.dumps import DefectiveDump, Severity, why_not_whole
from lab.dumps.length import PREFIX
from lab.dumps.source import FileSource
from lab.model import Clock, ConfigurationError, DumpError, LabError, SystemClock, Triage
from lab.report.data import FORMAT, plain, to_json
from lab.report.triage_html import render_triage_html
from lab.report.triage_page import page
from lab.report.unreadable import Unreadable, render_unreadable
from lab.report.whole import write_whole
from lab.report.words import line
from lab.symbols import SymbolStore

SETTLED = 5.0
"""Seconds without a change after which a file counts as at rest at the first look."""

PATIENCE = 30.0
"""Seconds without a change after which a file that is not whole counts as damaged, not as growing."""

SAMPLES, SAMPLE = 64, 4096
"""Blocks across a file, and their size in bytes, that tell one dump from another."""


@dataclass(frozen=True)
class Seen:
    """A file's size in bytes and time of last change, UTC ISO 8601: what tells that it has changed."""

    size: int
    modified: str
    changed: float  # the same time, seconds since 1970


@dataclass(frozen=True)
class Result:
    """One dump that was dealt with. `sentence` says how, for a terminal; `path` is the result file."""

    dump: Path
    sentence: str
    path: Path


def watch(
    folder: Path,
    results: Path | None,
    store: SymbolStore,
    *,
    interval: float,
    once: bool,
    incomplete: bool,
) -> None:
    """Look every `interval` seconds until Ctrl-C, or `once`. One line a dump on standard output.

    Raises ConfigurationError when the folder cannot be read or results cannot be written.
    """

    def read(path: Path) -> Triage:
        return triage(path, store, allow_incomplete=incomplete)

    watcher = Watcher(folder, results or folder, read, clock=SystemClock(), interval=interval)
    done = 0
    if not once:
        errors.print(f"[dim]watching {escape(str(folder))}; Ctrl-C ends[/]", soft_wrap=True)
    try:
        while True:
            for result in watcher.look():
                done += 1
                out.print(f"{escape(line(result.dump.name))}: {escape(result.sentence)}", soft_wrap=True)
            for path, why in watcher.news():
                errors.print(f"[dim]{escape(line(path.name))}: left alone, {escape(why)}[/]", soft_wrap=True)
            if once:
                return
            time.sleep(interval)
    except KeyboardInterrupt:
        errors.print(f"[dim]ended after {done} dump{'' if done == 1 else 's'}[/]")


class Watcher:
    """Looks at a folder when told to, and remembers what it saw. What it did is in the result files."""

    def __init__(
        self,
        folder: Path,
        results: Path,
        read: Callable[[Path], Triage],
        *,
        clock: Clock,
        interval: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._results, self._read = folder, results, read
        self._clock, self._interval, self._wall = clock, interval, wall
        self._since: dict[Path, tuple[Seen, float]] = {}
        self._done: dict[Path, Seen] = {}
        self._waiting: dict[Path, str] = {}
        self._told: dict[Path, str] = {}

    def look(self) -> Iterator[Result]:
        """Deal with every dump that is at rest and not dealt with yet."""
        dumps = list(_dumps(self._folder))
        for gone in self._since.keys() - dict(dumps).keys():
            del self._since[gone]
            self._waiting.pop(gone, None)
        for path, seen in dumps:
            if self._done.get(path) == seen:
                continue
            before = self._since.get(path)
            if before is None or before[0] != seen:
                self._since[path] = (seen, self._clock.now())
            try:
                why = self._why_wait(path, seen)
                if why is None:
                    self._waiting.pop(path, None)
                    yield from self._deal_with(path, seen)
                else:
                    self._waiting[path] = why
            except FileNotFoundError:  # moved away while we looked
                continue
            except PermissionError as error:
                self._waiting[path] = str(error)

    def news(self) -> Iterator[tuple[Path, str]]:
        """Files that are left alone for now, and why; each told once."""
        for path, why in self._waiting.items():
            if path not in self._told:
                self._told[path] = why
                yield path, why

    def _why_wait(self, path: Path, seen: Seen) -> str | None:
        rest = self._rest(path, seen)
        if rest < min(self._interval, SETTLED):
            return "it has only just changed"
        reason = why_not_whole(_head(path), seen.size)
        return reason if reason is not None and rest < PATIENCE else None

    def _rest(self, path: Path, seen: Seen) -> float:
        """Seconds since the file changed last, as far as we know."""
        return max(self._clock.now() - self._since[path][1], self._wall() - seen.changed)

    def _deal_with(self, path: Path, seen: Seen) -> Iterator[Result]:
        place = self._results / f"{path.name}.json"
        identity = {
            "name": path.name,
            "size": seen.size,
            "modified": seen.modified,
            "content": _fingerprint(path),
        }
        if _is_dealt_with(place, identity):
            self._done[path] = seen
            return
        answer: dict[str, Any] = {"format": FORMAT, "file": identity}
        try:
            found = self._read(path)
        except ConfigurationError as error:  # not to be opened, or symbols that are damaged
            self._waiting[path] = error.message
            return
        except DumpError as error:
            if self._rest(path, seen) < PATIENCE:  # a copy may set the length first and the contents later
                self._waiting[path] = error.message
                return
            why = unreadable(path.name, error)
            answer["error"] = {**plain(why), "exit_code": error.exit_code}
            text, sentence = render_unreadable(why), why.sentence
        else:
            if not found.modules and self._rest(path, seen) < PATIENCE:  # as above: only its header has come
                self._waiting[path] = found.notes[0]
                return
            answer["triage"] = plain(found)
            text = render_triage_html(found)
            view = page(found)
            sentence = f"{view.bugcheck}, {view.answer.sentence}"
        if _seen(path) != seen:
            return  # it changed while it was read: what was read may be of two files
        write_whole(text, place.with_suffix(".html"))
        write_whole(to_json(answer, indent=1) + "\n", place)
        self._done[path] = seen
        yield Result(path, line(sentence), place)


def unreadable(name: str, error: LabError) -> Unreadable:
    """What an error says of a dump, and what could be read of it all the same."""
    left = error.defect.left if isinstance(error, DefectiveDump) else ""
    can_go_on = isinstance(error, DefectiveDump) and error.defect.severity is Severity.INCOMPLETE
    sentence = error.message.removeprefix(f"{name}: ")  # the name stands above it
    return Unreadable(name, sentence, f"{left} (--incomplete)" if can_go_on else left, error.help)


def _dumps(folder: Path) -> Iterator[tuple[Path, Seen]]:
    """Files called *.dmp, by name. Hidden ones are other programs' unfinished copies."""
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be watched: {error.strerror}", help="Give a folder that you may read."
        ) from None
    for path in names:
        if path.suffix.casefold() == ".dmp" and not path.name.startswith(".") and path.is_file():
            seen = _seen(path)
            if seen is not None:
                yield path, seen


def _seen(path: Path) -> Seen | None:
    try:
        status = path.stat()
    except OSError:
        return None
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    return Seen(status.st_size, modified, status.st_mtime)


def _head(path: Path) -> bytes:
    """The first bytes, which tell how long a dump has to be. FileNotFoundError, PermissionError."""
    with _opened(path) as source:
        return source.read(0, PREFIX)


def _fingerprint(path: Path) -> str:
    """SHA-256 of the first bytes and of blocks all over the file. FileNotFoundError, PermissionError."""
    with _opened(path) as source:
        found = hashlib.sha256(source.read(0, PREFIX))
        for i in range(SAMPLES):
            found.update(source.read(i * max(source.size - SAMPLE, 0) // (SAMPLES - 1), SAMPLE))
    return found.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[FileSource]:
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        source = FileSource(path)
    except ConfigurationError as error:
        raise PermissionError(error.message) from error
    try:
        yield source
    finally:
        source.close()


def _is_dealt_with(place: Path, identity: dict[str, Any]) -> bool:
    """Whether the result at `place` is of this file.

    A triage holds for the same dump however its file was copied about; a failure only for the same file.
    """
    try:
        old = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    file = old.get("file") if isinstance(old, dict) else None
    if not isinstance(file, dict):
        return False
    same = ("size", "content") if "triage" in old else ("size", "content", "modified")
    return all(file.get(key) == identity[key] for key in same)
