"""The contract of shells, run by PSRP: over HTTP with sealed messages, over HTTPS, and with Kerberos.

The server is the twin's WinRM (psrpcore, pyspnego); the scripts are those of the contract.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import shell_scripts
import spnego
from certificates import DAY, Authority
from shell_contract import LONG, ShellContract, said

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

import kdc as kdc_server
from kdc import Kdc
from tcp_relay import Relay

from lab.inventory import Timeouts
from lab.model import InfrastructureError, SystemClock
from lab.twin.binding import PowerShellError
from lab.twin.winrm import Accounts, WinRm
from lab.twin.wsman import Endpoint
from lab.windows import psrp
from lab.windows.psrp import PsrpGuestShell

USER, PASSWORD = "labadmin", "Pass wörd 'n\" $1"


class PsrpGuest:
    """A guest behind the twin's WinRM."""

    def __init__(
        self, folder: Path, accounts: Accounts | None = None, context: Any = None, **settings: Any
    ) -> None:
        self.disk = folder / "disk"
        self.disk.mkdir()
        self._settings = settings
        self.authority = Authority(folder, "issuer")
        self.server = WinRm(
            "127.0.0.1",
            0,
            accounts or Accounts(folder / "accounts", USER, PASSWORD, "LAB1"),
            Endpoint(self._run, "LAB1"),
            tls=context or self.authority.context("127.0.0.1", "localhost"),
        )
        self.server.open()
        self.gone, self.back = self.server.cut, self.server.open

    def shell(self, *, script: float = LONG, **changed: Any) -> PsrpGuestShell:
        given: dict[str, Any] = {
            "address": "127.0.0.1",
            "user": USER,
            "password": PASSWORD,
            "tls": False,
            "ca_file": self.authority.file,
            "auth": "ntlm",
            "connect": 10,
        }
        given |= self._settings | changed
        port = self.server.tls_port if given["tls"] else self.server.port
        timeouts = Timeouts(connect=given.pop("connect"), script=script)
        return PsrpGuestShell(given.pop("address"), port, timeouts=timeouts, clock=SystemClock(), **given)

    def cut(self) -> None:
        self.server.cut()
        self.server.open()

    def _run(self, text: str, parameters: Mapping[str, object]) -> str:
        try:
            return shell_scripts.answer(text, parameters, str(self.disk))
        except shell_scripts.Failed as error:
            raise PowerShellError(str(error), "RuntimeException") from None


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[Any]:
    made: list[PsrpGuest] = []

    def make(**settings: Any) -> PsrpGuest:
        folder = tmp_path / f"guest-{len(made)}"
        folder.mkdir()
        made.append(PsrpGuest(folder, **settings))
        return made[-1]

    yield make
    for each in made:
        each.server.close()


class TestPsrpSealedByNtlm(ShellContract):
    @pytest.fixture
    def guest(self, guests: Any) -> PsrpGuest:
        return guests()


class TestPsrpNegotiated(ShellContract):
    @pytest.fixture
    def guest(self, guests: Any) -> PsrpGuest:
        return guests(auth="negotiate")


class TestPsrpHttps(ShellContract):
    @pytest.fixture
    def guest(self, guests: Any) -> PsrpGuest:
        return guests(tls=True)


class TestPsrpHttpsBasic(ShellContract):
    @pytest.fixture
    def guest(self, guests: Any) -> PsrpGuest:
        return guests(tls=True, auth="basic")


# --- certificates ----------------------------------------------------------------------------------------


def refusal(guest: PsrpGuest, **changed: Any) -> InfrastructureError:
    shell = guest.shell(tls=True, **changed)
    with pytest.raises(InfrastructureError) as caught:
        shell.run(said("count"))
    assert not (guest.disk / "runs").exists() and "\n" not in str(caught.value)
    return caught.value


def test_a_certificate_for_an_address_or_a_name(guests: Any) -> None:
    guest = guests(tls=True)
    for address in ("127.0.0.1", "localhost"):
        shell = guest.shell(address=address)
        assert shell.run(said("echo")) == [{}]
        shell.close()


