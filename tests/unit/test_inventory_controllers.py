"""Controllers of the inventory: named once, used by many machines, also from another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.inventory import VcenterController, VsphereMachine, json_schema, load
from lab.model import ConfigurationError

CONTROLLERS = """\
controllers:
  vc: {kind: vcenter, url: "https://vc.example", user: u, password: {env: VC}, ca_file: ca.pem}
"""
HOSTS = """\
hosts:
  web:
    address: 192.0.2.1
    machine: {kind: vsphere, controller: vc, vm: /DC0/vm/web}
    guest: {shell: {kind: psrp, user: crash, password: {env: WEB_PASSWORD}}}
"""
DIGITS = "0123456789abcdef" * 4


def write(folder: Path, text: str, name: str = "lab.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def controller(folder: Path, settings: str) -> VcenterController:
    machine = load([write(folder, f"controllers:\n  vc: {settings}\n{HOSTS}")]).host("web").machine
    assert isinstance(machine, VsphereMachine)
    return machine.controller


def test_a_machine_has_the_controller_that_it_names(tmp_path: Path) -> None:
    machine = load([write(tmp_path, CONTROLLERS + HOSTS)]).host("web").machine
    assert isinstance(machine, VsphereMachine) and machine.vm == "/DC0/vm/web"
    assert machine.controller.url == "https://vc.example"
    assert machine.controller.ca_file == tmp_path / "ca.pem"  # beside the file that names it
    assert machine.controller.password.reference == "env: VC"


@pytest.mark.parametrize("first", ["a.yaml", "z.yaml"])
def test_the_controller_may_stand_in_another_file(tmp_path: Path, first: str) -> None:
    write(tmp_path, CONTROLLERS + "hosts: {}\n", first)
    write(tmp_path, HOSTS, "m.yaml")
    machine = load([tmp_path]).host("web").machine
    assert isinstance(machine, VsphereMachine) and machine.controller.user == "u"


@pytest.mark.parametrize(
    "written", [DIGITS, DIGITS.upper(), ":".join(DIGITS[i : i + 2] for i in range(0, 64, 2)).upper()]
)
def test_a_thumbprint_as_people_write_it(tmp_path: Path, written: str) -> None:
    text = f'{{kind: vcenter, url: "https://vc", user: u, password: {{env: VC}}, thumbprint: "{written}"}}'
    assert controller(tmp_path, text).thumbprint == DIGITS


MISTAKES = {
    "unknown": (CONTROLLERS + HOSTS.replace("vc,", "vcc,"), 6, "no controller 'vcc'; did you mean 'vc'?"),
    "none at all": (HOSTS, 4, "there is no controller 'vc'"),
    "not a name": (CONTROLLERS + HOSTS.replace("vc,", "{url: x},"), 6, "must be the name of one of the"),
    "left out": (CONTROLLERS + HOSTS.replace("controller: vc, ", ""), 6, "machine.controller is missing"),
    "plain http": (CONTROLLERS.replace("https", "http") + HOSTS, 2, "url must be https"),
    "a path": (CONTROLLERS.replace("vc.example", "vc/sdk") + HOSTS, 2, "does not have the form"),
    "a user in the url": (
        CONTROLLERS.replace("vc.example", "u:hunter2@vc") + HOSTS,
        2,
        "does not have the form",
    ),
    "kind": (CONTROLLERS.replace("vcenter", "vcentre") + HOSTS, 2, "controllers.vc.kind"),
    "secret in clear": (CONTROLLERS.replace("{env: VC}", "hunter2") + HOSTS, 2, "not the secret itself"),
    "thumbprint": (CONTROLLERS.replace("ca_file: ca.pem", "thumbprint: AB") + HOSTS, 2, "must be a SHA-256"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, mistake: str) -> None:
    text, line, says = MISTAKES[mistake]
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load([path])
    assert str(caught.value).startswith(f"{path}:{line}: ") and says in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.help


def test_a_controller_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, CONTROLLERS + "hosts: {}\n", "a.yaml")
    write(tmp_path, CONTROLLERS + HOSTS, "b.yaml")
    with pytest.raises(ConfigurationError, match=r"b\.yaml:2: the controller 'vc' is already at .*a\.yaml:2"):
        load([tmp_path])


def test_the_schema_for_editors_wants_a_name() -> None:
    machine = json_schema()["$defs"]["VsphereMachine"]
    assert machine["properties"]["controller"]["type"] == "string"
    assert "VcenterController" in json_schema()["$defs"]
