"""Log-ons to a simulated vCenter over verified TLS, and how each is lost and won back."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import PASSWORD, USER, Vcsim, certificate
from vsphere_lab import NAME, PATH, running, session_of, until

from lab.machines.vsphere import Session, find
from lab.machines.vsphere import session as session_module
from lab.machines.vsphere.faults import Unreadable, bad_credentials
from lab.model import ConfigurationError, CredentialsRefused, InfrastructureError


def test_the_log_on_and_the_log_off(vcenter: Vcsim) -> None:
    session = session_of(vcenter)
    assert session.read(lambda: session.content.about.name)
    session.close()
    assert [name for name, _ in vcenter.calls() if name in ("Login", "Logout")] == ["Login", "Logout"]
    assert session.content.rootFolder is not None and find.machine(session, PATH)  # logs on again
    assert len(vcenter.calls("Login")) == 2


def test_nothing_is_told_without_a_session(vcenter: Vcsim) -> None:
    """Else the simulator would let log-ons that were lost go unnoticed."""
    session = session_of(vcenter)
    vm = find.machine(session, PATH)
    vcenter.forget_sessions()
    with pytest.raises(vim.fault.NotAuthenticated):
        _ = vm.name


@pytest.mark.parametrize("change", [{"user": "administrator"}, {"password": lambda: "other"}])
def test_wrong_credentials(vcenter: Vcsim, change: dict[str, Any]) -> None:
    with pytest.raises(CredentialsRefused, match="refused the user") as caught:
        find.machine(session_of(vcenter, **change), PATH)
    assert PASSWORD not in f"{caught.value} {caught.value.help}" and "other" not in str(caught.value)


def test_the_certificate_is_checked_on_loopback_too(
    vcenter: Vcsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = certificate(tmp_path, "other")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(vcenter.ca_file))  # would let it pass
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # would lead nowhere
    with pytest.raises(InfrastructureError, match="is not to be trusted: self-signed certificate") as caught:
        find.machine(session_of(vcenter, ca_file=other), PATH)
    assert "ca_file" in caught.value.help
    assert vcenter.calls() == []  # not even a question was sent
    assert find.machine(session_of(vcenter), PATH)


def test_without_ca_and_thumbprint_the_systems_issuers_count(vcenter: Vcsim) -> None:
    with pytest.raises(InfrastructureError, match="is not to be trusted"):
        find.machine(session_of(vcenter, ca_file=None), PATH)


def test_an_expired_certificate(tmp_path: Path) -> None:
    with running(tmp_path, expired=True) as vcenter:
        with pytest.raises(InfrastructureError, match="certificate has expired"):
            find.machine(session_of(vcenter), PATH)
        # a pinned one is that one, whatever its dates
        assert find.machine(session_of(vcenter, ca_file=None, thumbprint=vcenter.thumbprint), PATH)


def test_a_pinned_certificate(vcenter: Vcsim, tmp_path: Path) -> None:
    pinned = vcenter.thumbprint
    wrong = pinned[:-1] + ("0" if pinned[-1] != "0" else "1")
    assert find.machine(session_of(vcenter, ca_file=None, thumbprint=pinned), PATH)
    assert find.machine(session_of(vcenter, thumbprint=pinned.replace(":", "").lower()), PATH)
    before = len(vcenter.calls())
    for ca_file in (None, vcenter.ca_file):
        with pytest.raises(InfrastructureError, match="not the pinned one"):
            find.machine(session_of(vcenter, ca_file=ca_file, thumbprint=wrong), PATH)
    other, _ = certificate(tmp_path, "other")
    with pytest.raises(InfrastructureError, match="is not to be trusted"):
        find.machine(session_of(vcenter, ca_file=other, thumbprint=pinned), PATH)
    assert len(vcenter.calls()) == before


def test_a_ca_file_that_is_none(vcenter: Vcsim, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        session_of(vcenter, ca_file=tmp_path / "missing.pem")
    (tmp_path / "text.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"text\.pem of a controller is no PEM certificate"):
        session_of(vcenter, ca_file=tmp_path / "text.pem")


def test_what_does_not_listen_or_is_no_vcenter(vcenter: Vcsim) -> None:
    vcenter.kill()
    with pytest.raises(
        InfrastructureError, match=r"127\.0\.0\.1:\d+ could not be reached: nothing listens there$"
    ):
        find.machine(session_of(vcenter), PATH)
    with socket.create_server(("127.0.0.1", 0)) as plain, ThreadPoolExecutor(1) as thread:
        thread.submit(_talk, plain)
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        with pytest.raises(InfrastructureError, match="what listens there does not speak TLS"):
            find.machine(Session(url, user="u", password=lambda: "p", thumbprint="0" * 64), PATH)


def _talk(plain: socket.socket) -> None:
    """As an SSH server does: it speaks first."""
    connection, _ = plain.accept()
    with connection:
        connection.sendall(b"SSH-2.0-x\r\n")
        connection.recv(1024)


def test_a_certificate_with_another_name(vcenter: Vcsim) -> None:
    url = vcenter.url.replace("127.0.0.1", "localhost")
    session = Session(url, user="u", password=lambda: "p", ca_file=vcenter.ca_file)
    with pytest.raises(InfrastructureError, match=r"not valid for 'localhost'$") as caught:
        find.machine(session, PATH)
    assert "a name that the certificate has" in caught.value.help


def test_a_password_that_has_expired(vcenter: Vcsim) -> None:
    """vSphere 8 has a fault for it, which pyvmomi takes for InvalidLogin at the simulator's older version."""
    vcenter.control(faults=[{"method": "Login", "fault": "PasswordExpired", "message": "x"}])
    with pytest.raises(CredentialsRefused) as caught:
        find.machine(session_of(vcenter), PATH)
    assert "the password may have expired" in caught.value.help
    error = bad_credentials(vcenter.url, USER, vim.fault.PasswordExpired())
    assert error.message == f"{vcenter.url} refused the user '{USER}': the password has expired"