def test_a_certificate_of_another_issuer(guests: Any, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    error = refusal(guests(), ca_file=other.file)
    assert str(error).endswith("has a certificate whose issuer is not known here")
    assert "guest.shell.ca_file" in error.help


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_no_environment_variable_makes_an_issuer_known(
    guests: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    guest = guests()
    monkeypatch.setenv(variable, str(guest.authority.file))
    assert "whose issuer is not known here" in str(refusal(guest, ca_file=None))


@pytest.mark.parametrize(
    ("names", "times", "says"),
    [
        (("lab1.example",), {}, "has a certificate for another name than 127.0.0.1"),
        (("127.0.0.2",), {}, "has a certificate for another name than 127.0.0.1"),
        (("127.0.0.1",), {"begins": -2 * DAY, "ends": -DAY / 24}, "has a certificate that has expired"),
        (("127.0.0.1",), {"begins": DAY / 24}, "has a certificate that is not valid yet"),
    ],
)
def test_certificates_that_are_not_good(
    guests: Any, tmp_path: Path, names: tuple[str, ...], times: dict[str, Any], says: str
) -> None:
    authority = Authority(tmp_path, "mine")
    guest = guests(context=authority.context(*names, **times))
    error = refusal(guest, ca_file=authority.file)
    assert str(error).endswith(says) and error.help


def test_another_name_says_what_to_do(guests: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "mine")
    error = refusal(guests(context=authority.context("lab1.example")), ca_file=authority.file)
    assert "lab1.example" not in error.help and "'address'" in error.help


def test_tls_on_the_port_without_and_the_other_way_round(guests: Any) -> None:
    guest = guests()
    with pytest.raises(InfrastructureError, match="does not speak TLS"):
        shell = guest.shell(tls=True)
        shell._port = guest.server.port
        shell.run(said("echo"))
    with pytest.raises(InfrastructureError, match="could not be reached"):
        shell = guest.shell(tls=False)
        shell._port = guest.server.tls_port
        shell.run(said("echo"))


# --- a peer that is gone -----------------------------------------------------------------------------------


def test_a_pool_that_lost_an_answer_is_thrown_away(guests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script may have run: it is not sent again. The next one gets a new pool over a new connection."""
    monkeypatch.setattr(psrp, "OPERATION_SECONDS", 1)
    guest = guests()
    with Relay(guest.server.port) as relay:
        shell = guest.shell(connect=5)
        shell._port = relay.port
        assert shell.run(said("echo")) == [{}]
        pool = shell._pool
        relay.swallow()
        with pytest.raises(InfrastructureError, match="did not answer in time"):
            shell.run(said("count"))
        assert shell._pool is None
        assert shell.run(said("echo")) == [{}]
        assert shell._pool is not pool and relay.connections == 2
        shell.close()


# --- Kerberos --------------------------------------------------------------------------------------------


class KerberosAccounts(Accounts):
    """Accepts tickets for the service of the keytab in KRB5_KTNAME, by the system's GSSAPI."""

    def context(self, token: bytes) -> Any:
        return spnego.server(protocol="kerberos", service="host", hostname="localhost")


@pytest.fixture
def kdc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kdc]:
    if reason := kdc_server.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="lab-kdc-"))
    server = Kdc(folder)
    server.administer("addprinc -randkey host/localhost")
    server.administer(f"ktadd -k {server.keytab} host/localhost")
    server.administer("addprinc -pw simple7 labadmin")
    for name, value in (server.environment | {"KRB5_KTNAME": str(server.keytab)}).items():
        monkeypatch.setenv(name, value)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class TestPsrpKerberos(ShellContract):
    """A ticket from a real KDC, and messages sealed by it over plain HTTP."""

    @pytest.fixture
    def guest(self, guests: Any, kdc: Kdc, tmp_path: Path) -> PsrpGuest:
        accounts = KerberosAccounts(tmp_path / "nobody", USER, PASSWORD, "LAB1")
        return guests(
            accounts=accounts,
            auth="kerberos",
            address="localhost",
            user=f"labadmin@{kdc_server.REALM}",
            password="simple7",
        )


def test_a_ticket_is_enough_for_kerberos(guests: Any, kdc: Kdc, tmp_path: Path) -> None:
    guest = guests(accounts=KerberosAccounts(tmp_path / "nobody", USER, PASSWORD, "LAB1"), auth="kerberos")
    principal = f"labadmin@{kdc_server.REALM}"
    settings = {"address": "localhost", "user": principal, "password": None}
    with pytest.raises(InfrastructureError, match="could not be logged on to with kerberos"):
        guest.shell(**settings).run(said("echo"))
    kdc.log_in("labadmin", "simple7")
    shell = guest.shell(**settings)
    assert shell.run(said("echo")) == [{}]
    shell.close()
