"""`lab dump`: single questions, answered in the debugger's form; its own words; JSON; what goes wrong."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Dumps, Lab, hostile, lab_in, write

from lab.analysis.callers import where
from lab.cli.dump import devices, filters, kd, names, system, threads, verifier
from lab.cli.dump.answer import Question
from lab.cli.dump.place import number
from lab.dumps import open_dump
from lab.dumps.source import BytesSource
from lab.kernel.opening import open_kernel
from lab.model import ConfigurationError, Frame, LabError
from lab.report.data import to_json


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    return write(tmp_path_factory.mktemp("dumps"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    yield from lab_in(tmp_path, monkeypatch, capsys)


QUESTIONS = (
    *("info", "modules", "unloaded", "threads", "stack", "processors", "verifier", "log"),
    *("devstack", "filters"),
)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_answered_as_text_and_as_json(lab: Lab, dumps: Dumps, question: str) -> None:
    shown = lab("dump", question, dumps.dump, "-y", dumps.symbols)
    assert (shown.code, shown.err) == (0, "") or "symbols wanted" in shown.err
    assert shown.out.strip()
    told = lab("dump", question, dumps.dump, "-y", dumps.symbols, "--json")
    assert told.code == 0
    numbers = list(_numbers(json.loads(told.out)))
    assert all(abs(value) < 2**53 for value in numbers)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_info_reads_like_vertarget_and_dumpdebug(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "info", dumps.dump).lines
    assert lines[0] == "Windows Kernel Version 17763 MP (2 procs) Free x64"
    assert lines[1] == "Product: Server, suite: TerminalServer SingleUserTS"
    assert re.fullmatch(r"Kernel base = 0x[0-9a-f]{8}`[0-9a-f]{8} PsLoadedModuleList = 0x\S{17}", lines[2])
    assert "System Uptime: 1 day 0:00:00.000" in lines
    assert "MinorVersion        00004563" in lines
    assert "BugCheckCode        000000c4" in lines


def test_modules_read_like_lm(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "modules", dumps.dump).lines
    assert lines[0] == "start             end                 module name"
    (fltmgr,) = (line for line in lines if " fltmgr " in line)
    assert re.fullmatch(r"[0-9a-f]{8}`[0-9a-f]{8} [0-9a-f]{8}`[0-9a-f]{8}   fltmgr +\(deferred\)", fltmgr)
    assert [line.split()[2] for line in lines if line.endswith("third-party")] == [
        "BadDriver",
        "Suspect",
        "Other",
    ]


def test_one_module_with_everything_known_of_it(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "lmv", dumps.dump, "srv2").lines
    assert len(lines) == 9
    assert "    Image name:       srv2.sys" in lines
    assert any(re.fullmatch(r"    PDB:              srv2\.pdb/[0-9A-F]{33,}", line) for line in lines)


def test_the_stack_reads_like_kn(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "stack", dumps.dump, "-y", dumps.symbols).lines
    assert lines[0] == " # Child-SP          RetAddr           Call Site"
    frame = re.compile(r"([0-9a-f]{2}) [0-9a-f]{8}`[0-9a-f]{8} [0-9a-f]{8}`[0-9a-f]{8} (\w+![^+ ]+)(\+\S+)?")
    found = [frame.fullmatch(line) for line in lines[1:]]
    assert [m and m[1] for m in found] == [f"{i:02x}" for i in range(len(found))]
    assert [m and m[2] for m in found][:4] == [
        "nt!KeBugCheckEx",
        "nt!VfBugCheckNoStackUsage",
        "nt!VfAfterCallDriver",
        "nt!IovCallDriver",
    ]


def test_a_frames_registers(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "stack", dumps.dump, "--frame", 2).lines
    assert lines[1].startswith("02 ")
    assert re.fullmatch(r"   rip=[0-9a-f]{16} rsp=[0-9a-f]{16} rbx=[0-9a-f]{16}", lines[2])
    assert lab("dump", "kd", ".frame /r 2", dumps.dump).lines == lines
    assert lab("dump", "stack", dumps.dump, "--frame", 99).code == 3


def test_frames_are_numbered_as_kn_numbers_them() -> None:
    frames = tuple(Frame(i, 0, 0, 0, f"nt!f{i}", "ntoskrnl.exe", "unwound") for i in range(12))
    assert threads._numbered(frames, "a").index == 10
    assert where(frames[10]).startswith("frame a, nt!f10")
    with pytest.raises(ConfigurationError, match="no frame 10"):
        threads._numbered(frames, "10")


def test_the_crashing_thread_is_told_before_its_stack(lab: Lab, dumps: Dumps) -> None:
    told = lab("dump", "kd", "!thread -1 e", dumps.dump)
    assert told.lines[0].startswith("THREAD ") and "KernelApcDisable -1 (ffff)" in told.out
    assert told.out.endswith(lab("dump", "kn", dumps.dump).out)


def test_the_stack_of_another_processor_and_of_a_thread(lab: Lab, dumps: Dumps) -> None:
    processors = json.loads(lab("dump", "processors", dumps.dump, "--json").out)
    (crashed,) = (p for p in processors if p["crashed"])
    crashing = lab("dump", "stack", dumps.dump).out
    assert lab("dump", "stack", dumps.dump, "-p", crashed["number"]).out == crashing
    of_thread = lab("dump", "stack", dumps.dump, "--thread", crashed["thread"])
    assert of_thread.out.endswith(crashing)
    assert of_thread.lines[0].startswith(f"THREAD {crashed['thread'].removeprefix('0x')}  Cid ")
    missing = lab("dump", "stack", dumps.dump, "-p", 7)
    assert (missing.code, missing.sentence) == (7, "processor 7 is not in the dump")


def test_only_threads_that_have_apcs_disabled(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "threads", dumps.dump, "--apc").lines
    assert sum(line.lstrip().startswith("THREAD ") for line in lines) == 1
    assert "            KernelApcDisable -1 (ffff)  SpecialApcDisable 0 (0000)" in lines
    assert lines[-1].endswith("threads have APC disable counts that are not zero.")
    assert lab("dump", "threads", dumps.dump, "--process", "system").lines[1].startswith("PROCESS ")
    assert lab("dump", "threads", dumps.dump, "--process", "notepad").code == 3


def test_verifier_and_its_log(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "verifier", dumps.dump, "--log").lines
    assert lines[0] == "Verify Level 810 ... enabled options are:"
    assert "      Io subsystem checking enabled" in lines
    assert "There are up to 0x80 entries in the log, 3 are used." in lines
    assert "      Suspect.sys: 1 enter, 1 leave, on 1 thread(s)" in lines
    (crashing,) = (
        p["thread"] for p in json.loads(lab("dump", "processors", dumps.dump, "--json").out) if p["crashed"]
    )
    mine = json.loads(lab("dump", "log", dumps.dump, "--thread", crashing, "--json").out)
    assert [(e["direction"], e["caller"]) for e in mine["entries"]] == [("enter", "BadDriver.sys")]


def test_the_device_stack_and_the_minifilters(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "devstack", dumps.dump).lines
    assert lines[0] == "  !DevObj           !DrvObj"
    assert re.fullmatch(r"> [0-9a-f]{16}  \\FileSystem\\FltMgr", lines[1], re.IGNORECASE)
    device = lines[1].split()[1]
    assert lab("dump", "devstack", dumps.dump, device).lines == lines
    instance = '"BadDriver.sys Instance" "189600"  BadDriver.sys, third-party'
    for arguments in ((), ("--volumes",), (device,)):
        shown = lab("dump", "filters", dumps.dump, *arguments)
        assert any(line.endswith(instance) for line in shown.lines), shown.out


def test_memory_in_three_forms(lab: Lab, dumps: Dumps) -> None:
    asked = ("dump", "memory", dumps.dump, "nt!KiProcessorBlock", "-n", 16)
    (text,) = lab(*asked).lines
    (quads,) = lab(*asked, "--quads").lines
    first, second, *_ = lab(*asked, "--with-symbols").lines
    assert quads == f"{first} {second.split()[1]}"
    address, value = first.split()
    data = bytes.fromhex(value.replace("`", ""))[::-1]
    assert text.startswith(f"{address}  " + " ".join(f"{byte:02x}" for byte in data) + "-")
    assert lab("dump", "memory", dumps.dump, address, "-n", 16).lines == [text]


@pytest.mark.parametrize("address", ["0xffff900000000000", "ffff9000`00000000"])
def test_memory_that_is_not_there_says_so(lab: Lab, dumps: Dumps, address: str) -> None:
    ended = lab("dump", "memory", dumps.dump, address)
    assert (ended.code, ended.out) == (7, "")
    assert "0xffff900000000000" in ended.sentence


def test_names_and_addresses(lab: Lab, dumps: Dumps) -> None:
    (line,) = lab("dump", "symbol", dumps.dump, "nt!KeBugCheckEx").lines
    address, name = line.split()
    assert name == "nt!KeBugCheckEx"
    assert lab("dump", "ln", dumps.dump, address).lines == [line]
    matching = lab("dump", "x", dumps.dump, "srv2!smb2*", "-y", dumps.symbols).lines
    assert "srv2!Smb2ExecuteRead" in [line.split()[1] for line in matching]
    ended = lab("dump", "symbol", dumps.dump, "nt!NoSuchName")
    assert (ended.code, ended.sentence) == (3, "no symbols at hand have nt!NoSuchName")


def test_types(lab: Lab, dumps: Dumps) -> None:
    lines = lab("dump", "type", dumps.dump, "nt!_KTHREAD", "StackBase", "StackLimit").lines
    assert lines[:3] == ["nt!_KTHREAD", "   +0x030 StackLimit", "   +0x038 StackBase"]
    whole = lab("dump", "dt", dumps.dump, "nt!_KTHREAD").lines
    assert set(lines[1:3]) < set(whole)
    offsets = [int(line.split()[0], 16) for line in whole if line.startswith("   +0x")]
    assert offsets == sorted(offsets)
    assert lab("dump", "type", dumps.dump, "_NO_SUCH").code == 3
    ended = lab("dump", "type", dumps.dump, "srv2!_X")
    assert ended.code == 3 and "wanted: srv2.pdb" in ended.sentence


def test_missing_symbols_are_named_with_where_they_were_looked_for(
    lab: Lab, dumps: Dumps, tmp_path: Path
) -> None:
    ended = lab("dump", "stack", dumps.dump, "-y", tmp_path)
    assert "srv2+0x" in ended.out
    assert re.search(r"symbols wanted: srv2\.pdb [0-9A-F]{33,}, looked in", ended.err)
    assert str(tmp_path) in ended.err


# --- the debugger's own words ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "question", "arguments"),
    [
        ("vertarget", system.info, {}),
        ("lm", names.modules, {}),
        ("lmvm srv2", names.modules, {"name": "srv2", "verbose": True}),
        ("lm v m srv2", names.modules, {"name": "srv2", "verbose": True}),
        ("kn", threads.stack, {}),
        ("~1 k", threads.stack, {"processor": 1}),
        ("~1s; kn", threads.stack, {"processor": 1}),
        (".frame /r 2", threads.stack, {"frame": "2"}),
        (".frame /r a", threads.stack, {"frame": "a"}),
        ("!thread -1 e", threads.crashing_thread, {}),
        ("!thread fffffa804b5be040", threads.stack, {"thread": "fffffa804b5be040"}),
        ("!process 0 2", threads.threads, {}),
        ("!verifier", verifier.verifier, {}),
        ("!verifier 200", verifier.log, {}),
        ("!VERIFIER  0x200", verifier.log, {}),
        ("!verifier 200 fffffa804b5be040", verifier.log, {"thread": "fffffa804b5be040"}),
        ("!verifier 100", verifier.log, {"irps": True}),
        (
            "dq fffffa80`4b729830 l1",
            system.memory,
            {"address": "fffffa80`4b729830", "quads": True, "length": 8},
        ),
        ("db nt!KiProcessorBlock L10", system.memory, {"address": "nt!KiProcessorBlock", "length": 16}),
        ("ln fffff88001345610", names.symbol, {"name": "fffff88001345610"}),
        ("x srv2!Smb2*", names.symbol, {"name": "srv2!Smb2*"}),
        ("dt nt!_KTHREAD StackBase", names.type_, {"name": "nt!_KTHREAD", "fields": ["StackBase"]}),
    ],
)
def test_the_debuggers_command_lines(line: str, question: object, arguments: dict[str, Any]) -> None:
    assert kd.understood(line) == (question, arguments)


@pytest.mark.parametrize(
    ("line", "question"),
    [
        ("vertarget", ["info"]),
        ("kn", ["stack"]),
        ("!verifier 200", ["log"]),
        ("!devstack", ["devstack"]),
        ("!fltkd.filters", ["filters"]),
        ("!running -it", ["processors"]),
    ],
)
def test_they_give_the_same_as_our_own(lab: Lab, dumps: Dumps, line: str, question: list[str]) -> None:
    assert lab("dump", "kd", line, dumps.dump).out == lab("dump", *question, dumps.dump).out


def test_analyze_is_the_whole_triage(lab: Lab, dumps: Dumps) -> None:
    assert lab("dump", "kd", "!analyze -v", dumps.dump).out == lab("triage", dumps.dump).out


def test_an_unknown_command_line_lists_the_known_ones(lab: Lab, dumps: Dumps) -> None:
    ended = lab("dump", "kd", "!poolused 2", dumps.dump)
    assert (ended.code, ended.out) == (3, "")
    assert "'!poolused 2'" in ended.sentence
    for known in ("!verifier 200", "!fltkd.volumes", "kn", "lm", "dt MODULE!TYPE"):
        assert known in ended.err


def test_help_shows_the_debuggers_words_beside_ours(lab: Lab) -> None:
    shown = lab("dump", "--help").out
    for ours, theirs in (("modules", "lm, lmv"), ("log", "!verifier 200"), ("filters", "!fltkd.filters")):
        (line,) = (line for line in shown.splitlines() if line.startswith(f"│ {ours} "))
        assert theirs in line


# --- addresses, and what goes wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["0xfffff800`02a93c40", "fffff80002a93c40", "fffff800`02a93c40", "0xFFFFF80002A93C40"]
)
def test_addresses_as_people_write_them(text: str) -> None:
    assert number(text) == 0xFFFFF80002A93C40


@pytest.mark.parametrize("text", ["", "fffff800`2a93c40x", "`02a93c40", "12345678901234567", "nt!Ke", "0x"])
def test_what_is_no_address(text: str) -> None:
    assert number(text) is None


def test_a_command_line_is_understood_before_the_dump_is_opened(lab: Lab) -> None:
    with pytest.raises(ConfigurationError, match="not one of the debugger's commands"):
        kd.understood("x")
    assert "not one of" in lab("dump", "kd", "nonsense", "nowhere.dmp").sentence


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_dump_there_is_the_users_mistake(lab: Lab, question: str) -> None:
    ended = lab("dump", question, "nowhere.dmp")
    assert (ended.code, ended.out) == (3, "")
    assert "nowhere.dmp" in ended.sentence


def test_a_dump_that_is_cut_off_is_told_with_what_is_left_of_it(
    lab: Lab, dumps: Dumps, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.dmp"
    whole = dumps.dump.read_bytes()
    cut.write_bytes(whole[: len(whole) * 895 // 1000])
    ended = lab("dump", "info", cut)
    assert (ended.code, ended.out) == (7, "")
    assert "cut off" in ended.sentence and "(89 %)" in ended.sentence
    assert "--incomplete" in ended.err
    shown = lab("dump", "info", cut, "--incomplete")
    assert shown.code == 0
    assert any("NOT WHOLE" in line for line in shown.lines)


@pytest.mark.parametrize("question", [("info",), ("vertarget",), ("kd", ".dumpdebug")])
def test_a_header_alone_tells_of_the_system(
    lab: Lab, dumps: Dumps, tmp_path: Path, question: tuple[str, ...]
) -> None:
    half = tmp_path / "half.dmp"
    half.write_bytes(dumps.dump.read_bytes()[:0x4000])
    assert lab("dump", *question, half).code == 7
    shown = lab("dump", *question, half, "--incomplete")
    assert shown.code == 0
    assert "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)" in shown.lines
    assert "no module of half.dmp can be read" in " ".join(shown.err.split())
    assert json.loads(lab("dump", *question, half, "--incomplete", "--json").out)["kernel_pdb"] == ""
    other = lab("dump", "modules", half, "--incomplete")
    assert (other.code, other.out) == (7, "")
    assert "lab triage --incomplete" in " ".join(other.err.split())


def test_names_in_a_dump_cannot_move_the_cursor_or_add_lines(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    name = hostile(dumps.dump, tmp_path / "hostile.dmp")
    before = lab("dump", "modules", dumps.dump).lines
    for question in ("modules", "lmv", "filters", "devstack", "verifier", "threads", "log"):
        shown = lab("dump", question, tmp_path / "hostile.dmp")
        assert shown.code == 0
        assert shown.out.replace("\n", "").isprintable(), question
        assert "\x1b" not in shown.err
    assert len(lab("dump", "modules", tmp_path / "hostile.dmp").lines) == len(before)
    told = json.loads(lab("dump", "modules", tmp_path / "hostile.dmp", "--json").out)
    assert name in [module["name"] for module in told]


@pytest.mark.parametrize("seed", range(24))
def test_a_damaged_dump_gets_an_answer_or_one_of_our_errors(dumps: Dumps, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(dumps.dump.read_bytes())
    for _ in range(chance.choice((1, 20, 400))):
        at = chance.randrange(0x2100) if chance.random() < 0.3 else chance.randrange(len(data))
        data[at] = chance.randrange(256)
    with suppress(LabError), open_dump(BytesSource(bytes(data)), allow_incomplete=True) as opened:
        kernel = open_kernel(opened)
        for question, given in ASKED:
            with suppress(LabError):
                found = question(kernel, **given)
                json.loads(to_json(found.value))
                assert not set("".join(found.lines)) & set(map(chr, range(32)))


ASKED: tuple[tuple[Question, dict[str, Any]], ...] = (
    (system.info, {}),
    (system.processors, {}),
    (system.memory, {"address": "nt!KiProcessorBlock"}),
    (names.modules, {"verbose": True}),
    (names.unloaded, {}),
    (names.type_, {"name": "_KTHREAD"}),
    (threads.threads, {}),
    (threads.stack, {"registers": True}),
    (threads.stack, {"processor": 0}),
    (verifier.verifier, {"statistics": True, "log": True, "irps": True}),
    (verifier.log, {}),
    (devices.devstack, {}),
    (filters.filters, {}),
    (filters.filters, {"volumes": True}),
)
