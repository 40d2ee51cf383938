"""`lab triage --watch`: every dump once, whole ones only, results whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_runs import Dumps, Lab, lab_in, write

from lab.analysis import triage
from lab.cli.watch import PATIENCE, Watcher
from lab.model import ConfigurationError, Triage

INTERVAL = 2.0


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    return write(tmp_path_factory.mktemp("dumps"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    yield from lab_in(tmp_path, monkeypatch, capsys)


class Hands:
    """A clock that is moved by hand, wall and monotonic in one; files are changed at its time."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def put(self, path: Path, data: bytes, *, age: float = 0.0) -> Path:
        path.write_bytes(data)
        os.utime(path, (self.time - age, self.time - age))
        return path


@dataclass
class World:
    """A watched folder, its results, and how often each file was read."""

    folder: Path
    results: Path
    hands: Hands
    watcher: Watcher
    reads: list[str]

    def look(self) -> list[str]:
        """Names of the dumps that one look dealt with."""
        return [result.dump.name for result in self.watcher.look()]

    def result(self, name: str) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads((self.results / f"{name}.json").read_text("utf-8"))
        return found


Make = Callable[[], World]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Another watcher of the same folder, as if the program had been started again."""
    hands, reads = Hands(), []
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()

    def read(path: Path) -> Triage:
        reads.append(path.name)
        return triage(path)

    def make() -> World:
        watcher = Watcher(folder, results, read, clock=hands, interval=INTERVAL, wall=hands.now)
        return World(folder, results, hands, watcher, reads)

    return make


@pytest.fixture
def world(make: Make) -> World:
    return make()


def test_a_dump_at_rest_is_triaged_at_the_first_look_and_never_again(world: World, dumps: Dumps) -> None:
    world.hands.put(world.folder / "MEMORY.DMP", dumps.dump.read_bytes(), age=3600)
    assert world.look() == ["MEMORY.DMP"]
    assert world.result("MEMORY.DMP")["triage"]["bugcheck"]["code"] == "0xc4"
    assert (world.results / "MEMORY.DMP.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert sorted(p.name for p in world.results.iterdir()) == ["MEMORY.DMP.html", "MEMORY.DMP.json"]
    for _ in range(3):
        world.hands.sleep(INTERVAL)
        assert world.look() == []
    assert world.reads == ["MEMORY.DMP"]


def test_what_was_done_is_remembered_in_the_result_file(make: Make, dumps: Dumps) -> None:
    world = make()
    path = world.hands.put(world.folder / "a.dmp", dumps.dump.read_bytes(), age=3600)
    assert world.look() == ["a.dmp"]
    assert make().look() == []
    os.utime(path, (world.hands.time - 60, world.hands.time - 60))
    assert make().look() == [], "the same dump, copied again"
    assert world.reads == ["a.dmp"]
    world.hands.put(path, dumps.dump.read_bytes()[:-1] + b"x", age=60)
    assert make().look() == ["a.dmp"], "another dump of the same name and length"
    (world.results / "a.dmp.json").write_text("no JSON", "utf-8")
    assert make().look() == ["a.dmp"]


def test_a_growing_file_is_left_alone_until_it_is_whole(world: World, dumps: Dumps) -> None:
    whole = dumps.dump.read_bytes()
    path = world.folder / "grows.dmp"
    for part in (1, 100, 0x2000, 0x2100, len(whole) // 2, len(whole) - 1):
        world.hands.put(path, whole[:part])
        assert world.look() == []
        world.hands.sleep(INTERVAL)
        assert world.look() == []
    assert world.reads == [] and not world.results.exists()
    assert [p.name for p, _ in world.watcher.news()] == ["grows.dmp"]
    assert list(world.watcher.news()) == [], "it is said once"
    world.hands.put(path, whole)
    assert world.look() == [], "it has only just changed"
    world.hands.sleep(INTERVAL)
    assert world.look() == ["grows.dmp"]


def test_a_file_of_full_length_whose_contents_are_still_coming_is_left_alone(
    world: World, dumps: Dumps
) -> None:
    """Some copies set the length first."""
    whole = dumps.dump.read_bytes()
    path = world.hands.put(world.folder / "a.dmp", whole[:0x8000] + bytes(len(whole) - 0x8000))
    world.hands.sleep(INTERVAL)
    assert world.look() == [] and not world.results.exists()
    world.hands.put(path, whole)
    assert world.look() == []
    world.hands.sleep(INTERVAL)
    assert world.look() == ["a.dmp"]
    assert "triage" in world.result("a.dmp")


def test_a_damaged_dump_gets_its_sentence_and_is_not_tried_again_until_it_changes(
    make: Make, dumps: Dumps
) -> None:
    world = make()
    whole = dumps.dump.read_bytes()
    path = world.hands.put(world.folder / "cut.dmp", whole[: len(whole) // 2])
    assert world.look() == []
    world.hands.sleep(PATIENCE + 1)
    assert world.look() == ["cut.dmp"]
    error = world.result("cut.dmp")["error"]
    assert error["sentence"].startswith("the dump is cut off"), "the file's name is told beside it"
    assert "All pages before the cut" in error["left"]
    assert error["exit_code"] == 7
    assert "could not be read" in (world.results / "cut.dmp.html").read_text("utf-8")
    world.hands.sleep(INTERVAL)
    assert world.look() == [] and make().look() == []
    assert world.reads == ["cut.dmp"]
    world.hands.put(path, whole)
    world.hands.sleep(INTERVAL)
    assert make().look() == ["cut.dmp"]
    assert "triage" in world.result("cut.dmp")


def test_what_is_no_dump_is_told_once_it_is_at_rest(world: World) -> None:
    world.hands.put(world.folder / "notes.dmp", b"this is text\n" * 1000, age=3600)
    world.hands.put(world.folder / "notes.txt", b"this is text\n" * 1000, age=3600)
    world.hands.put(world.folder / ".partial.dmp", b"PAGEDU64", age=3600)
    (world.folder / "folder.dmp").mkdir()
    assert world.look() == ["notes.dmp"]
    assert "not a Windows dump" in world.result("notes.dmp")["error"]["sentence"]


def test_several_dumps_are_dealt_with_by_name_and_one_bad_one_holds_up_none(
    world: World, dumps: Dumps
) -> None:
    whole = dumps.dump.read_bytes()
    world.hands.put(world.folder / "b.DMP", whole, age=60)
    world.hands.put(world.folder / "a.dmp", b"", age=60)
    world.hands.put(world.folder / "c.dmp", whole, age=60)
    assert world.look() == ["a.dmp", "b.DMP", "c.dmp"]


def test_a_dump_that_goes_away_leaves_nothing(world: World, dumps: Dumps) -> None:
    path = world.hands.put(world.folder / "a.dmp", dumps.dump.read_bytes())
    assert world.look() == []
    path.unlink()
    world.hands.sleep(INTERVAL)
    assert world.look() == [] and not world.results.exists()


def test_results_that_cannot_be_written_end_it_with_a_sentence(world: World, dumps: Dumps) -> None:
    world.results.write_text("a file in the way", "utf-8")
    world.hands.put(world.folder / "a.dmp", dumps.dump.read_bytes(), age=60)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        world.look()


# --- the command -----------------------------------------------------------------------------


def test_once_deals_with_what_is_there(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dmp").write_bytes(dumps.dump.read_bytes())
    os.utime(folder / "a.dmp", (1e9, 1e9))
    (folder / "fresh.dmp").write_bytes(dumps.dump.read_bytes()[:5000])
    ended = lab("triage", "--watch", folder, "--once", "-y", dumps.symbols)
    assert ended.code == 0
    (line,) = ended.lines
    assert line.startswith("a.dmp: DRIVER_VERIFIER_DETECTED_VIOLATION (c4), ")
    assert "fresh.dmp: left alone" in ended.err
    assert {p.name for p in folder.iterdir()} == {"a.dmp", "a.dmp.json", "a.dmp.html", "fresh.dmp"}
    assert lab("triage", "--watch", folder, "--once").out == ""


def test_a_folder_that_is_not_there(lab: Lab) -> None:
    ended = lab("triage", "--watch", "nowhere", "--once")
    assert ended.code == 3 and "nowhere" in ended.sentence


def test_it_does_not_look_more_often_than_once_a_second(lab: Lab, tmp_path: Path) -> None:
    assert lab("triage", "--watch", tmp_path, "--interval", "0.5").code == 2


def test_ctrl_c_ends_it_cleanly(dumps: Dumps, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dmp").write_bytes(dumps.dump.read_bytes())
    os.utime(folder / "a.dmp", (1e9, 1e9))
    command = [sys.executable, "-m", "lab", "triage", "--watch", str(folder), "--interval", "1"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("a.dmp: ")
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 0
    assert said.splitlines()[-1] == "ended after 1 dump"


def test_a_header_alone_is_a_triage_once_no_more_is_to_be_expected(tmp_path: Path, dumps: Dumps) -> None:
    """A copy may set the length first and the contents later."""
    hands, whole = Hands(), dumps.dump.read_bytes()
    folder, results = tmp_path / "in", tmp_path / "out"
    folder.mkdir()

    def read(path: Path) -> Triage:
        return triage(path, allow_incomplete=True)

    watcher = Watcher(folder, results, read, clock=hands, interval=INTERVAL, wall=hands.now)
    hands.put(folder / "MEMORY.DMP", whole[:0x4000] + bytes(len(whole) - 0x4000))
    assert list(watcher.look()) == []
    hands.sleep(INTERVAL)
    assert list(watcher.look()) == []
    assert [path.name for path, _ in watcher.news()] == ["MEMORY.DMP"]
    hands.sleep(PATIENCE)
    (result,) = watcher.look()
    assert result.sentence.startswith("DRIVER_VERIFIER_DETECTED_VIOLATION (c4), The header alone")
    found = json.loads(result.path.read_text("utf-8"))
    assert found["triage"]["modules"] == [] and "error" not in found
