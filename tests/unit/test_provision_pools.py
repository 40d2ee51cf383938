"""Pools of the inventory, and files of provisioned hosts: what is accepted, and what each mistake is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.inventory import VsphereTemplate, host_file, json_schema, load
from lab.model import ConfigurationError

HOSTS = """\
hosts:
  srv1:
    address: 192.0.2.1
    expendable: true
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: crash, password: {file: secret}, ca_file: ca.pem}}
    symbols: [symbols, "srv*kept*https://symbols.example/x"]
    smb: {dialects: [2.1, "3.1.1"], most_connections: 3}
    pinned: {MyRaid: boots from it}
  srv2:
    address: 192.0.2.2
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: crash, password: {env: P}}}
"""
RACK = "pools:\n  rack:\n    members: [srv1, srv2]\n"
VC = 'controllers:\n  vc: {kind: vcenter, url: "https://vc.example", user: u, password: {env: VC}}\n'
CLONES = (
    VC
    + """\
pools:
  ws2019:
    expendable: true
    build: 17763
    most: 3
    machine:
      kind: vsphere
      controller: vc
      clone_of: /DC0/vm/ws2019
      snapshot: base
      customization: {computer_name: "lab-{n}", administrator_password: {env: A}}
    guest: {shell: {kind: psrp, user: crash, password: {env: P}}}
    timeouts: {tools: 900}
"""
)


def write(folder: Path, text: str, name: str = "lab.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_pool_of_members_and_a_pool_of_clones(tmp_path: Path) -> None:
    write(tmp_path, HOSTS + RACK, "a.yaml")
    write(tmp_path, CLONES, "b.yaml")  # a file without hosts
    inventory = load([tmp_path])
    assert inventory.pool("rack").members == ("srv1", "srv2")
    assert (inventory.pool("rack").most, inventory.pool("rack").baseline) == (8, "baseline")
    clones = inventory.pool("ws2019")
    assert isinstance(clones.machine, VsphereTemplate) and clones.machine.controller.user == "u"
    host = clones.host("ws2019-1", "192.0.2.9", inventory.hosts["srv1"].machine)
    assert (host.name, host.expendable, host.timeouts.tools) == ("ws2019-1", True, 900)


INSTALL = """\
    install:
      {iso: w.iso, edition: 1, accept_license_terms: true, administrator_password: {env: A},
       media: {listen: 127.0.0.1}, winrm_port: 5999}
