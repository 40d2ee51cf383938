"""A host for a case, and the flow: the pool that has the customer's build, each host a task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from provision_hosts import ENV, YEARS, entry
from twin_client import PASSWORD, Start

from lab.cli import engine, main
from lab.journal import open_journal
from lab.model import ConfigurationError, LoadPlan
from lab.provision import NotAccepted
from lab.trials import open_case


def inventory(folder: Path, hosts: dict[str, Any], **pools: Any) -> Path:
    path = folder / "inventory.yaml"
    path.write_text(yaml.safe_dump({"hosts": hosts, "pools": pools}))
    return path


def pool(*members: str, **settings: Any) -> dict[str, Any]:
    return {"members": list(members), "accept": {"clock_offset": YEARS}, **settings}


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, PASSWORD)


def test_a_case_gets_a_host_of_its_customers_build(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    customer, data = tmp_path / "customer.dmp", tmp_path / "data"
    twin = start(build=20348, customer_dump=customer)
    host = entry(twin)
    path = inventory(tmp_path, {"a": host, "b": host}, old=pool("a", build=14393), new=pool("b", build=20348))
    data.mkdir()
    with open_journal(data / "journal.db") as journal:
        case = open_case(
            journal, LoadPlan("burst", 6.0), dump=customer, expected=None, vault=tmp_path / "vault"
        )

    def lab(what: str) -> tuple[int, str, str]:
        arguments = ["provision", what, "-i", str(path), "--data", str(data)]
        monkeypatch.setattr(sys, "argv", ["lab", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    code, out, err = lab(case.id[-4:])
    assert code == 0 and "b is ready" in out and "pool new" in err
    inventory(tmp_path, {"a": host}, old=pool("a", build=14393))
    code, out, err = lab(case.id)
    # the host that is out bears the name of its pool still, and is read without it
    assert code == 3 and "no pool has build 20348" in err and "old (build 14393)" in err
    code, out, err = lab("nothing")
    assert code == 3 and "'nothing' is neither a pool of the inventory nor a case" in err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_flow_hands_out_what_is_fit(start: Start, tmp_path: Path) -> None:
    good = start(host="127.0.0.2", seed=1)
    bad = start(host="127.0.0.3", seed=2, misbehave=frozenset({"no-dump"}))
    path = inventory(tmp_path, {"good": entry(good), "bad": entry(bad)}, rack=pool("good"), poor=pool("bad"))
    data = tmp_path / "data"
    with engine.running():
        from flows.provision import provision

        assert provision("rack", [path], 1, data) == ["good"]
        with pytest.raises(NotAccepted, match="event 46"):
            provision("poor", [path], 1, data)
        with pytest.raises(ConfigurationError, match="has 1 member, and 8 were asked for"):
            provision("rack", [path], 8, data)
    with open_journal(data / "journal.db") as journal:
        assert [each.host for each in journal.provisions()] == ["good"] and journal.leases() == []
