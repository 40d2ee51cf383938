"""`lab triage` of a file: text, JSON, page, symbols and where they were said, hostile names, broken dumps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import BUILD, Dumps, Lab, hostile, lab_in, write

from lab.twin.symbolserver import SymbolServer

REAL = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    return write(tmp_path_factory.mktemp("dumps"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    yield from lab_in(tmp_path, monkeypatch, capsys)


def test_the_text_reads_like_the_debugger(lab: Lab, dumps: Dumps) -> None:
    ended = lab("triage", dumps.dump, "-y", dumps.symbols)
    assert ended.code == 0
    assert ended.lines[0] == "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)"
    for line in (
        "Arguments:",
        " # Child-SP          RetAddr           Call Site",
        "Verify Level 810 ... enabled options are:",
        "!verifier 200",
        "  !DevObj           !DrvObj",
        "Evidence:",
        "Suspects (shares of what this dump's evidence points to; no probabilities):",
    ):
        assert line in ended.lines, line
    headings = [i for i, line in enumerate(ended.lines) if line in ("Arguments:", "Evidence:")]
    assert headings == sorted(headings)
    assert "\x1b" not in ended.out, "colours are for terminals"


def test_json_is_one_object_with_hexadecimal_addresses(lab: Lab, dumps: Dumps) -> None:
    ended = lab("triage", dumps.dump, "-y", dumps.symbols, "--json")
    assert ended.out.count("\n") == 1
    found = json.loads(ended.out)
    assert found["format"] == 1
    assert found["bugcheck"]["code"] == "0xc4"
    assert found["bugcheck"]["parameters"][0] == "0xc5"
    for address in (
        found["thread"]["address"],
        found["stack"][0]["child_sp"],
        found["modules"][0]["base"],
        found["dispatch"]["device_stack"][0][0],
        found["dispatch"]["instances"][0]["address"],
        found["verifier"]["log"][0]["thread"],
        found["processors"][0]["prcb"],
    ):
        assert isinstance(address, str) and int(address, 16) >= 0xFFFF800000000000, address
    assert found["thread"]["kernel_apc_disable"] == -1
    assert {suspect["image"] for suspect in found["suspects"]} == {"BadDriver.sys", "Other.sys"}


def test_a_page_is_written_and_its_path_told(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    ended = lab("triage", dumps.dump, "-y", dumps.symbols, "--html", "new/page.html")
    page = tmp_path / "new" / "page.html"
    assert (ended.code, ended.out) == (0, f"{page}\n")
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    both = lab("triage", dumps.dump, "--json", "--html", "again.html")
    assert json.loads(both.out)["format"] == 1
    assert (tmp_path / "again.html").is_file()


@pytest.mark.parametrize("variable", ["BUGCHECK_LAB_SYMBOLS", "_NT_SYMBOL_PATH"])
def test_symbols_of_the_environment_are_used_and_said(
    lab: Lab, dumps: Dumps, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f";{dumps.symbols};")
    ended = lab("triage", dumps.dump)
    assert "srv2!Smb2ExecuteRead" in ended.out
    assert f"symbols from {variable}: folder {dumps.symbols}, " in ended.err


def test_ours_come_before_the_debuggers_and_the_command_line_before_both(
    lab: Lab, dumps: Dumps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("_NT_SYMBOL_PATH", str(dumps.symbols))
    monkeypatch.setenv("BUGCHECK_LAB_SYMBOLS", str(tmp_path))
    ours = lab("triage", dumps.dump)
    assert "srv2!" not in ours.out and "BUGCHECK_LAB_SYMBOLS" in ours.err
    told = lab("triage", dumps.dump, "-y", dumps.symbols)
    assert "srv2!" in told.out and "symbols from" not in told.err


def test_symbols_come_from_a_server_once_and_stay_for_when_it_is_gone(
    lab: Lab, dumps: Dumps, tmp_path: Path
) -> None:
    server = SymbolServer("127.0.0.1", 0, BUILD)
    try:
        spec = f"srv*{tmp_path / 'kept'}*{server.url}"
        first = lab("triage", dumps.dump, "-y", spec)
    finally:
        server.stop()
    assert first.code == 0 and "srv2!Smb2ExecuteRead" in first.out
    assert list((tmp_path / "kept").rglob("srv2.pdb")) != []
    again = lab("triage", dumps.dump, "-y", spec, "--offline")
    before, wanted, _ = first.out.partition("Symbols that would say more")
    assert wanted and again.out.startswith(before + wanted)
    assert "not asked: offline" in again.out
    nothing = lab("triage", dumps.dump, "-y", server.url, "--symbol-cache", tmp_path / "empty")
    assert nothing.code == 0 and "srv2+0x" in nothing.out
    assert server.url in nothing.out, "what the server said, or did not, is told"
    assert server.url not in nothing.err, "and told once"
    assert "symbols of srv2.pdb" not in nothing.out.casefold(), "where they were looked for has it"


def test_a_variable_that_makes_no_sense_is_named(
    lab: Lab, dumps: Dumps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_NT_SYMBOL_PATH", "ftp://somewhere")
    ended = lab("triage", dumps.dump)
    assert ended.code == 3
    assert ended.sentence.startswith("_NT_SYMBOL_PATH: ")


def test_missing_symbols_degrade_to_offsets_and_are_wanted_by_id(
    lab: Lab, dumps: Dumps, tmp_path: Path
) -> None:
    ended = lab("triage", dumps.dump, "-y", tmp_path)
    assert ended.code == 0
    assert " srv2+0x" in ended.out
    at = ended.lines.index("Symbols that would say more (names are given as module+offset without them):")
    wanted = " ".join(ended.lines[at:])
    assert "srv2.sys: srv2.pdb " in wanted and f"folder {tmp_path}" in wanted


def test_names_in_a_dump_cannot_move_the_cursor_or_add_lines(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    hostile(dumps.dump, tmp_path / "hostile.dmp")
    shown = lab("triage", tmp_path / "hostile.dmp")
    assert shown.code == 0
    assert shown.out.replace("\n", "").isprintable()
    assert "<b>\\u001b[2J\\u000a.sys" in shown.out
    lab("triage", tmp_path / "hostile.dmp", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<b>\\" not in page and "&lt;b&gt;\\u001b[2J" in page


def test_one_thing_is_asked_at_a_time(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    assert lab("triage").code == 3
    assert lab("triage", dumps.dump, "--watch", tmp_path).code == 3
    assert lab("triage", dumps.dump, "--once").code == 3
    assert lab("triage", "--watch", tmp_path, "--host", "srv1").code == 3


def test_no_file_is_the_users_mistake_and_a_broken_one_is_not(lab: Lab, tmp_path: Path) -> None:
    assert lab("triage", "nowhere.dmp").code == 3
    assert lab("triage", tmp_path).code == 3
    (tmp_path / "empty.dmp").write_bytes(b"")
    assert lab("triage", "empty.dmp").code == 7


def test_what_is_left_of_a_dump_that_was_cut_off(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    whole = dumps.dump.read_bytes()
    (tmp_path / "cut.dmp").write_bytes(whole[: len(whole) // 2])
    ended = lab("triage", "cut.dmp")
    assert (ended.code, ended.out) == (7, "")
    assert "All pages before the cut" in ended.err and "--incomplete" in ended.err
    shown = lab("triage", "cut.dmp", "--incomplete")
    assert shown.code == 0
    assert shown.lines[0] == "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)"
    assert "The dump is not whole." in shown.lines


def test_a_header_alone_gives_text_json_and_a_page(lab: Lab, dumps: Dumps, tmp_path: Path) -> None:
    (tmp_path / "half.dmp").write_bytes(dumps.dump.read_bytes()[:0x4000])
    refused = lab("triage", "half.dmp", "--json")
    assert (refused.code, refused.out) == (7, "")
    text = lab("triage", "half.dmp", "--incomplete")
    assert text.code == 0
    assert text.lines[0] == "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)"
    assert "The loaded drivers are not in the dump." in text.lines
    assert any("no module of half.dmp can be read" in line.casefold() for line in text.lines)
    found = json.loads(lab("triage", "half.dmp", "--incomplete", "--json").out)
    assert found["signature"]["code"] == "0xc4" and found["dump"]["defects"]
    assert [frame["how"] for frame in found["stack"]] == ["context"]
    assert lab("triage", "half.dmp", "--incomplete", "--html", "half.html").code == 0
    page = (tmp_path / "half.html").read_text("utf-8")
    assert "The loaded drivers are not in the dump." in page
    assert "is known to come with Windows" not in page


def test_a_dump_of_a_process_is_summarised(lab: Lab) -> None:
    dump = REAL / "user-dumps" / "rust-minidump-test.dmp"
    if not dump.is_file():
        pytest.skip(f"no test data at {dump}")
    ended = lab("triage", dump)
    assert ended.code == 0 and "user-mode minidump" in ended.lines[0]
    assert json.loads(lab("triage", dump, "--json").out)["machine"] == "x86"
    assert lab("triage", dump, "--html", "x.html").code == 3


def test_a_real_small_dump(lab: Lab) -> None:
    dump = REAL / "kernel-dumps" / "rizin-triage_x64.dmp"
    if not dump.is_file():
        pytest.skip(f"no test data at {dump}")
    ended = lab("triage", dump, "-y", REAL / "isf")
    assert ended.lines[0] == "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M (1000007e)"
    assert "00 ffff8504`29892120 fffff804`8b5a2e2c amdppm+0x334c" in ended.lines
    modules = lab("dump", "lm", dump).lines
    assert len([line for line in modules if "`" in line]) == 151
    assert lab("dump", "info", dump).lines[0] == "Windows Kernel Version 19041 MP (16 procs) Free x64"
