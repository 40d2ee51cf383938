"""`lab load` on a real Samba server, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smbd import PASSWORD, USER, Smbd, after

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cli_runs import Lab, lab_in

LONG = 60  # seconds of a load that something else is to end


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Lab]:
    monkeypatch.setenv("LAB_TEST_PASSWORD", PASSWORD)
    yield from lab_in(tmp_path, monkeypatch, capsys)


@pytest.fixture(autouse=True)
def inventory(smbd: Smbd, tmp_path: Path) -> None:
    """An expendable host without a shell that answers; `more` has settings to be overridden."""
    (tmp_path / "inventory").mkdir()
    host = f"""
    address: 127.0.0.1
    expendable: true
    machine: {{kind: fixed}}
    guest:
      shell: {{kind: psrp, port: 1, tls: false, user: {USER}, password: {{env: LAB_TEST_PASSWORD}}}}
"""
    smb = f"port: {smbd.port}, admin_share: Admin"
    (tmp_path / "inventory" / "i.yaml").write_text(
        f"hosts:\n  srv1:{host}    smb: {{{smb}, data_share: Data}}\n"
        f"  old:{host}    smb: {{{smb}, data_share: Data, dialects: [2.1]}}\n"
        f"  gone:{host}    smb: {{{smb}, data_share: Nowhere}}\n"
        f"  denied:{host}    smb: {{{smb}, data_share: Denied}}\n",
        "utf-8",
    )


def test_a_load_is_delivered_counted_and_cleaned_up(
    lab: Lab, smbd: Smbd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.smb.load.run.QUEUES_EVERY", 0.5)  # so that the load lasts longer
    ended = lab("load", "srv1", "--seconds", 2, "--verify", "all", "--remove-files", "--html", "a/load.html")
    assert ended.code == 0, ended.err
    assert ended.lines[0].startswith("Delivered: ")
    sent, answered = re.findall(r"READs +([\d,]+) sent: ([\d,]+) answered$", ended.out, re.MULTILINE)[0]
    assert sent == answered
    assert "SMB 3.1.1, signed with AES-128-GMAC" in ended.out and "all answers" in ended.out
    assert "not known: WinRM of 127.0.0.1:1 could not be reached" in ended.out
    assert "Delivered" in Path("a/load.html").read_text("utf-8")
    assert list(smbd.data.iterdir()) == []
    assert smbd.no_connections_left()


def test_a_dry_run_never_reaches_the_server(lab: Lab, smbd: Smbd) -> None:
    smbd.kill()
    assert lab("load", "srv1", "--dry-run").code == 0
    assert list(smbd.data.iterdir()) == []


def test_the_inventory_and_the_command_line_choose_the_protection(lab: Lab) -> None:
    def transport(*arguments: str) -> str:
        ended = lab("load", *arguments, "--seconds", 1, "--profile", "steady", "--no-queues", "--json")
        assert ended.code == 0, ended.err
        return str(json.loads(ended.out)["report"]["transport"])

    assert transport("old") == "SMB 2.1, signed with HMAC-SHA256"
    assert transport("srv1", "--encryption", "required") == "SMB 3.1.1, encrypted with AES-128-GCM"
    assert transport("srv1", "--signing", "if-asked") == "SMB 3.1.1, unsigned"


def test_a_server_that_dies_under_it(lab: Lab, smbd: Smbd) -> None:
    after(3, smbd.kill)
    ended = lab("load", "srv1", "--seconds", LONG, "--no-queues", "--json")
    assert ended.code == 1
    said = json.loads(ended.out)
    assert said["ended"] == "died" and 0 < said["report"]["died_after"] < LONG / 2


def test_ctrl_c_gives_a_partial_report_and_closes_everything(lab: Lab, smbd: Smbd) -> None:
    after(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    ended = lab("load", "srv1", "--seconds", LONG, "--no-queues")
    assert ended.code == 130
    assert re.fullmatch(rf"Interrupted [\d.]+ m?s into a load of {LONG} s", ended.lines[0])
    assert ended.err.splitlines() == ["interrupted"]
    assert smbd.no_connections_left()


@pytest.mark.parametrize(("host", "says"), [("gone", "Nowhere"), ("denied", "Denied")])
def test_a_share_that_cannot_be_had(lab: Lab, host: str, says: str) -> None:
    ended = lab("load", host, "--seconds", 1)
    assert ended.code == 4
    assert says in ended.sentence and PASSWORD not in ended.err
