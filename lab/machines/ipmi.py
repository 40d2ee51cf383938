"""Power, NMI, boot override and serial console over IPMI 2.0, by pyghmi.

Every call logs on, asks, and logs off: controllers allow few sessions, and forget them when they restart.
The password goes into the HMACs of the log-on and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyghmi.exceptions import IpmiException

from lab.inventory import Host
from lab.inventory import IpmiMachine as Settings
from lab.machines.ipmi_console import IpmiConsole
from lab.machines.ipmi_session import IPMI_15, NO_CIPHER, CompletionCode, IpmiSession, Silent
from lab.machines.port import BootDevice
from lab.model import Clock, ConfigurationError, CredentialsRefused, InfrastructureError, PowerState, TimedOut

_CHASSIS = 0x00
_CHASSIS_STATUS, _CHASSIS_CONTROL, _SET_BOOT, _GET_BOOT = 0x01, 0x02, 0x08, 0x09  # chapter 28
_OFF, _ON, _RESET, _DIAGNOSTIC_INTERRUPT = 0x00, 0x01, 0x03, 0x04  # table 28-4
_BOOT_FLAGS, _KEEP_FLAGS = 0x05, 0x03  # table 28-14
_BOOT_VALID, _BOOT_UEFI, _BOOT_SELECTOR = 0x80, 0x20, 0x3C
_BOOT_DEVICES = {BootDevice.PXE: 0x04, BootDevice.DISK: 0x08, BootDevice.CD: 0x14}

_WRONG_CREDENTIALS = ("Incorrect password", "Unauthorized name", "Invalid integrity check value")


class IpmiMachine:
    """See `lab.machines.port`: Machine, BootOverride, SerialConsole."""

    def __init__(
        self,
        controller: str,
        *,
        port: int = 623,
        user: str,
        password: str,
        cipher: int = 17,
        uefi: bool = True,
        address: str,
        connect_seconds: float,
    ) -> None:
        if len(user.encode()) > 16 or len(password.encode()) > 20:
            raise ConfigurationError(
                f"IPMI at {controller} takes user names of 16 bytes and passwords of 20 at most",
                help="Give the management controller an account with shorter ones.",
            )
        self._controller, self._port = controller, port
        self._user, self._password = user, password
        self._cipher = cipher
        self._uefi = uefi
        self._address = address
        self._seconds = connect_seconds
        self._place = f"IPMI at {controller}:{port}"

    def power_state(self) -> PowerState:
        with self._session() as session:
            return self._power(session)

    def power_on(self) -> None:
        self._control(_ON, "power on", PowerState.ON)

    def power_off(self) -> None:
        self._control(_OFF, "power off", PowerState.OFF)

    def reset(self) -> None:
        self._control(_RESET, "a hard reset")

    def interrupt(self) -> None:
        self._control(_DIAGNOSTIC_INTERRUPT, "a diagnostic interrupt (NMI)")

    def address(self) -> str:
        return self._address

    def boot_once(self, device: BootDevice) -> None:
        flags = _BOOT_VALID | (_BOOT_UEFI if self._uefi else 0)
        wanted = _BOOT_DEVICES[device]
        with self._session() as session:
            # Optional: else the override is forgotten when no power command comes within 60 s (28.12).
            with suppress(CompletionCode):
                self._ask(session, _CHASSIS, _SET_BOOT, (_KEEP_FLAGS, 0x08))
            self._ask(session, _CHASSIS, _SET_BOOT, (_BOOT_FLAGS, flags, wanted, 0, 0, 0))
            kept = self._ask(session, _CHASSIS, _GET_BOOT, (_BOOT_FLAGS, 0, 0))[2:]
        if len(kept) < 2 or not kept[0] & _BOOT_VALID or kept[1] & _BOOT_SELECTOR != wanted:
            raise InfrastructureError(
                f"{self._place} took the order to boot from {device} once, but does not hold it "
                f"(boot flags: {kept.hex(' ') or 'none'})",
                help="Update the controller's firmware, or set the boot order in the server's setup.",
            )

    @contextmanager
    def console(self) -> Iterator[IpmiConsole]:
        """Serial-over-LAN. Which port it shows, and at what speed, is set in the server's own setup."""
        with self._translating():
            session = self._log_on()
        try:
            opened = IpmiConsole(session, self._port, self._seconds, self._translating, self._place)
            try:
                yield opened
            finally:
                opened.close()
        finally:
            session.end()

    def _control(self, action: int, what: str, wanted: PowerState | None = None) -> None:
        with self._session() as session:
            try:
                # A reset or an NMI is sent once: a second one would spoil the dump that the first one began.
                self._ask(session, _CHASSIS, _CHASSIS_CONTROL, (action,), again=wanted is not None)
            except CompletionCode as refusal:
                if wanted is not None and self._power(session) is wanted:
                    return  # some controllers refuse what is done already
                raise InfrastructureError(
                    f"{self._place} does not do {what}: {refusal}",
                    help="The controller cannot do it, or not in the machine's present state; "
                    "its log may say more.",
                ) from None

    def _power(self, session: IpmiSession) -> PowerState:
        status = self._ask(session, _CHASSIS, _CHASSIS_STATUS)
        return PowerState.ON if status[:1] and status[0] & 1 else PowerState.OFF

    def _ask(
        self,
        session: IpmiSession,
        netfn: int,
        command: int,
        data: tuple[int, ...] = (),
        *,
        again: bool = True,
    ) -> bytes:
        return session.command(netfn, command, data, seconds=self._seconds, again=again)

    def _log_on(self) -> IpmiSession:
        return IpmiSession(
            self._controller,
            self._port,
            self._user,
            self._password,
            cipher=self._cipher,
            seconds=self._seconds,
        )

    @contextmanager
    def _session(self) -> Iterator[IpmiSession]:
        with self._translating():
            session = self._log_on()
            try:
                yield session
            finally:
                session.end()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except Silent as silent:
            raise self._silent(silent.log_on) from None
        except CompletionCode as refusal:
            raise InfrastructureError(f"{self._place} refused: {refusal}") from None
        except IpmiException as error:
            raise self._no_session(str(error)) from None
        except OSError as error:
            raise InfrastructureError(
                f"{self._place} could not be reached: {error.strerror or error}",
                help="Check machine.address and machine.port of the inventory, and IPMI over LAN there.",
            ) from None

    def _silent(self, log_on: bool) -> TimedOut:
        if log_on:
            seen = f"{self._place} answered, but not to the log-on of {self._user}"
            help = "Check user and password of the machine in the inventory."
        else:
            seen = f"no answer from {self._place}"
            help = "Look whether the controller is there, and UDP reaches it (machine.address, machine.port)."
        return TimedOut("connect", self._seconds, seen, help=help)

    def _no_session(self, said: str) -> InfrastructureError:
        if said == NO_CIPHER:
            other = {3: 17, 17: 3}[self._cipher]
            return InfrastructureError(
                f"{self._place} refused cipher suite {self._cipher}",
                help=f"Enable it in the controller, or set machine.cipher to {other} if that is what it has.",
            )
        if said == IPMI_15:
            return InfrastructureError(
                f"{self._place} speaks IPMI 1.5 only, which protects a log-on by MD5 and nothing else",
                help="Enable IPMI 2.0 (RMCP+) in the controller.",
            )
        if any(text in said for text in _WRONG_CREDENTIALS):
            return CredentialsRefused(
                f"{self._place} refused the credentials of {self._user}",
                help="Check user and password of the machine in the inventory, and that the account may use "
                "IPMI over LAN.",
            )
        return InfrastructureError(f"{self._place} keeps up no session: {said or 'no reason given'}")


def open_machine(settings: Settings, host: Host, clock: Clock) -> IpmiMachine:
    """Raises ConfigurationError when the password is missing or too long."""
    return IpmiMachine(
        settings.address,
        port=settings.port,
        user=settings.user,
        password=settings.password.reveal(),
        cipher=settings.cipher,
        uefi=settings.uefi,
        address=host.address,
        connect_seconds=host.timeouts.connect,
    )
