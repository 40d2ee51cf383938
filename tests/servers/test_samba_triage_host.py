"""Dumps of hosts on a real Samba server: read where they lie, copied meanwhile, or only copied."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbd import PASSWORD, USER, Smbd

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cli_runs import Dumps, Ended, Lab, lab_in, write

from lab.capture import Fetch, Vault


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


@pytest.fixture
def dumps(smbd: Smbd, tmp_path: Path) -> Dumps:
    """The dump is the host's MEMORY.DMP, too."""
    dumps = write(tmp_path)
    (smbd.admin / "MEMORY.DMP").write_bytes(dumps.dump.read_bytes())
    dumps.dump.rename(tmp_path / "here.dmp")
    return Dumps(tmp_path / "here.dmp", dumps.symbols)


def vault() -> Vault:
    return Vault(Path("lab-data/vault"))  # the working folder is the test's own


def said(ended: Ended) -> list[str]:
    """What was answered, but for the dump's name."""
    return [line for line in ended.lines if not line.startswith("Dump: ")]


def sha_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "place", ["//srv1/Admin/MEMORY.DMP", r"\\SRV1\admin\memory.dmp", "//127.0.0.1/Admin/MEMORY.DMP"]
)
def test_a_dump_on_a_share_is_answered_first_and_copied(
    lab: Lab, smbd: Smbd, inventory: Path, dumps: Dumps, place: str
) -> None:
    here = lab("triage", dumps.dump, "-y", dumps.symbols)
    ended = lab("triage", place, "-i", inventory)
    assert ended.code == 0
    assert said(ended) == said(here)
    sha = sha_of(dumps.dump)
    assert vault().path(sha).read_bytes() == dumps.dump.read_bytes()
    told = ended.err.splitlines()
    (read,) = (line for line in told if line.endswith("before the verdict"))
    assert read.startswith("read ") and " KiB of 956 KiB (" in read
    assert told.index(read) < told.index(f"SHA-256 {sha}") and str(vault().path(sha)) in told
    again = lab("triage", place, "-i", inventory)
    assert again.out == ended.out and "is in the vault: reading lab-data/vault/" in again.err


def test_only_the_answer_is_on_standard_output(
    lab: Lab, smbd: Smbd, inventory: Path, dumps: Dumps, tmp_path: Path
) -> None:
    here = json.loads(lab("triage", dumps.dump, "-y", dumps.symbols, "--json").out)
    there = json.loads(lab("triage", "//srv1/Admin/MEMORY.DMP", "-i", inventory, "--json").out)
    assert there["dump"].pop("path") == "//srv1/Admin/MEMORY.DMP"
    del here["dump"]["path"]
    assert there == here
    page = lab("triage", "//srv1/Admin/MEMORY.DMP", "-i", inventory, "--html", tmp_path / "x.html")
    assert (page.code, page.out.strip()) == (0, str(tmp_path / "x.html"))


def test_copied_or_not_as_is_said(lab: Lab, smbd: Smbd, inventory: Path, dumps: Dumps) -> None:
    assert lab("triage", "//srv1/Admin/MEMORY.DMP", "-i", inventory, "--no-copy").code == 0
    quiet = lab("triage", "--host", "srv1", "-i", inventory)
    assert quiet.code == 0 and "before the verdict" in quiet.err
    assert not Path("lab-data").exists()
    assert lab("triage", "--host", "srv1", "-i", inventory, "--copy", "--data", "d").code == 0
    assert Vault(Path("d/vault")).has(sha_of(dumps.dump))
    here = lab("triage", dumps.dump, "--no-copy")
    assert (here.code, here.sentence) == (3, "--copy and --no-copy belong to a dump of a host")


