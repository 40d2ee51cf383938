"""Bad input gets one clear sentence, the exit code of its class, and nothing half-written."""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cli import main

Run = Callable[..., tuple[int, str, str]]

GOOD = """
hosts:
  rack1:
    address: 127.0.0.1
    expendable: true
    machine: {kind: fixed}
    guest:
      shell: {kind: psrp, port: PORT, tls: false, user: lab, password: {env: NO_SUCH_PASSWORD}}
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `lab` in an empty folder; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        code = ended.value.code
        return (code if isinstance(code, int) else 1 if code else 0), out, err

    return run


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    return port


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def sentence(err: str) -> str:
    """The one sentence after `error:`."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("expendable: true", "expendable: true\n    adress: x"),
            "i.yaml:5: hosts.rack1.adress is not a known key",
        ),
        (("expendable: true", "expendable: maybe"), "i.yaml:4: hosts.rack1.expendable"),
        (("{env: NO_SUCH_PASSWORD}", "hunter2"), "must say where the secret is kept"),
        (("  rack1:", "  rack1: {}\n  rack1:"), "rack1"),
        (("kind: fixed", "kind: magic"), "kind must be one of"),
        (("hosts:", "hosts: ["), "i.yaml:"),
    ],
)
def test_inventory(run: Run, tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in GOOD
    path = write(tmp_path / "i.yaml", GOOD.strip().replace(*change, 1).replace("PORT", "1"))
    code, _, err = run("host", "list", "-i", path)
    assert code == 3
    assert says in sentence(err)
    assert "hunter2" not in err


def test_missing_secret_names_what_to_set(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "i.yaml", GOOD.replace("PORT", "1"))
    code, _, err = run("load", "rack1", "-i", path, "--seconds", "1")
    assert code == 3
    assert "NO_SUCH_PASSWORD is not set" in sentence(err)


def test_only_hosts_of_the_inventory_are_targets(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "i.yaml", GOOD.replace("PORT", "1"))
    code, _, err = run("load", "fileserver.example", "-i", path)
    assert code == 3
    assert "there is no host 'fileserver.example'" in sentence(err)


@pytest.mark.parametrize("command", ["load", "reproduce", "soak"])
def test_a_host_that_is_not_expendable_is_refused(run: Run, tmp_path: Path, command: str) -> None:
    path = write(tmp_path / "i.yaml", GOOD.replace("    expendable: true\n", "").replace("PORT", "1"))
    options = ["--bugcheck", "0x20"] if command == "reproduce" else []
    code, _, err = run(command, "rack1", "-i", path, *options)
    assert code == 3
    assert "not marked 'expendable: true'" in sentence(err)


def test_host_unreachable(
    run: Run, tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_SUCH_PASSWORD", "s3cret-Value")
    text = GOOD.replace("PORT", str(closed_port)) + f"    smb: {{port: {closed_port}}}\n"
    path = write(tmp_path / "i.yaml", text)
    code, _, err = run("load", "rack1", "-i", path, "--seconds", "1")
    assert code == 4
    assert "127.0.0.1" in sentence(err) and "s3cret-Value" not in err
    code, out, err = run("host", "check", "rack1", "-i", path, "--json")
    assert code == 4
    checks = {c["name"]: c["ok"] for c in json.loads(out)}
    assert checks["expendable"] and not checks["psrp port"]
    assert "s3cret-Value" not in out + err


def header64(machine: int = 0x8664, dump_type: int = 6) -> bytes:
    page = bytearray(b"PAGE" * (0x2000 // 4))
    page[0:8] = b"PAGEDU64"
    struct.pack_into("<II", page, 8, 15, 17763)
    struct.pack_into("<I", page, 0x30, machine)
    struct.pack_into("<I", page, 0xF98, dump_type)
    return bytes(page)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty", b"", "empty"),
        ("text", b"this is no dump at all, but it is long enough to be looked at " * 200, "not a"),
        ("32-bit", b"PAGEDUMP" + b"PAGE" * 1022, "32-bit"),
        ("arm64", header64(machine=0xAA64), "ARM64"),
        ("short", b"PAGEDU64" + b"PAGE" * 100, ""),
        ("header", header64(), ""),
        ("user", b"MDMP" + bytes(60), ""),
    ],
)
def test_files_that_cannot_be_read(run: Run, tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    code, out, err = run("triage", path)
    assert code == 7
    assert out == ""
    assert name in sentence(err) and says in sentence(err)


def test_a_dump_that_is_not_there(run: Run) -> None:
    code, _, err = run("triage", "nowhere.dmp")
    assert code == 3
    assert "nowhere.dmp" in sentence(err)


def test_an_unreadable_customer_dump_opens_no_case(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_SUCH_PASSWORD", "x")
    path = write(tmp_path / "i.yaml", GOOD.replace("PORT", "1"))
    (tmp_path / "bad.dmp").write_bytes(b"PAGEDU64")
    code, _, err = run("reproduce", "rack1", "-i", path, "--dump", tmp_path / "bad.dmp")
    assert code == 7 and sentence(err)
    assert not list((tmp_path / "lab-data").rglob("*.dmp"))
    code, out, _ = run("case", "list")
    assert code == 0 and "0x" not in out


def test_reproduce_reads_the_same_symbol_variables_as_triage(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_SUCH_PASSWORD", "x")
    monkeypatch.setenv("_NT_SYMBOL_PATH", "ftp://somewhere")
    path = write(tmp_path / "i.yaml", GOOD.replace("PORT", "1"))
    (tmp_path / "bad.dmp").write_bytes(b"PAGEDU64")
    reproduce = ("reproduce", "rack1", "-i", path, "--dump", tmp_path / "bad.dmp")
    code, _, err = run(*reproduce)
    assert code == 3 and sentence(err).startswith("_NT_SYMBOL_PATH: ")
    monkeypatch.setenv("BUGCHECK_LAB_SYMBOLS", str(tmp_path))
    code, _, err = run(*reproduce)
    assert code == 7 and f"symbols from BUGCHECK_LAB_SYMBOLS: folder {tmp_path}" in err
    code, _, err = run(*reproduce, "-y", tmp_path)
    assert code == 7 and "symbols from" not in err


@pytest.mark.parametrize(
    "options", [[], ["--bugcheck", "0x20", "--case", "x"], ["--bugcheck", "apc"], ["--case", "nothing"]]
)
def test_reproduce_needs_one_thing_to_look_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setenv("NO_SUCH_PASSWORD", "x")
    path = write(tmp_path / "i.yaml", GOOD.replace("PORT", "1"))
    code, _, err = run("reproduce", "rack1", "-i", path, *options)
    assert code == 3 and sentence(err)


@pytest.mark.parametrize(
    "arguments",
    [["twin", "drivers", "--build", "9200"], ["demo", "--culprit", "Ntfs"], ["demo", "--build", "1"]],
)
def test_a_twin_that_cannot_be(run: Run, arguments: list[str]) -> None:
    code, _, err = run(*arguments)
    assert code in (3, 4) and sentence(err)


def test_load_options_out_of_bounds(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_SUCH_PASSWORD", "x")
    path = write(tmp_path / "i.yaml", GOOD.replace("PORT", "1"))
    code, _, err = run("load", "rack1", "-i", path, "--profile", "tsunami")
    assert code == 3
    assert "tsunami" in sentence(err) and "burst" in err
    assert run("load", "rack1", "-i", path, "--connections", "1000")[0] == 2


def test_schema_and_version(run: Run) -> None:
    code, out, _ = run("host", "schema")
    assert code == 0 and json.loads(out)["$defs"]["Host"]["properties"]["expendable"]["description"]
    assert run("--version")[0] == 0
