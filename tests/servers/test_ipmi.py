"""The IPMI machine against ipmi_sim and pyghmi's own server, ipmitool beside it: log-on, faults, console."""

from __future__ import annotations

import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pyghmi", reason="no pyghmi: install the extra 'ipmi'")

from ipmi_sims import ADDRESS, PASSWORD, USER, Bmc, Sim, missing

from lab.inventory import load
from lab.machines import BootDevice, SerialConsole, ipmi_console, ipmi_session, open_machine
from lab.machines.ipmi import IpmiMachine
from lab.model import ConfigurationError, CredentialsRefused, InfrastructureError, PowerState, TimedOut

LONG = 60.0


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Sim]:
    if reason := missing():
        pytest.skip(reason)
    started = Sim(tmp_path)
    started.start()
    yield started
    started.kill()
    started.serial.close()


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    started = Bmc(tmp_path)
    started.start()
    yield started
    started.kill()


def ipmitool(server: Sim | Bmc, *command: str) -> str:
    """Another client than ours, and another author's."""
    if not shutil.which("ipmitool"):
        pytest.skip("no ipmitool: run tests/servers/install.sh")
    at = ("-H", "127.0.0.1", "-p", str(server.port), "-U", USER, "-E")
    done = subprocess.run(
        ["ipmitool", "-I", "lanplus", "-C", "3", *at, *command],
        env={"IPMI_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
    )
    return done.stdout.strip()


def test_ipmitool_sees_the_same(sim: Sim) -> None:
    machine = sim.machine()
    machine.power_on()
    assert ipmitool(sim, "power", "status") == "Chassis Power is on"
    ipmitool(sim, "power", "off")
    assert machine.power_state() is PowerState.OFF


def test_ipmitool_sees_the_boot_device(bmc: Bmc) -> None:
    bmc.machine().boot_once(BootDevice.CD)
    assert "Force Boot from CD/DVD" in ipmitool(bmc, "chassis", "bootparam", "get", "5")


# Log-on


def test_a_wrong_password(sim: Sim) -> None:
    wrong = "hunter2"
    with pytest.raises(CredentialsRefused, match=f"refused the credentials of {USER}$") as caught:
        sim.machine(password=wrong).power_state()
    assert wrong not in caught.value.message + caught.value.help


def test_a_user_that_is_not_there(sim: Sim, bmc: Bmc) -> None:
    with pytest.raises(CredentialsRefused, match=r"refused the credentials of nobody$"):
        sim.machine(user="nobody").power_state()
    with pytest.raises(TimedOut, match=r"answered, but not to the log-on of nobody") as caught:
        bmc.machine(user="nobody", connect_seconds=1.5).power_state()  # this one says nothing to strangers
    assert caught.value.wait == "connect"


def test_a_cipher_suite_that_is_refused(sim: Sim, bmc: Bmc) -> None:
    """ipmi_sim says no; pyghmi's server says yes to 17, and takes 3. There is no quiet fall-back."""
    for server in (sim, bmc):
        with pytest.raises(InfrastructureError, match=r"refused cipher suite 17$") as caught:
            server.machine(cipher=17).power_state()
        assert "machine.cipher to 3" in caught.value.help


def test_a_password_that_ipmi_would_cut(sim: Sim) -> None:
    with pytest.raises(ConfigurationError, match=r"passwords of 20 at most") as caught:
        sim.machine(password="x" * 21)
    assert "xxx" not in caught.value.message + caught.value.help


def test_nobody_there(sim: Sim) -> None:
    sim.kill()
    with pytest.raises(InfrastructureError, match=r"could not be reached: Connection refused$"):
        sim.machine().power_state()
    with pytest.raises(
        InfrastructureError, match=r"could not be reached: Name or service not known|resolution"
    ):
        sim.machine(controller="bmc.invalid").power_state()


def test_nobody_answers(sim: Sim) -> None:
    sim.freeze()
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"waited 1\.5 s for connect; last seen: no answer from IPMI at 127"):
        sim.machine(connect_seconds=1.5).power_state()
    assert 1.4 < time.monotonic() - began < LONG


def test_packets_that_are_lost_are_sent_again(sim: Sim) -> None:
    machine = sim.machine(connect_seconds=LONG)
    sim.freeze()
    thaw = threading.Timer(1.5, sim.thaw)
    thaw.start()
    machine.power_on()
    thaw.join()
    assert sim.powered()


def test_a_controller_that_restarts_between_two_calls(sim: Sim) -> None:
    machine = sim.machine()
    machine.power_on()
    sim.kill()
    with pytest.raises(InfrastructureError, match=r"could not be reached"):
        machine.power_state()
    sim.start()
    assert machine.power_state() is PowerState.ON


