"""An installation through sushy-tools' Redfish emulator over TLS: medium by URL, boot override, power.

No Windows can run here: the twin's WinRM plays the installed one, and begins to answer with the certificate
that lies on the medium which the emulator fetched.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from install_samples import Sample, missing, run, sample, settings
from redfish_emulator import SYSTEM, Emulator

from lab.inventory import Timeouts
from lab.inventory.install import InstallMedia, InstallTimeouts
from lab.machines.install import Prepared, install, prepare
from lab.machines.redfish import RedfishMachine
from lab.model import InfrastructureError, SystemClock, TimedOut
from lab.twin.winrm import Accounts, WinRm
from lab.twin.wsman import Endpoint
from lab.windows import Script
from lab.windows.psrp import PsrpGuestShell

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
LIMITS = InstallTimeouts(power=60, media=60, install=60, poll=0.2)
PASSWORD = "hunter2 ü"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample(tmp_path_factory.mktemp("windows"))


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    (tmp_path / "fetched").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "fetched"))  # where the emulator keeps what it fetched
    monkeypatch.setenv("INSTALL_PASSWORD", PASSWORD)
    emulator = Emulator(tmp_path)
    emulator.start()
    yield emulator
    emulator.kill()


@pytest.fixture
def prepared(controller: Emulator, windows: Sample) -> Iterator[Prepared]:
    with prepare(settings(windows.iso, timeouts=LIMITS), "lab1", ["127.0.0.1"]) as made:
        yield made


def run_on(machine: RedfishMachine, prepared: Prepared, answering: Callable[[], bool]) -> None:
    install(machine, prepared, host="lab1", answering=answering, clock=SystemClock())


def fetched(controller: Emulator) -> Path:
    (found,) = (controller.folder / "fetched").rglob("windows.iso")
    return found


class NewWindows:
    """The twin's WinRM, as the medium's own files set it up."""

    def __init__(self, medium: Path, folder: Path, port: int) -> None:
        run("7z", "x", "-y", f"-o{folder}", medium, "lab", "autounattend.xml")
        script = (folder / "lab" / "first-logon.ps1").read_text("utf-8-sig")
        secret = re.search(r"ConvertTo-SecureString -String '([^']+)'", script)
        assert secret
        key, leaf, _ = pkcs12.load_key_and_certificates(
            (folder / "lab" / "winrm.pfx").read_bytes(), secret.group(1).encode()
        )
        assert key is not None and leaf is not None
        pem = leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "winrm.pem").write_bytes(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "winrm.pem")
        accounts = Accounts(folder / "accounts", "Administrator", PASSWORD, "LAB1")
        endpoint = Endpoint(lambda text, parameters: '[{"bootId": 1}]', "LAB1")
        self.server = WinRm("127.0.0.1", 0, accounts, endpoint, tls_port=port, tls=context)
        self.server.open()


def test_from_the_iso_to_the_first_script(controller: Emulator, prepared: Prepared, tmp_path: Path) -> None:
    """Also the proof that WinRM is checked from the first connection on, by the certificate made here."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "guest.pem").write_bytes(prepared.certificate.pem)
    (tmp_path / "guest").mkdir()
    seen: dict[str, Any] = {"looks": 0, "rows": []}
    booted: list[NewWindows] = []

    def answering() -> bool:
        seen["looks"] += 1
        if seen["looks"] == 3:  # Setup has ended
            seen["sha256"] = hashlib.sha256(fetched(controller).read_bytes()).hexdigest()
            seen["boot"] = controller.seen()["Boot"]["BootSourceOverrideTarget"]
            seen["in"], seen["on"] = controller.image(), controller.powered()
            booted.append(NewWindows(fetched(controller), tmp_path / "guest", port))
        shell = PsrpGuestShell(
            "127.0.0.1",
            port,
            user="Administrator",
            password=PASSWORD,
            tls=True,
            ca_file=tmp_path / "guest.pem",
            auth="ntlm",
            timeouts=Timeouts(connect=20, script=60),
            clock=SystemClock(),
        )
        try:
            seen["rows"] = shell.run(Script("Get-LabBoot"))
        finally:
            shell.close()
        return True

    try:
        run_on(controller.machine(), prepared, answering)
    finally:
        for each in booted:
            each.server.close()
    assert seen["looks"] == 3 and seen["rows"] == [{"bootId": 1}]
    assert seen["sha256"] == hashlib.sha256(prepared.image.read(0, prepared.image.size)).hexdigest()
    assert seen["in"].endswith("/windows.iso") and seen["boot"] == "Cd" and seen["on"]
    assert controller.boots() == 1
    assert controller.image() == "" and controller.powered()


def test_a_machine_that_runs_is_switched_off_first(controller: Emulator, prepared: Prepared) -> None:
    controller.machine().power_on()
    while not controller.powered():
        pass
    run_on(controller.machine(), prepared, lambda: True)
    assert controller.boots() == 2 and controller.image() == ""


def test_winrm_that_never_answers(controller: Emulator, windows: Sample) -> None:
    limits = LIMITS.model_copy(update={"install": 2.0})
    with (
        prepare(settings(windows.iso, timeouts=limits), "lab1", []) as prepared,
        pytest.raises(TimedOut, match="WinRM of the new Windows of host 'lab1'") as caught,
    ):
        run_on(controller.machine(), prepared, lambda: False)
    assert "power on" in caught.value.last_seen
    assert controller.image() == ""


def test_a_medium_that_the_controller_cannot_read(controller: Emulator, windows: Sample) -> None:
    """The URL names another address than the one that is listened on."""
    media = InstallMedia(listen="127.0.0.1", advertise="127.0.0.2")
    with (
        prepare(settings(windows.iso, timeouts=LIMITS, media=media), "lab1", []) as prepared,
        pytest.raises(InfrastructureError, match=r"did not take the image http://127\.0\.0\.2") as caught,
    ):
        run_on(controller.machine(media_seconds=20), prepared, lambda: True)
    assert "reach" in caught.value.help
    assert controller.image() == "" and not controller.powered()


def test_a_controller_that_goes_away(controller: Emulator, prepared: Prepared) -> None:
    def answering() -> bool:
        controller.kill()
        return False

    limits = LIMITS.model_copy(update={"install": 3.0})
    prepared = Prepared(
        prepared.settings.model_copy(update={"timeouts": limits}),
        prepared.computer_name,
        prepared.edition,
        prepared.certificate,
        prepared.image,
    )
    with pytest.raises(TimedOut) as caught:
        run_on(controller.machine(), prepared, answering)
    assert "could not be reached" in caught.value.last_seen
    assert "the medium could not be ejected" in caught.value.help  # it is still in, and that is said
    controller.start()
    controller.machine().eject_media()
    assert controller.image() == "" and SYSTEM in str(controller.seen())
