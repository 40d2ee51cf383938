"""Nobody can read the culprit before the twin reveals it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from twin_client import PASSWORD, Running, Start

from lab.twin.catalogue import plantable
from lab.twin.server import TwinSettings

OTHERS = [entry["service"] for entry in plantable(17763) if entry["kind"] == "other"]
SCRIPTS: dict[str, dict[str, object]] = {
    "Get-LabDriver": {},
    "Get-LabVerifier": {},
    "Get-LabCrashControl": {},
    "Get-LabLogPosition": {},
    "Get-LabServerQueue": {},
    "Get-LabBugcheck": {"AfterRecord": 0},
}


def seen_from_outside(twin: Running) -> dict[str, object]:
    """Every script's answer, and every file but those that are random by nature."""
    answers: dict[str, object] = {name: twin.script(name, **given) for name, given in SCRIPTS.items()}
    boot = twin.boot()
    answers["Get-LabBoot"] = {key: boot[key] for key in boot if key not in ("now", "bootTime")}
    answers["system"] = (twin.ends.system_id, twin.system().name)
    for path in sorted(twin.state.rglob("*")):
        if path.is_file() and path.parent.name != "controller" and path.suffix != ".pem":
            answers[str(path.relative_to(twin.state))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return answers


def test_two_twins_with_different_culprits_look_the_same(start: Start, tmp_path: Path) -> None:
    seen, customer = [], []
    for service in OTHERS[:2]:
        dump = tmp_path / f"{service}.dmp"
        seen.append(seen_from_outside(start(culprit=service, customer_dump=dump, seed=5)))
        customer.append(dump.read_bytes())
    assert seen[0] == seen[1]
    assert customer[0] == customer[1]
    assert int.from_bytes(customer[0][0x38:0x3C], "little") == 0x20


@pytest.mark.parametrize("culprit", [None, "GrvSnap"])
def test_no_file_or_answer_holds_the_secret(start: Start, tmp_path: Path, culprit: str | None) -> None:
    twin = start(culprit=culprit, customer_dump=tmp_path / "c.dmp")
    secret = twin.twin.reveal()
    assert hashlib.sha256("".join(secret.values()).encode()).hexdigest() == twin.ends.commitment
    said = json.dumps(dataclasses.asdict(twin.ends)) + json.dumps(seen_from_outside(twin))
    assert secret["salt"] not in said
    assert '"culprit"' not in said
    if culprit is not None:  # a driver's name stands in the driver list and nowhere else
        assert culprit not in json.dumps(dataclasses.asdict(twin.ends))
    for path in twin.state.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret["salt"].encode() not in data
            assert secret["culprit"].encode() not in data, path
            assert PASSWORD.encode() not in data


def test_settings_do_not_print_their_secrets(tmp_path: Path) -> None:
    text = repr(TwinSettings(state=tmp_path, culprit="GrvSnap", password="hidden-word"))
    assert "GrvSnap" not in text
    assert "hidden-word" not in text


def test_the_same_seed_gives_the_same_server(start: Start) -> None:
    first, second, other = start(seed=9), start(seed=9), start(seed=10)
    assert seen_from_outside(first) == seen_from_outside(second)
    assert first.ends.system_id != other.ends.system_id
