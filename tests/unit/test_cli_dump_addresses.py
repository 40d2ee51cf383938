"""`lab dump`: what is given by address or by pattern, memory that is there in part, and its help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import Dumps, Lab, lab_in, write

from lab.cli.dump import kd, names, system, threads
from lab.dumps import open_dump
from lab.kernel.opening import open_kernel
from lab.kernel.verifier import read_verifier
from lab.report.debugger import memory as shown
from lab.report.debugger import verifier as logs

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SMALL = DATA / "kernel-dumps" / "rizin-triage_x64.dmp"


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    return write(tmp_path_factory.mktemp("dumps"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    yield from lab_in(tmp_path, monkeypatch, capsys)


@pytest.mark.skipif(not SMALL.exists(), reason="no real small dump here")
def test_memory_that_is_there_in_part(lab: Lab) -> None:
    asked = ("dump", "memory", SMALL, "fffff8048b580000")
    whole = lab(*asked, "-n", 259)
    part = lab(*asked, "--length", "0x200")
    assert (whole.code, part.code) == (0, 0)
    assert part.lines[:16] == whole.lines[:16]
    assert part.lines[16].split()[1:4] == ["0b", "02", "0e"] and "?? ??" in part.lines[16]
    assert part.lines[31].split("  ")[1] == "-".join([" ".join(["??"] * 8)] * 2)
    assert part.lines[-1] == "??: 0xfffff8048b580103 is not in the dump"
    told = json.loads(lab(*asked, "-n", 512, "--json").out)
    assert len(bytes.fromhex(told["bytes"])) == 259 and told["missing"]
    assert "fffff804`8b580100  ????????`???????? ????????`????????" in lab(*asked, "-q", "-n", 512).lines
    assert lab("dump", "memory", SMALL, "fffff8048b580103").code == 7


@pytest.mark.skipif(not SMALL.exists(), reason="no real small dump here")
def test_a_small_dump_holds_no_minifilters(lab: Lab) -> None:
    ended = lab("dump", "filters", SMALL)
    assert (ended.code, ended.sentence) == (7, "a small dump does not hold the filter manager's frames")
    assert "symbols" not in ended.err.splitlines()[1]


def test_a_value_with_a_byte_that_is_not_there_is_not_shown() -> None:
    cells = [1, 0, 0, 0, 0, 0, 0, 0, 2, None, 0, 0, 0, 0, 0, 0]
    assert list(shown.dq(0, cells)) == ["00000000`00000000  00000000`00000001 ????????`????????"]


@pytest.mark.parametrize("count", ["0", "-1", "0x100001", "ten"])
def test_lengths_that_are_refused(lab: Lab, dumps: Dumps, count: str) -> None:
    assert lab("dump", "memory", dumps.dump, "nt!KiProcessorBlock", f"--length={count}").code == 2


def test_a_debuggers_length_is_bounded_too(lab: Lab, dumps: Dumps) -> None:
    assert lab("dump", "kd", "db nt!KiProcessorBlock L100001", dumps.dump).code == 3


def test_a_volume_by_its_own_address_by_its_device_and_by_the_saved_state(lab: Lab, dumps: Dumps) -> None:
    device = lab("dump", "devstack", dumps.dump).lines[1].split()[1]
    by_device = lab("dump", "filters", dumps.dump, device).lines
    (volume,) = (line.split()[1] for line in by_device if "FLT_VOLUME" in line)
    assert lab("dump", "filters", dumps.dump, volume).lines == by_device
    assert lab("dump", "kd", f"!fltkd.volume {volume}", dumps.dump).lines == by_device
    assert lab("dump", "kd", "!fltkd.volume", dumps.dump).lines == by_device


def test_a_wrong_address_is_not_blamed_on_the_file(lab: Lab, dumps: Dumps) -> None:
    lower = lab("dump", "devstack", dumps.dump).lines[2].split()[0]
    for asked, what in (
        (("irp", dumps.dump, "0x1234"), "an IRP"),
        (("filters", dumps.dump, lower), "an FLT_VOLUME"),
        (("filters", dumps.dump, "nt!KiProcessorBlock"), "an FLT_VOLUME"),
        (("stack", dumps.dump, "--thread", "nt!KiProcessorBlock"), "a thread"),
        (("devstack", dumps.dump, "nt!KiProcessorBlock"), "a device object"),
    ):
        ended = lab("dump", *asked)
        assert ended.code == 7
        assert f"it must be that of {what}" in " ".join(ended.err.split())
    none = lab("dump", "stack", dumps.dump, "--thread", 0)
    assert (none.code, none.sentence) == (3, "0 is no thread")
    assert "Check the path" in lab("dump", "info", "nowhere.dmp").err
    assert "--watch is missing" in lab("triage", "--once").sentence


def test_why_a_log_has_no_entries(dumps: Dumps) -> None:
    with open_dump(dumps.dump) as opened:
        facts, _ = read_verifier(open_kernel(opened))
    without = replace(facts, log=(), log_allocated=False)
    assert next(logs.region_log(replace(without, level=0x810))).endswith(
        "(0x800) were on, but the dump holds no log."
    )
    assert next(logs.region_log(replace(without, level=0x10))).endswith("(0x800) were not on.")


def test_an_irp_log_that_the_build_does_not_keep(lab: Lab, dumps: Dumps) -> None:
    shown = lab("dump", "log", dumps.dump, "--irps")
    if shown.lines[0].startswith("The IRP log holds no entries"):
        assert "(0x10) was on" in shown.lines[0]
    assert "was not on" not in shown.out


def test_a_requests_locations_name_their_drivers(lab: Lab, dumps: Dumps) -> None:
    dispatch = json.loads(lab("triage", dumps.dump, "--json").out)["dispatch"]
    lines = lab("dump", "irp", dumps.dump, dispatch["irp"]).lines
    (at,) = (i for i, each in enumerate(lines) if f" {int(dispatch['device'], 16):016x} " in each)
    assert lines[at + 1].strip() == dispatch["driver"]


def test_a_name_without_its_module(lab: Lab, dumps: Dumps) -> None:
    found = lab("dump", "symbol", dumps.dump, "Smb2ExecuteRead", "-y", dumps.symbols)
    assert [line.split()[1] for line in found.lines] == ["srv2!Smb2ExecuteRead"]
    assert found.out == lab("dump", "symbol", dumps.dump, "srv2!Smb2ExecuteRead", "-y", dumps.symbols).out
    assert lab("dump", "symbol", dumps.dump, "KeBugCheckEx").lines[0].endswith(" nt!KeBugCheckEx")


def test_a_server_is_not_asked_for_every_modules_symbols(lab: Lab, dumps: Dumps) -> None:
    ended = lab("dump", "symbol", dumps.dump, "Smb2ExecuteRead", "-y", "http://127.0.0.1:1/")
    assert ended.code == 3 and "Write MODULE!NAME" in ended.err
    assert "srv2" not in ended.err


def test_modules_by_pattern(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "modules", dumps.dump, "S*").lines
    assert {line.split()[2] for line in lines[1:]} == {"srv2", "Suspect"}
    assert lab("dump", "kd", "lm m s*", dumps.dump).lines == lines
    assert lab("dump", "modules", dumps.dump, "zz*").code == 3


def test_a_type_at_an_address(lab: Lab, dumps: Dumps) -> None:
    (thread,) = (
        p["thread"] for p in json.loads(lab("dump", "processors", dumps.dump, "--json").out) if p["crashed"]
    )
    lines = lab("dump", "type", dumps.dump, "_KTHREAD", "StackBase", thread).lines
    offset = int(lines[1].split()[0], 16)
    (quad,) = lab("dump", "memory", dumps.dump, f"{int(thread, 16) + offset:#x}", "-q", "-n", 8).lines
    assert int(lines[1].split(" : ")[1], 16) == int(quad.split()[1].replace("`", ""), 16)
    assert lab("dump", "kd", f"dt nt!_KTHREAD StackBase {thread}", dumps.dump).lines == lines
    assert lab("dump", "type", dumps.dump, "_KTHREAD", "0xffff900000000000").code == 7


def test_processes_without_their_threads(lab: Lab, dumps: Dumps) -> None:
    short = lab("dump", "kd", "!process 0 0", dumps.dump).out
    assert "PROCESS " in short and "THREAD " not in short
    assert "THREAD " in lab("dump", "kd", "!process 0 2", dumps.dump).out


def test_arguments_are_not_promised(lab: Lab, dumps: Dumps) -> None:
    plain = lab("dump", "kd", "kn", dumps.dump).lines
    for line in ("kv", "kb", "kp"):
        assert lab("dump", "kd", line, dumps.dump).lines == [threads.NO_ARGUMENTS, *plain]


@pytest.mark.parametrize(
    ("line", "question"),
    [
        *(("lm u", "unloaded"), ("lm", "modules"), ("lm t n", "modules"), ("lmvm nt", "modules")),
        *(("!lmi nt", "modules"), ("version", "info"), ("dps nt!KiProcessorBlock L2", "memory")),
    ],
)
def test_more_lines_of_the_debugger(line: str, question: str) -> None:
    assert kd.understood(line)[0] is getattr(system if question in ("info", "memory") else names, question)


@pytest.mark.parametrize("command", [["triage"], ["dump", "lmv"]])
def test_a_reader_that_stops_reading_is_no_error(dumps: Dumps, command: list[str]) -> None:
    read, write_end = os.pipe()
    os.close(read)
    code = "import sys; from lab.cli.main import main; sys.argv[0] = 'lab'; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *command, str(dumps.dump)],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(write_end)
    assert ended.returncode == 141
    assert "rror" not in ended.stderr and "Traceback" not in ended.stderr
