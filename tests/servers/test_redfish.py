"""The Redfish machine against sushy-tools' emulator over TLS: power, credentials, certificates."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.inventory import load
from lab.machines import Machine, open_machine
from lab.machines.redfish import RedfishMachine
from lab.model import ConfigurationError, InfrastructureError, PowerState

pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")
EMULATOR = Path(sys.executable).with_name("sushy-emulator")

SYSTEM = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
PASSWORD = "s3cret ü"


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate NAME.pem for 127.0.0.1, with NAME.key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@dataclass(frozen=True)
class Controller:
    url: str
    ca_file: Path
    other_ca: Path

    def machine(self, **changed: Any) -> RedfishMachine:
        settings: dict[str, Any] = {
            "user": "lab",
            "password": PASSWORD,
            "ca_file": self.ca_file,
            "system": "",
            "address": "192.0.2.1",
            "connect_seconds": 5,
        } | changed
        return RedfishMachine(settings.pop("url", self.url), **settings)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    folder = tmp_path_factory.mktemp("redfish")
    good, other = certificate(folder, "controller"), certificate(folder, "other")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"lab:{hashed}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    systems = [{"uuid": SYSTEM, "name": "lab1", "power_state": "Off", "nics": []}]
    (folder / "emulator.conf").write_text(
        f"SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {port}\n"
        f"SUSHY_EMULATOR_SSL_CERT = '{good}'\nSUSHY_EMULATOR_SSL_KEY = '{good.with_suffix('.key')}'\n"
        f"SUSHY_EMULATOR_AUTH_FILE = '{folder}/htpasswd'\nSUSHY_EMULATOR_FAKE_DRIVER = True\n"
        f"SUSHY_EMULATOR_STATE_DIR = '{folder}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n"
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [EMULATOR, "--config", str(folder / "emulator.conf")], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield Controller(f"https://127.0.0.1:{port}", good, other)
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def wait_for(machine: Machine, state: PowerState) -> None:
    until = time.monotonic() + 20  # the emulator takes 1 to 11 s, as hardware would
    while machine.power_state() is not state:
        assert time.monotonic() < until, f"the machine is not {state}"
        time.sleep(0.2)


def test_it_is_a_machine(controller: Controller) -> None:
    machine = controller.machine()
    assert isinstance(machine, Machine)
    assert machine.address() == "192.0.2.1"


def test_power_on_and_reset(controller: Controller) -> None:
    machine = controller.machine()
    assert machine.power_state() is PowerState.OFF
    machine.power_on()
    wait_for(machine, PowerState.ON)
    machine.reset()  # accepted; the emulator would take its time again


@pytest.mark.parametrize("system", [SYSTEM, f"/redfish/v1/Systems/{SYSTEM}"])
def test_a_system_by_its_identity(controller: Controller, system: str) -> None:
    assert controller.machine(system=system).power_state() in (PowerState.ON, PowerState.OFF)


def test_a_system_that_does_not_exist(controller: Controller) -> None:
    with pytest.raises(InfrastructureError, match="has no system 'nope'") as caught:
        controller.machine(system="nope").power_state()
    assert "machine.system" in caught.value.help


def test_what_the_controller_refuses_is_told(controller: Controller) -> None:
    """This emulator offers Nmi and then answers 501."""
    machine = controller.machine()
    with pytest.raises(InfrastructureError, match=r"Redfish at https://127\.0\.0\.1:\d+ refused: .*Nmi"):
        machine.interrupt()
    assert machine.power_state() in (PowerState.ON, PowerState.OFF)  # and works on


@pytest.mark.parametrize(("user", "password"), [("lab", "hunter2"), ("nobody", PASSWORD)])
def test_wrong_credentials(controller: Controller, user: str, password: str) -> None:
    with pytest.raises(InfrastructureError, match=f"refused the credentials of {user}") as caught:
        controller.machine(user=user, password=password).power_state()
    assert password not in str(caught.value) + caught.value.help


@pytest.mark.parametrize("trusted_by_environment", [True, False])
def test_a_certificate_of_another_issuer_is_refused(
    controller: Controller, trusted_by_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when REQUESTS_CA_BUNDLE would trust it: the inventory's file alone counts."""
    bundle = controller.ca_file if trusted_by_environment else controller.other_ca
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(bundle))
    with pytest.raises(InfrastructureError, match="certificate verify failed") as caught:
        controller.machine(ca_file=controller.other_ca).power_state()
    assert "machine.ca_file" in caught.value.help


def test_the_environment_cannot_take_trust_away(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(controller.other_ca))
    assert controller.machine().power_state() in (PowerState.ON, PowerState.OFF)


def test_without_a_file_an_unknown_issuer_is_refused(controller: Controller) -> None:
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
    assert time.monotonic() - started < 2  # not tried again and again


def test_from_the_inventory(controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
