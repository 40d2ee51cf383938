"""`lab triage --host` on a real Samba server: the newest dump, or a named one, where it lies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbd import PASSWORD, USER, Smbd

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cli_runs import Lab, lab_in, write


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    monkeypatch.setenv("LAB_TEST_PASSWORD", PASSWORD)
    yield from lab_in(tmp_path, monkeypatch, capsys)


@pytest.fixture
def inventory(smbd: Smbd, tmp_path: Path) -> Path:
    """A host that may not be used for anything but reading."""
    path = tmp_path / "i.yaml"
    path.write_text(
        f"""
hosts:
  srv1:
    address: 127.0.0.1
    machine: {{kind: fixed}}
    guest:
      shell: {{kind: psrp, port: 1, tls: false, user: {USER}, password: {{env: LAB_TEST_PASSWORD}}}}
    smb: {{port: {smbd.port}, admin_share: Admin, data_share: Data}}
    symbols: [{tmp_path / "symbols"}]
""",
        "utf-8",
    )
    return path


def test_the_newest_dump_is_read_in_place(lab: Lab, smbd: Smbd, inventory: Path, tmp_path: Path) -> None:
    dumps = write(tmp_path)
    whole = dumps.dump.read_bytes()
    (smbd.admin / "Minidump").mkdir()
    (smbd.admin / "MEMORY.DMP").write_bytes(b"PAGEDU64 of long ago")
    (smbd.admin / "Minidump" / "010126-1.dmp").write_bytes(whole)
    os.utime(smbd.admin / "MEMORY.DMP", (1e9, 1e9))
    before = sorted(smbd.admin.rglob("*"))
    ended = lab("triage", "--host", "srv1", "-i", inventory)
    assert ended.code == 0
    assert "Dump:    srv1:Minidump\\010126-1.dmp" in ended.out
    assert "srv2!Smb2ExecuteRead" in ended.out, "the host's symbols of the inventory are used"
    here = json.loads(lab("triage", dumps.dump, "-y", dumps.symbols, "--json").out)
    there = json.loads(lab("triage", "--host", "srv1", "010126-1.DMP", "-i", inventory, "--json").out)
    assert there["dump"].pop("path") == "srv1:Minidump\\010126-1.dmp"
    del here["dump"]["path"]
    assert there == here
    assert sorted(smbd.admin.rglob("*")) == before


def test_a_named_dump_that_is_not_whole_or_not_there(lab: Lab, smbd: Smbd, inventory: Path) -> None:
    (smbd.admin / "MEMORY.DMP").write_bytes(b"")
    empty = lab("triage", "--host", "srv1", "memory.dmp", "-i", inventory)
    assert (empty.code, empty.sentence) == (7, "srv1:MEMORY.DMP: the file is empty")
    missing = lab("triage", "--host", "srv1", "other.dmp", "-i", inventory)
    assert (missing.code, missing.sentence) == (3, "srv1 has no dump called other.dmp")
    assert "MEMORY.DMP" in missing.err


def test_a_host_without_dumps_and_a_host_that_is_gone(lab: Lab, smbd: Smbd, inventory: Path) -> None:
    ended = lab("triage", "--host", "srv1", "-i", inventory)
    assert (ended.code, ended.sentence) == (3, "srv1 has no dump")
    smbd.kill()
    assert lab("triage", "--host", "srv1", "-i", inventory).code == 4
    assert lab("triage", "--host", "srv9", "-i", inventory).code == 3