def test_a_password_that_cannot_be_looked_up(vcenter: Vcsim) -> None:
    """Which is the inventory's trouble, and not the vCenter's."""

    def nowhere() -> str:
        raise ConfigurationError("lab.yaml:6: the environment variable VC is not set")

    with pytest.raises(ConfigurationError, match="VC is not set"):
        find.machine(session_of(vcenter, password=nowhere), PATH)
    assert not vcenter.calls("Login")


def test_an_answer_that_cannot_be_read(vcenter: Vcsim, session: Session) -> None:
    """A fault without the values that it must have, which pyvmomi does not take."""
    vm = find.machine(session, PATH)
    wrong = {"method": "SendNMI", "fault": "InvalidPowerState", "message": "x", "bare": True}
    vcenter.control(faults=[wrong])
    with pytest.raises(Unreadable, match=r"^an answer of https://\S+ to SendNMI cannot be read: Attrib"):
        session.act(vm.SendNMI, "the NMI")


def test_a_server_that_does_not_shake_hands(vcenter: Vcsim) -> None:
    vcenter.freeze()
    with pytest.raises(InfrastructureError, match=r"could not be reached: .*timed out"):
        find.machine(session_of(vcenter, connect_seconds=0.5), PATH)


def test_a_server_that_does_not_answer(vcenter: Vcsim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "ANSWER_SECONDS", 3)
    session = session_of(vcenter)
    vm = find.machine(session, PATH)
    vcenter.control(delay={"Fetch": 30, "SendNMI": 30})
    with pytest.raises(InfrastructureError, match=r"could not be reached: .*timed out"):
        session.read(lambda: vm.name)
    with pytest.raises(InfrastructureError, match=r"was lost during the NMI: .*timed out"):
        session.act(vm.SendNMI, "the NMI")
    assert len(vcenter.calls("SendNMI")) == 1


def test_a_server_that_comes_back_to_life(vcenter: Vcsim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "ANSWER_SECONDS", 3)
    session = session_of(vcenter, connect_seconds=1)
    vm = find.machine(session, PATH)
    vcenter.freeze()
    with pytest.raises(InfrastructureError, match="timed out"):
        session.read(lambda: vm.name)
    vcenter.thaw()
    assert session.read(lambda: vm.name) == NAME
    assert len(vcenter.calls("Login")) == 1  # the session was never lost


def test_a_session_that_the_server_forgot(vcenter: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    vcenter.forget_sessions()
    assert session.read(lambda: vm.name) == NAME  # managed objects stay usable
    vcenter.forget_sessions()
    session.act(vm.SendNMI, "an NMI")
    assert len(vcenter.calls("Login")) == 3
    assert len(vcenter.calls("SendNMI")) == 2  # the first was refused before it did anything


def test_threads_that_lose_their_session_together_log_on_once(vcenter: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    vcenter.forget_sessions()
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: session.read(lambda: vm.name), range(16)))
    assert names == [NAME] * 16 and len(vcenter.calls("Login")) == 2


def test_a_server_that_restarts(vcenter: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    vcenter.kill()
    vcenter.start()
    assert session.read(lambda: vm.name) == NAME
    assert len(vcenter.calls("Login")) == 2


def test_a_read_is_repeated_and_an_action_is_not(vcenter: Vcsim, session: Session) -> None:
    vm = find.machine(session, PATH)
    vcenter.control(drop=["SendNMI"])
    with pytest.raises(InfrastructureError, match=r"connection to .* was lost during the NMI") as caught:
        session.act(vm.SendNMI, "the NMI")
    assert "not known" in caught.value.help
    assert len(vcenter.calls("SendNMI")) == 1
    vcenter.control(drop=["FindByInventoryPath"])
    before = len(vcenter.calls("FindByInventoryPath"))
    with pytest.raises(InfrastructureError, match="could not be reached"):
        find.machine(session, PATH)
    assert len(vcenter.calls("FindByInventoryPath")) == before + 2


def test_a_session_is_kept_alive_until_it_is_closed(
    vcenter: Vcsim, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "KEEP_ALIVE_SECONDS", 0.05)
    others = set(threading.enumerate())
    vm = find.machine(session, PATH)
    until(lambda: len(vcenter.calls("CurrentTime")) > 3)
    session.close()
    until(lambda: not set(threading.enumerate()) - others)
    assert len(vcenter.calls("Login")) == 1  # nobody woke it up again
    assert session.read(lambda: vm.name) == NAME
    before = len(vcenter.calls("CurrentTime"))
    until(lambda: len(vcenter.calls("CurrentTime")) > before)


def test_the_password_is_nowhere_to_be_seen(session: Session) -> None:
    find.machine(session, PATH)
    assert PASSWORD not in repr(session) and PASSWORD not in str(vars(session).get("_instance"))