"""
MISTAKES = {
    "neither": (HOSTS + "pools:\n  rack: {}\n", 15, "exactly one of machine and members"),
    "both": (VC + HOSTS + CLONES.removeprefix(VC) + "    members: [srv1]\n", 17, "exactly one of machine"),
    "no such host": (HOSTS + RACK.replace("srv2", "srv3"), 16, "there is no host 'srv3'; did you mean"),
    "twice": (HOSTS + RACK.replace("srv2", "SRV1"), 15, "members are named twice"),
    "in two pools": (HOSTS + RACK + "  other: {members: [srv2]}\n", 17, "a member of pool 'rack'"),
    "winrm": (HOSTS + RACK + INSTALL, 6, "hosts.srv1.guest.shell.port is 5986, and install.winrm_port of"),
    "guest of members": (HOSTS + RACK + "    timeouts: {boot: 3}\n", 15, "bring timeouts of their own"),
    "no guest": (CLONES.replace("    guest: {", "    smb: {} #"), 4, "guest is needed with machine"),
    "template": (CLONES.replace("      snapshot: base\n", ""), 8, "clone_of and snapshot belong together"),
    "no controller": (CLONES.replace("controller: vc", "controller: vd"), 10, "no controller 'vd'"),
    "long name": (CLONES.replace('"lab-{n}"', '"lab-number-of-{n}"'), 13, "longer than 15"),
    "no number": (CLONES.replace('"lab-{n}"', "lab"), 13, "does not have the form"),
    "password": (CLONES.replace("{env: A}", "hunter2"), 13, "not the secret itself"),
    "unknown": (HOSTS + RACK + "    moste: 3\n", 17, "did you mean 'most'"),
    "most": (HOSTS + RACK + "    most: 0\n", 17, "must be greater"),
    "keep no span": (CLONES + "    keep_for: 0d\n", 16, "'0d' is no number of hours, days or weeks, as in"),
    "keep number": (CLONES + "    keep_for: 90\n", 16, "'90' is no number of hours, days or weeks"),
    "keep members": (HOSTS + RACK + "    keep_for: 90d\n", 15, "keep_for is for hosts that are made"),
    "name": (HOSTS + RACK.replace("rack", "a_b"), 15, "of letters, digits and '-'"),
    "word": (HOSTS + RACK.replace("rack", "return"), 15, "neither 'list' nor 'return'"),
    "key name": (HOSTS + RACK + "    name: x\n", 17, "pools.rack.name is not a key"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, mistake: str) -> None:
    text, line, says = MISTAKES[mistake]
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load([path])
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value) and "hunter2" not in str(caught.value)


def test_an_unknown_pool_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no pool 'rak'") as caught:
        load([write(tmp_path, HOSTS + RACK)]).pool("rak")
    assert caught.value.help == "Known pools: rack; did you mean 'rack'?"


def test_a_member_is_asked_where_the_installation_opens_winrm(tmp_path: Path) -> None:
    text = (HOSTS + RACK + INSTALL).replace("ca_file: ca.pem", "port: 5999")
    text = text.replace("password: {env: P}}", "password: {env: P}, tls: false}")
    assert load([write(tmp_path, text)]).pool("rack").install is not None  # srv2 is told by the plan


def test_a_key_that_yaml_reads_as_true(tmp_path: Path) -> None:
    text = HOSTS.replace("{kind: fixed}", "{kind: fixed, on: [x]}", 1)
    with pytest.raises(ConfigurationError, match="the key on is not text; put it in quotes: YAML reads it"):
        load([write(tmp_path, text)])


def test_the_same_pool_in_two_files_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, HOSTS + RACK, "a.yaml")
    write(tmp_path, "pools: {RACK: {members: [srv1]}}\n", "b.yaml")
    with pytest.raises(ConfigurationError, match=r"b\.yaml:1: the pool 'RACK' is already at .*a\.yaml:15"):
        load([tmp_path])


def test_the_schema_knows_pools() -> None:
    schema = json_schema()
    assert {"hosts", "pools", "controllers"} <= set(schema["properties"])
    assert "name" not in schema["$defs"]["Pool"]["properties"] and "required" not in schema["$defs"]["Pool"]


def test_a_host_survives_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, and with its secrets as references that are still good there."""
    write(tmp_path, HOSTS + RACK, "lab/lab.yaml")
    secret = write(tmp_path, "hunter2\n", "lab/secret")
    secret.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    before = load([Path("lab")])  # relative: what is written must not be
    text = host_file(before.hosts["srv1"], "rack", before.controllers)
    assert "hunter2" not in text and "ca.pem" in text
    write(tmp_path, text, "data/srv1.yaml")
    monkeypatch.chdir("/")
    after = load([tmp_path / "lab"], tmp_path / "data")
    assert after.provisioned == {"srv1": "rack"}
    host = after.host("srv1", for_use=True)
    assert host.smb_password.reveal() == "hunter2"
    expected = load([tmp_path / "lab"]).hosts["srv1"]
    assert host.model_dump(exclude={"guest"}) == expected.model_dump(exclude={"guest"})
    assert os.fspath(host.guest.shell.ca_file or "") == str(tmp_path / "lab/ca.pem")  # type: ignore[union-attr]


def test_a_provisioned_machine_of_a_vcenter_brings_its_controller(tmp_path: Path) -> None:
    machine = "machine: {kind: vsphere, controller: vc, vm: /DC0/vm/a}"
    path = write(tmp_path, VC + HOSTS.replace("machine: {kind: fixed}", machine))
    inventory = load([path])
    write(tmp_path, host_file(inventory.hosts["srv2"], "ws", inventory.controllers), "data/ws-1.yaml")
    alone = load([write(tmp_path, HOSTS.replace("srv2", "other"), "other.yaml")], tmp_path / "data")
    assert alone.hosts["srv2"].machine == inventory.hosts["srv2"].machine


def test_two_provisioned_machines_of_one_vcenter(tmp_path: Path) -> None:
    machine = "machine: {kind: vsphere, controller: vc, vm: /DC0/vm/a}"
    inventory = load([write(tmp_path, VC + HOSTS.replace("machine: {kind: fixed}", machine))])
    for name, host in inventory.hosts.items():
        write(tmp_path, host_file(host, "ws", inventory.controllers), f"data/{name}.yaml")
    own = load([write(tmp_path, VC + "hosts: {}\n", "own.yaml")], tmp_path / "data")
    assert own.provisioned == {"srv1": "ws", "srv2": "ws"}


def test_a_provisioned_host_does_not_hide_another_of_that_name(tmp_path: Path) -> None:
    path = write(tmp_path, HOSTS)
    inventory = load([path])
    write(tmp_path, host_file(inventory.hosts["srv1"], "ws2019", {}), "data/srv1.yaml")
    with pytest.raises(
        ConfigurationError, match=r"srv1\.yaml:3: the host 'srv1' is already at .*lab"
    ) as caught:
        load([path], tmp_path / "data")
    assert "lab provision return srv1" in caught.value.help


def test_a_data_folder_without_provisioned_hosts(tmp_path: Path) -> None:
    assert load([write(tmp_path, HOSTS)], tmp_path / "none").provisioned == {}
