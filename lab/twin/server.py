"""A twin: one simulated server and its wire protocols, from start to stop."""

from __future__ import annotations

import secrets
import shutil
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lab.model import ConfigurationError, VerifierPlan
from lab.twin import scripts
from lab.twin.catalogue import BUILDS, FEWEST
from lab.twin.certificate import make_certificate
from lab.twin.clock import GuestClock
from lab.twin.crash import Stop
from lab.twin.disk import Disk
from lab.twin.hidden import Hidden, choose, choose_untraced
from lab.twin.loading import load
from lab.twin.machine import PROCESSORS, DumpWriter, Machine
from lab.twin.memory import parameters, write_dump
from lab.twin.misbehaviour import parse
from lab.twin.redfish import RedfishServer
from lab.twin.smb import SmbServer
from lab.twin.stopping import RunningKernel, crash_state
from lab.twin.symbolserver import SymbolServer
from lab.twin.winrm import Accounts, WinRm
from lab.twin.workers import StopRequest
from lab.twin.wsman import Endpoint

_CUSTOMER_UPTIME = 86_400.0 * 9
_CUSTOMER_CRASHED = 1_717_400_000.0  # June 2024; the same seed always gives the same dump
_CUSTOMER_WORKER = 0x100


@dataclass(frozen=True)
class TwinSettings:
    """What to simulate. Port 0 means a free one.

    `state` is a folder for the simulated disk. `speed` is guest seconds a real second. `culprit` is a
    service of `plantable(build)`, None to let the seed choose; so is `inlined`. `customer_dump` gets a dump
    as the customer would send it: STOP 0x20 without Driver Verifier.

    `hide` names plots (see `lab.twin.untraced`) that take the culprit's place: chosen by `hidden_seed`, so
    that twins of other seeds can have the same in them, with one crash in two in `half_life` seconds of load.
    """

    state: Path
    build: int = 17763
    seed: int = 1
    culprit: str | None = field(default=None, repr=False)
    user: str = "labadmin"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    speed: float = 60.0
    host: str = "127.0.0.1"
    winrm_port: int = 0
    winrm_tls_port: int = 0
    smb_port: int = 0
    redfish_port: int = 0
    symbols_port: int = 0
    misbehave: frozenset[str] = frozenset()
    customer_dump: Path | None = None
    inlined: bool | None = field(default=None, repr=False)
    third_party: int = FEWEST
    hide: tuple[str, ...] = ()
    hidden_seed: int = field(default=1, repr=False)
    half_life: float = 8.0


@dataclass(frozen=True)
class Endpoints:
    """Where a running twin is reached; plain values, fit for JSON.

    `commitment` is the SHA-256 of the culprit's service name followed by a salt, both told by `reveal`.
    """

    host: str
    winrm_port: int
    winrm_tls_port: int
    winrm_ca_file: str
    smb_port: int
    redfish_url: str
    symbols_url: str
    ca_file: str
    system_id: str
    user: str
    commitment: str


def _hidden(settings: TwinSettings) -> Hidden:
    build, count = settings.build, settings.third_party
    if not settings.hide:
        return choose(build, settings.seed, settings.culprit, settings.inlined, count)
    if settings.culprit is not None:
        raise ConfigurationError(
            "the twin cannot both plant a culprit and hide one", help="Leave one of the two out."
        )
    plots, chosen_by = settings.hide, settings.hidden_seed
    return choose_untraced(build, settings.seed, plots, chosen_by, settings.half_life, count)


class Twin:
    """Start it once, stop it once.

    `start` raises ConfigurationError for settings that make no sense and returns while the guest boots.
    """

    def __init__(self, settings: TwinSettings) -> None:
        if settings.build not in BUILDS:
            raise ConfigurationError(
                f"the twin cannot be a Windows of build {settings.build}",
                help=f"Choose among {', '.join(map(str, BUILDS))}.",
            )
        if settings.speed <= 0:
            raise ConfigurationError(f"the twin's clock cannot run at speed {settings.speed:g}")
        self._settings = settings
        self._misbehave = parse(settings.misbehave)
        self._hidden = _hidden(settings)
        self._private: Path | None = None
        self._machine: Machine | None = None
        self._services: tuple[SmbServer, WinRm, RedfishServer, SymbolServer] | None = None

    def start(self) -> Endpoints:
        settings = self._settings
        self._private = Path(tempfile.mkdtemp(prefix="twin-"))
        disk = Disk(settings.state, settings.seed)
        machine = Machine(
            build=settings.build,
            seed=settings.seed,
            hidden=self._hidden,
            clock=GuestClock(settings.speed),
            disk=disk,
            writer=DumpWriter(write_dump, parameters),
            misbehave=self._misbehave,
            third_party=settings.third_party,
        )
        self._machine = machine
        if settings.customer_dump is not None:
            self._write_customer_dump(machine, settings.customer_dump)
        accounts = Accounts(self._private / "accounts", settings.user, settings.password, machine.computer)
        endpoint = Endpoint(lambda text, given: scripts.run(machine, text, given), machine.computer)
        smb = SmbServer(settings.host, settings.smb_port, machine, disk, settings.user, settings.password)
        certificate, key = settings.state / "winrm-ca.pem", self._private / "winrm-key.pem"
        make_certificate(settings.host, certificate, key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        winrm = WinRm(
            settings.host,
            settings.winrm_port,
            accounts,
            endpoint,
            tls_port=settings.winrm_tls_port,
            tls=tls,
        )
        redfish = RedfishServer(
            settings.host,
            settings.redfish_port,
            machine,
            settings.state / "controller",
            settings.user,
            settings.password,
        )
        symbols = SymbolServer(settings.host, settings.symbols_port, settings.build)
        self._services = (smb, winrm, redfish, symbols)
        machine.smb, machine.winrm = smb, winrm
        redfish.start()
        machine.power_on()
        return Endpoints(
            host=settings.host,
            winrm_port=winrm.port,
            winrm_tls_port=winrm.tls_port,
            winrm_ca_file=str(certificate),
            smb_port=smb.port,
            redfish_url=redfish.url,
            symbols_url=symbols.url,
            ca_file=str(redfish.ca_file),
            system_id=machine.uuid,
            user=settings.user,
            commitment=self._hidden.commitment,
        )

    def stop(self) -> None:
        """Idempotent. The disk's dumps stay in `state`."""
        if self._machine is not None:
            self._machine.end()
        if self._services is not None:
            smb, winrm, redfish, symbols = self._services
            self._services = None
            redfish.stop()
            symbols.stop()
            smb.close()
            winrm.close()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def reveal(self) -> dict[str, str]:
        """The culprit's service name (several: joined by "+"), and the salt of its seal."""
        return {"culprit": self._hidden.culprits, "salt": self._hidden.salt}

    def _write_customer_dump(self, machine: Machine, path: Path) -> None:
        now = _CUSTOMER_CRASHED + machine.seed % 1000 * 3600.0
        kernel = RunningKernel(
            build=machine.build,
            seed=machine.seed,
            computer="CUSTOMER-FS01",
            processors=PROCESSORS,
            loaded=load(machine.registry),
            verifier=VerifierPlan(),
            booted=now - _CUSTOMER_UPTIME,
        )
        request = StopRequest(Stop.APC_PENDING_DURING_EXIT, _CUSTOMER_WORKER, 0, -1)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dump(crash_state(kernel, self._hidden, request, (), now), path)