@pytest.mark.parametrize("flood", [b"", b"\x06\x00\xff\x07", b"\x06\x00\xff\x07" + bytes(12), b"\xff" * 2000])
def test_answers_that_are_no_ipmi(flood: bytes) -> None:
    """Dropped, as the packets of strangers are; the wait has its end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(LONG)

        def answer() -> None:
            _, client = server.recvfrom(1000)
            for _ in range(300):
                server.sendto(flood, client)

        thread = threading.Thread(target=answer)
        thread.start()
        machine = IpmiMachine(
            "127.0.0.1", port=server.getsockname()[1], user="u", password="p", address="", connect_seconds=1.5
        )
        with pytest.raises(TimedOut, match=r"no answer from"):
            machine.power_state()
        thread.join()


FLOODS = [bytes(20), b"\x06\x00\xff\x07" + bytes(12), b"\x06\x00\xff\x07\x06\x11" + bytes(40)]


@pytest.mark.parametrize("flood", FLOODS)
def test_packets_without_end(flood: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come faster than they are looked at: whoever looks finds one more."""

    def found(read: Any, write: Any, error: Any, seconds: float | None = None) -> Any:
        return select.select(read, write, error, LONG)

    monkeypatch.setattr(ipmi_session, "select", SimpleNamespace(select=found))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(LONG)
        ended = threading.Event()

        def answer() -> None:
            _, client = server.recvfrom(1000)
            while not ended.is_set():
                with suppress(OSError):
                    server.sendto(flood, client)

        thread = threading.Thread(target=answer)
        thread.start()
        machine = IpmiMachine(
            "127.0.0.1", port=server.getsockname()[1], user="u", password="p", address="", connect_seconds=1.5
        )
        try:
            with pytest.raises(TimedOut, match=r"waited 1\.5 s for connect; last seen: "):
                machine.power_state()
        finally:
            ended.set()
            thread.join()


# Console


def test_a_console_keeps_what_came_last(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_console, "MOST_UNREAD", 100)
    with sim.machine().console() as console:
        for _ in range(5):
            console.write(b"0123456789" * 5)
        kept = b""
        until = time.monotonic() + LONG
        while not kept.endswith(b"9") and time.monotonic() < until:
            kept = console.read(0.5) or kept
        assert len(kept) <= 100 and kept.endswith(b"0123456789")


def test_a_console_that_is_cut_by_a_dead_controller(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_console, "KEEPALIVE_SECONDS", 0.2)
    machine = sim.machine()
    assert isinstance(machine, SerialConsole)
    with machine.console() as console:
        console.write(b"hello")
        got = b""
        while len(got) < 5:
            got += console.read(LONG)
        assert got == b"hello"
        sim.kill()
        with pytest.raises(InfrastructureError, match=r"the console of IPMI at .* was lost: .*refused"):
            console.read(LONG)
        for use in (lambda: console.read(0), lambda: console.write(b"x")):
            with pytest.raises(InfrastructureError, match=r"was lost"):
                use()


def test_a_console_that_is_cut_by_silence(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_console, "KEEPALIVE_SECONDS", 0.2)
    with sim.machine(connect_seconds=1.5).console() as console:
        sim.freeze()
        with pytest.raises(
            InfrastructureError, match=r"was lost: waited 1\.5 s for connect; last seen: no ans"
        ):
            console.read(LONG)
        sim.thaw()


def test_a_console_that_somebody_else_ends(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipmi_console, "KEEPALIVE_SECONDS", 0.2)
    with sim.machine().console() as console:
        assert console.read(0.5) == b""  # kept alive, and ours
        ipmitool(sim, "sol", "deactivate")
        with pytest.raises(InfrastructureError, match=r"was lost: "):
            console.read(LONG)


def test_errors_of_the_caller_are_left_alone(sim: Sim) -> None:
    with pytest.raises(OSError, match=r"disk full"), sim.machine().console():
        raise OSError("disk full")


# Inventory


def test_from_the_inventory(sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "lab.yaml"
    inventory.write_text(
        f"hosts:\n  lab1:\n    address: {ADDRESS}\n    machine:\n      kind: ipmi\n"
        f"      address: 127.0.0.1\n      port: {sim.port}\n      user: {USER}\n"
        "      password: {env: LAB1_BMC}\n      cipher: 3\n"
        "    guest: {shell: {kind: psrp, user: u, password: {env: LAB1}}}\n"
    )
    host = load([inventory]).host("lab1")
    monkeypatch.delenv("LAB1_BMC", raising=False)
    with pytest.raises(ConfigurationError, match=r"LAB1_BMC is not set"):
        open_machine(host)
    monkeypatch.setenv("LAB1_BMC", PASSWORD)
    machine = open_machine(host)
    assert machine.power_state() is PowerState.OFF and machine.address() == ADDRESS


@pytest.mark.parametrize("wrong", ["cipher: 2", "cipher: 0", "port: 0", "user: abcdefghijklmnopq", "kg: x"])
def test_what_the_inventory_refuses(tmp_path: Path, wrong: str) -> None:
    name = wrong.partition(":")[0]
    lines = {"address": "address: bmc", "user": "user: u", "password": "password: {env: X}", name: wrong}
    (tmp_path / "lab.yaml").write_text(
        f"hosts:\n  a:\n    address: a\n    machine: {{kind: ipmi, {', '.join(lines.values())}}}\n"
        "    guest: {shell: {kind: psrp, user: u, password: {env: X}}}\n"
    )
    with pytest.raises(ConfigurationError, match=name):
        load([tmp_path])