def test_an_interrupt_after_the_answer_keeps_what_came(
    lab: Lab, smbd: Smbd, inventory: Path, dumps: Dumps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def interrupted(*_: object) -> str:
            raise KeyboardInterrupt

        patched.setattr(Fetch, "finish", interrupted)
        ended = lab("triage", "//srv1/Admin/MEMORY.DMP", "-i", inventory)
    assert ended.code == 130 and "Suspects" in ended.out
    assert "\"lab fetch '//srv1/Admin/MEMORY.DMP'\" goes on" in ended.err
    assert len(list(Path("lab-data/vault/partial").iterdir())) == 2
    fetched = lab("fetch", "//srv1/Admin/MEMORY.DMP", "-i", inventory)
    sha = sha_of(dumps.dump)
    assert (fetched.code, fetched.out) == (0, f"{sha}  {vault().path(sha)}\n")
    assert list(Path("lab-data/vault/partial").iterdir()) == []


def test_trouble_with_the_vault_does_not_hold_back_the_answer(
    lab: Lab, smbd: Smbd, inventory: Path, dumps: Dumps, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("lab-data").mkdir()
    Path("lab-data/vault").write_bytes(b"")
    ended = lab("triage", "//srv1/Admin/MEMORY.DMP", "-i", inventory)
    assert ended.code == 4 and "Suspects" in ended.out
    assert ended.sentence.startswith("cannot write to the vault at ")
    Path("lab-data/vault").unlink()
    monkeypatch.setattr("lab.capture.vault.shutil.disk_usage", lambda _: Full())
    ended = lab("triage", "//srv1/Admin/MEMORY.DMP", "-i", inventory)
    assert ended.code == 4 and "Suspects" in ended.out
    assert ended.sentence.endswith("has 0.0 MiB left, but the dump needs 0.9 MiB")


class Full:
    free = 1000


def test_what_is_no_dump_is_not_kept(lab: Lab, smbd: Smbd, inventory: Path) -> None:
    (smbd.data / "notes.txt").write_bytes(b"no dump" * 9999)
    ended = lab("triage", "//srv1/Data/notes.txt", "-i", inventory)
    assert ended.code == 7
    assert [path for path in Path("lab-data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("//srv9/ADMIN$/MEMORY.DMP", "has the name or the address 'srv9'"),
        ("//srv1/Admin", "//srv1/Admin names no file of a share"),
        ("//srv1", "//srv1 names no file of a share"),
        ("//srv1/Admin/other.dmp", "there is no //srv1/Admin/other.dmp"),
        ("//srv1/Admin/no/such.dmp", "there is no //srv1/Admin/no/such.dmp"),
    ],
)
def test_a_place_that_is_none(lab: Lab, smbd: Smbd, inventory: Path, place: str, sentence: str) -> None:
    for command in ("triage", "fetch"):
        ended = lab(command, place, "-i", inventory)
        assert ended.code == 3 and ended.sentence.endswith(sentence)
        assert "help:" in ended.err
    assert not Path("lab-data").exists()


def test_an_address_of_several_hosts(lab: Lab, smbd: Smbd, inventory: Path) -> None:
    text = inventory.read_text("utf-8")
    inventory.write_text(text + text.replace("hosts:\n", "").replace("srv1:", "srv2:"), "utf-8")
    ended = lab("fetch", "//127.0.0.1/Admin/MEMORY.DMP", "-i", inventory)
    assert (ended.code, ended.sentence) == (3, "127.0.0.1 is the address of several hosts: srv1, srv2")


def test_fetch(lab: Lab, smbd: Smbd, inventory: Path, dumps: Dumps) -> None:
    sha = sha_of(dumps.dump)
    newest = lab("fetch", "--host", "srv1", "-i", inventory)
    assert (newest.code, newest.out) == (0, f"{sha}  {vault().path(sha)}\n")
    told = json.loads(lab("fetch", "--host", "srv1", "memory.dmp", "-i", inventory, "--json").out)
    assert told.pop("modified").endswith("Z")
    assert told == {
        "sha256": sha,
        "path": str(vault().path(sha)),
        "source": "srv1:MEMORY.DMP",
        "length": dumps.dump.stat().st_size,
    }
    assert lab("fetch", "-i", inventory).code == lab("fetch", dumps.dump, "-i", inventory).code == 3
