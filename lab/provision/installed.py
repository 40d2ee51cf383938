"""Members of a pool that Windows is installed on, each time: bare metal, by virtual media."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from lab.inventory import Host, InstallSettings, Pool, PsrpShell
from lab.machines import BootsFromMedia, open_machine
from lab.machines.install import install, prepare, undo
from lab.machines.install.answerfile import check_computer_name
from lab.machines.install.image import Image
from lab.machines.install.media import offer
from lab.model import Clock, ConfigurationError, LabError
from lab.provision.maker import AT_ONCE, Candidate, Lab, Stock, Tell, not_expendable, not_had
from lab.windows import open_guest

GUESS = 2700.0
"""Seconds: Setup copies some 10 GB from virtual media, and Windows starts three times."""


class Installed:
    """See `lab.provision.maker.Maker`. What was on the disks of a member is lost."""

    def __init__(self, pool: Pool, hosts: Mapping[str, Host], lab: Lab, clock: Clock) -> None:
        assert pool.install is not None
        self._pool = pool
        self._settings: InstallSettings = pool.install
        self._hosts = hosts
        self._lab = lab
        self._clock = clock

    def stock(self) -> Stock:
        try:
            # one without a fault of its own: this is about what all have in common
            for name in [each for each in self._pool.members if not self._misnamed(each)][:1]:
                with prepare(self._settings, name, [self._hosts[name].address]) as prepared:
                    self._check_media(prepared.image)
        except ConfigurationError as error:
            return Stock(problem=error)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="stock") as threads:
            found = tuple(threads.map(self._candidate, self._pool.members))
        port = self._settings.media.port
        if not port or len(found) == 1:
            return Stock(found, seconds=GUESS)
        slow = f"install.media.port is {port}, so one host is installed after the other; 0 is any free port"
        return Stock(found, seconds=GUESS, at_once=1, warnings=(slow,))

    def make(self, name: str, tell: Tell) -> Host:
        host = self._hosts[name]
        tell("laying out the medium")
        with prepare(self._settings, name, [host.address]) as prepared:
            host = self._trusting(host, prepared.certificate.pem)
            with open_guest(host, self._clock) as guest:

                def answering() -> bool:
                    guest.boot()
                    return True

                machine = open_machine(host, self._clock)
                told = lambda sentence: tell(sentence.removeprefix(f"{name}: "))  # noqa: E731
                install(machine, prepared, host=name, answering=answering, clock=self._clock, told=told)
        return host

    def unmake(self, name: str, tell: Tell) -> None:
        """The medium out of the drive. What Setup did to the disks stays: it is done anew the next time."""
        undo(open_machine(self._hosts[name], self._clock))
        self._certificate(name).unlink(missing_ok=True)

    def wipes(self, name: str) -> bool:
        return True  # the next installation does

    def _candidate(self, name: str) -> Candidate:
        host = self._hosts[name]
        how = f"install {self._settings.edition} from {self._settings.iso.name}; its disk is wiped"
        if not host.expendable:
            return not_expendable(name, how)
        if not isinstance(host.guest.shell, PsrpShell) or not host.guest.shell.tls:
            return Candidate(
                name,
                how,
                "its guest.shell is not WinRM over HTTPS, which is what is installed",
                f"Give hosts.{name}.guest.shell 'kind: psrp' and 'tls: true'.",
            )
        if wrong := self._misnamed(name):
            return Candidate(
                name, how, wrong, f"Rename {name}, or make a pool of it alone with install.computer_name."
            )
        try:
            if self._other_password(host.guest.shell):
                return Candidate(
                    name,
                    how,
                    "the password of its guest.shell is not install.administrator_password, which is set",
                    f"Give hosts.{name}.guest.shell and install of the pool the same password.",
                )
            machine = open_machine(host, self._clock)
            machine.power_state()
        except LabError as error:
            return not_had(name, how, error)
        if not isinstance(machine, BootsFromMedia):
            return Candidate(
                name,
                how,
                f"its machine ({host.machine.kind}) takes no virtual media",
                f"Give hosts.{name}.machine a controller of 'kind: redfish', or take {name} out of the pool.",
            )
        return Candidate(name, how)

    def _check_media(self, image: Image) -> None:
        """That the image can be served, with that certificate, or copied. Raises ConfigurationError."""
        media = self._settings.media
        if media.image_folder is None:
            with offer(image, media):
                pass
        elif not media.image_folder.is_dir():
            raise ConfigurationError(
                f"the folder {media.image_folder} of install.media does not exist",
                help="Name the folder where the share that controllers read from is mounted here.",
            )

    def _misnamed(self, name: str) -> str:
        """Why Windows cannot be called so; "" when it can."""
        try:
            check_computer_name(self._settings.computer_name or name)
        except ConfigurationError as error:
            return error.message
        return ""

    def _other_password(self, shell: PsrpShell) -> bool:
        """An answer file of the user's own may set another one."""
        if self._settings.answer_file is not None or shell.password is None:
            return False
        return shell.password.reveal() != self._settings.administrator_password.reveal()

    def _trusting(self, host: Host, certificate: bytes) -> Host:
        """The host with the certificate that its WinRM will have: it was made for this installation."""
        path = self._certificate(host.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(certificate)
        shell = host.guest.shell.model_copy(update={"ca_file": path.absolute()})
        return host.model_copy(update={"guest": host.guest.model_copy(update={"shell": shell})})

    def _certificate(self, name: str) -> Path:
        return self._lab.folder / f"{quote(name, safe=' ')}.pem"
