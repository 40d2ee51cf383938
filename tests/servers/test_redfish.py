"""The Redfish machine against sushy-tools' emulator over TLS: power, credentials, certificates."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")

from redfish_emulator import ADDRESS, PASSWORD, SYSTEM, Emulator

from lab.inventory import load
from lab.machines import Machine, open_machine
from lab.machines.redfish import RedfishMachine
from lab.model import ConfigurationError, InfrastructureError, PowerState


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path_factory.mktemp("redfish"))
    emulator.start()
    yield emulator
    emulator.kill()


def wait_for(machine: Machine, state: PowerState) -> None:
    until = time.monotonic() + 60
    while machine.power_state() is not state:
        assert time.monotonic() < until, f"the machine is not {state}"
        time.sleep(0.2)


def test_it_is_a_machine(controller: Emulator) -> None:
    machine = controller.machine()
    assert isinstance(machine, Machine)
    assert machine.address() == ADDRESS


def test_power_on_and_reset(controller: Emulator) -> None:
    machine = controller.machine()
    assert machine.power_state() is PowerState.OFF
    machine.power_on()
    wait_for(machine, PowerState.ON)
    machine.reset()  # accepted; the emulator would take its time again


@pytest.mark.parametrize("system", [SYSTEM, f"/redfish/v1/Systems/{SYSTEM}"])
def test_a_system_by_its_identity(controller: Emulator, system: str) -> None:
    assert controller.machine(system=system).power_state() in (PowerState.ON, PowerState.OFF)


def test_a_system_that_does_not_exist(controller: Emulator) -> None:
    with pytest.raises(InfrastructureError, match="has no system 'nope'") as caught:
        controller.machine(system="nope").power_state()
    assert "machine.system" in caught.value.help


def test_what_the_controller_refuses_is_told(controller: Emulator) -> None:
    """This emulator offers Nmi and then answers 501."""
    machine = controller.machine()
    with pytest.raises(InfrastructureError, match=r"offers Nmi, and does not do it: .*Nmi .*\(HTTP 501\)"):
        machine.interrupt()
    assert machine.power_state() in (PowerState.ON, PowerState.OFF)  # and works on


@pytest.mark.parametrize(("user", "password"), [("lab", "hunter2"), ("nobody", PASSWORD)])
def test_wrong_credentials(controller: Emulator, user: str, password: str) -> None:
    with pytest.raises(InfrastructureError, match=f"refused the credentials of {user}") as caught:
        controller.machine(user=user, password=password).power_state()
    assert password not in str(caught.value) + caught.value.help


@pytest.mark.parametrize("trusted_by_environment", [True, False])
def test_a_certificate_of_another_issuer_is_refused(
    controller: Emulator, trusted_by_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when REQUESTS_CA_BUNDLE would trust it: the inventory's file alone counts."""
    bundle = controller.ca_file if trusted_by_environment else controller.other_ca
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(bundle))
    with pytest.raises(InfrastructureError, match="certificate verify failed") as caught:
        controller.machine(ca_file=controller.other_ca).power_state()
    assert "machine.ca_file" in caught.value.help


def test_the_environment_cannot_take_trust_away(
    controller: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(controller.other_ca))
    assert controller.machine().power_state() in (PowerState.ON, PowerState.OFF)


def test_without_a_file_an_unknown_issuer_is_refused(controller: Emulator) -> None:
    with pytest.raises(InfrastructureError, match="certificate verify failed"):
        controller.machine(ca_file=None).power_state()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    machine = RedfishMachine(
        f"https://127.0.0.1:{port}",
        user="lab",
        password=PASSWORD,
        ca_file=None,
        system="",
        address="",
        connect_seconds=1,
    )
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"could not be reached: .*refused"):
        machine.power_state()
    assert time.monotonic() - started < 10  # not tried again and again


def test_from_the_inventory(controller: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "lab.yaml"
    inventory.write_text(
        "hosts:\n  lab1:\n    address: 192.0.2.1\n    machine:\n      kind: redfish\n"
        f"      url: {controller.url}\n      user: lab\n      password: {{env: LAB1_BMC}}\n"
        f"      ca_file: {controller.ca_file}\n"
        "    guest: {shell: {kind: psrp, user: u, password: {env: LAB1}}}\n"
    )
    host = load([inventory]).host("lab1")
    monkeypatch.delenv("LAB1_BMC", raising=False)
    with pytest.raises(ConfigurationError, match="LAB1_BMC is not set"):
        open_machine(host)
    monkeypatch.setenv("LAB1_BMC", PASSWORD)
    assert open_machine(host).power_state() in (PowerState.ON, PowerState.OFF)
    controller_file = inventory.read_text().replace(str(controller.ca_file), "none.pem")
    inventory.write_text(controller_file)
    with pytest.raises(ConfigurationError, match=r"none\.pem of machine\.ca_file does not exist"):
        open_machine(load([inventory]).host("lab1"))
