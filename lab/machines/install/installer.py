"""Windows onto bare metal: medium in, one boot from it, watch until WinRM answers, medium out.

`prepare` reads and checks everything and touches no machine; `install` acts. The caller journals before
`install`, and calls `undo` for an installation that was cut off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from lab.inventory.install import InstallSettings, InstallTimeouts
from lab.machines.install.answerfile import answers
from lab.machines.install.certificate import GuestCertificate, guest_certificate
from lab.machines.install.console import Watcher
from lab.machines.install.drivers import driver_files
from lab.machines.install.errors import BadAnswerFile
from lab.machines.install.graft import Content
from lab.machines.install.image import Image
from lab.machines.install.iso import WindowsIso, compose, inspect
from lab.machines.install.media import Medium, offer
from lab.machines.install.wim import Edition
from lab.machines.port import BootDevice, BootsFromMedia, Machine, SerialConsole
from lab.model import (
    Clock,
    ConfigurationError,
    CredentialsRefused,
    GuestError,
    InfrastructureError,
    LabError,
    PowerState,
    TimedOut,
    wait_until,
)

STARTED = 4 << 20
"""Bytes read after power-on that mean that the host boots from the medium: more than a boot image."""

FIRST_BUILD = 14393
"""Windows Server 2016, the first with Windows PowerShell 5.1, which the first log-on needs, and every script
that the lab runs in a guest."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """All that an installation needs; close it, or use it as a context manager."""

    settings: InstallSettings
    computer_name: str
    edition: Edition
    certificate: GuestCertificate
    """Its `pem` is what WinRM of the installed Windows is checked against."""

    image: Image

    def __enter__(self) -> Prepared:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.image.close()


def prepare(settings: InstallSettings, host: str, addresses: Sequence[str]) -> Prepared:
    """Check ISO, edition, answer file and drivers for the host of that name, and lay out its medium.

    `addresses` are names and IP addresses that the guest will be reached by. Takes about a second; the ISO is
    read in a few places only. Raises BadImage, BadAnswerFile, ConfigurationError.
    """
    iso = inspect(settings.iso)
    edition = iso.check(settings.edition, settings.firmware)
    if settings.answer_file is None:
        _fits(iso, edition, settings)
    name = settings.computer_name or host
    certificate = guest_certificate(name, addresses)
    made = answers(settings, name, edition.index, certificate)
    if made.image is not None:
        edition = _chosen(iso, made.image, settings)
    files: dict[str, Content] = dict(made.files)
    if settings.drivers is not None:
        files.update(driver_files(settings.drivers))
    image = compose(settings.iso, files, settings.firmware)
    return Prepared(settings, made.computer_name, edition, certificate, image)


def _fits(iso: WindowsIso, edition: Edition, settings: InstallSettings) -> None:
    """Raises ConfigurationError when Setup would wait for an answer, or WinRM never come."""
    if 0 < edition.build < FIRST_BUILD:
        raise ConfigurationError(
            f"'{edition.name}' of {iso.path} is of build {edition.build}, whose PowerShell is older than 5.1",
            help=f"Take Windows Server 2016 (build {FIRST_BUILD}) or later, or an answer file of your own "
            "that brings PowerShell 5.1 along.",
        )
    spoken = [each.casefold() for each in edition.languages]
    if spoken and settings.language.casefold() not in spoken:
        raise ConfigurationError(
            f"'{edition.name}' of {iso.path} has no language {settings.language}, so that Setup would ask",
            help=f"Set install.language to one of its own: {', '.join(edition.languages)}.",
        )


def _chosen(iso: WindowsIso, image: tuple[str, str], settings: InstallSettings) -> Edition:
    """The edition that the answer file asks for, which is the user's word when it is the user's file."""
    key, value = image
    if key == "/IMAGE/DESCRIPTION":
        return iso.edition(settings.edition)
    try:
        return iso.check(int(value) if key == "/IMAGE/INDEX" else value, settings.firmware)
    except ConfigurationError as error:
        about = settings.answer_file or "the answer file"
        raise BadAnswerFile(f"{about} asks for {key} {value}: {error}", help=error.help) from None


def install(
    machine: Machine,
    prepared: Prepared,
    *,
    host: str,
    answering: Callable[[], bool],
    clock: Clock,
    told: Told = lambda sentence: None,
) -> None:
    """Install, and return when `answering()` is true: the new Windows has answered over WinRM.

    `answering` is called every `poll` seconds once Setup runs; an InfrastructureError, GuestError or TimedOut
    of it counts as not yet, and refused credentials end the wait. The disk is wiped. However this ends, the
    drive is empty afterwards; on failure the host is left as it is otherwise, so that its screen can be seen.
    Raises LabError.
    """
    if not isinstance(machine, BootsFromMedia):
        raise ConfigurationError(
            f"the machine of host '{host}' takes no virtual media, so Windows cannot be installed on it",
            help="Use a management controller with Redfish and virtual media, and its licence for it.",
        )
    settings = prepared.settings
    with ExitStack() as stack:
        medium = stack.enter_context(offer(prepared.image, settings.media))
        stack.enter_context(_undone(machine, told))
        run = _Run(machine, machine, medium, host, settings.timeouts, clock, told)
        run.power(PowerState.OFF)
        told(f"{host}: inserts {prepared.edition.name} ({prepared.image.size / 1e9:.1f} GB)")
        machine.insert_media(medium.url)
        machine.boot_once(BootDevice.CD)
        before = medium.sent
        run.power(PowerState.ON)
        deadline = clock.now() + settings.timeouts.install
        console = machine if settings.console and isinstance(machine, SerialConsole) else None
        watcher = stack.enter_context(Watcher(console))
        run.medium_is_read(before, prepared.image.size)
        told(f"{host}: Windows Setup runs as {prepared.computer_name}")
        run.answered(answering, watcher, max(0.0, deadline - clock.now()))
    told(f"{host}: {prepared.edition.name} is installed, the medium is out")


def undo(machine: Machine) -> None:
    """Take out what an installation that was cut off may have left; safe at any time."""
    if isinstance(machine, BootsFromMedia):
        machine.eject_media()
        machine.boot_once(BootDevice.DISK)


@contextlib.contextmanager
def _undone(machine: BootsFromMedia, told: Told) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        for what, step in (
            ("the medium could not be ejected", machine.eject_media),
            ("the boot override could not be taken back", lambda: machine.boot_once(BootDevice.DISK)),
        ):
            try:
                step()
            except LabError as other:
                told(f"{what}: {other}")
                if isinstance(error, LabError):
                    error.help = f"{error.help} Also, {what}: {other}."
        raise
    machine.eject_media()


@dataclass(frozen=True)
class _Run:
    machine: Machine
    drive: BootsFromMedia
    medium: Medium
    host: str
    limits: InstallTimeouts
    clock: Clock
    told: Told

    def power(self, wanted: PowerState) -> None:
        """Switch, and wait until it is so."""
        if self._state() is wanted:
            return
        (self.machine.power_on if wanted is PowerState.ON else self.machine.power_off)()
        self._wait("power", self.limits.power, lambda: self._state() is wanted, self._power_seen)

    def medium_is_read(self, before: int | None, size: int) -> None:
        """Wait until the host boots from the medium; then the next boot is from the disk.

        A controller that fetched the whole image at once, or reads it elsewhere, cannot be watched so.
        """
        if before is None or before >= size:
            return
        self._wait(
            "media", self.limits.media, lambda: (self.medium.sent or 0) - before >= STARTED, self._seen
        )
        with contextlib.suppress(InfrastructureError, TimedOut):
            # Without it a BIOS that has the drive first would start Setup over and over. UEFI needs it less.
            self.drive.boot_once(BootDevice.DISK)

    def answered(self, answering: Callable[[], bool], watcher: Watcher, seconds: float) -> None:
        said = ""

        def answers_now() -> bool:
            nonlocal said
            watcher.look()
            try:
                return answering()
            except CredentialsRefused:
                raise
            except (InfrastructureError, GuestError, TimedOut) as error:
                said = str(error)
                return False

        def seen() -> str:
            return ", ".join(each for each in (self._seen(), said, watcher.last) if each)

        self._wait("install", seconds, answers_now, seen)

    def _wait(self, name: str, seconds: float, done: Callable[[], bool], seen: Callable[[], str]) -> None:
        def poll() -> bool | None:
            if self.medium.problem is not None:
                raise self.medium.problem
            return True if done() else None

        try:
            wait_until(
                poll, wait=name, seconds=seconds, clock=self.clock, every=self.limits.poll, last_seen=seen
            )
        except TimedOut as error:
            raise TimedOut(
                f"{_WAITS[name]} of host '{self.host}' ({name})",
                getattr(self.limits, name),
                error.last_seen,
                help=_HELP[name],
            ) from None

    def _state(self) -> PowerState:
        return self.machine.power_state()

    def _power_seen(self) -> str:
        try:
            return f"power {self._state()}"
        except LabError as error:
            return str(error)

    def _seen(self) -> str:
        sent = self.medium.sent
        return self._power_seen() + (f", {sent / 1e6:.0f} MB of the medium read" if sent is not None else "")


_WAITS = {
    "power": "the power",
    "media": "the first boot from the medium",
    "install": "WinRM of the new Windows",
}
_HELP = {
    "power": "Raise install.timeouts.power, or look at the management controller.",
    "media": "Look whether the controller reaches install.media over the network, and whether the host boots "
    "from virtual media; raise install.timeouts.media for a slow one.",
    "install": "Look at the host's screen: Setup says there what it waits for; a driver for disk or network "
    r"may be missing. When Windows runs, C:\Windows\Temp\lab-first-logon.log tells what failed.",
}
