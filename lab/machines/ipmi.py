"""Power, NMI, boot override and serial console over IPMI 2.0, by pyghmi.

Every call logs on, asks, and logs off: controllers allow few sessions, and forget them when they restart.
The password goes into the HMACs of the log-on and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from pyghmi.exceptions import IpmiException

from lab.inventory import Host
from lab.inventory import IpmiMachine as Settings
from lab.machines.ipmi_session import IPMI_15, NO_CIPHER, CompletionCode, IpmiSession, Silent, SolChannel
from lab.machines.port import BootDevice
from lab.model import Clock, ConfigurationError, CredentialsRefused, InfrastructureError, PowerState, TimedOut

KEEPALIVE_SECONDS = 15.0
"""Controllers end a session that was silent for 60 s (IPMI 2.0, 6.12.15), a console's too."""

_CHASSIS, _APPLICATION = 0x00, 0x06
_CHASSIS_STATUS, _CHASSIS_CONTROL, _SET_BOOT, _GET_BOOT = 0x01, 0x02, 0x08, 0x09  # chapter 28
_PAYLOAD_INSTANCE, _SERIAL_OVER_LAN = 0x4B, 0x01  # 24.5
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
        except Silent:
            raise TimedOut(
                "connect",
                self._seconds,
                f"no answer from {self._place}",
                help="Look whether the controller is there, and whether UDP reaches it "
                "(machine.address, machine.port, IPMI over LAN enabled); raise the time-out 'connect'.",
            ) from None
        except CompletionCode as refusal:
            raise InfrastructureError(f"{self._place} refused: {refusal}") from None
        except IpmiException as error:
            raise self._no_session(str(error)) from None
        except OSError as error:
            raise InfrastructureError(
                f"{self._place} could not be reached: {error.strerror or error}",
                help="Check machine.address and machine.port of the inventory, and IPMI over LAN there.",
            ) from None

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
        return InfrastructureError(f"{self._place} opened no session: {said or 'no reason given'}")


class IpmiConsole:
    """See `lab.machines.port.Console`."""

    def __init__(
        self,
        session: IpmiSession,
        port: int,
        seconds: float,
        translating: Callable[[], AbstractContextManager[None]],
        place: str,
    ) -> None:
        self._session, self._seconds = session, seconds
        self._translating, self._place = translating, place
        self._received = bytearray()
        self._lost = ""
        self._heard = time.monotonic()
        with translating():
            try:
                self._sol = SolChannel(session, port, self._take, seconds=seconds)
            except NotImplementedError:
                self._lost = "it wants the console on another UDP port"
        if self._lost:
            raise InfrastructureError(
                f"{place} opened no console: {self._lost}",
                help="End the other console, or look whether Serial-over-LAN is enabled for the account.",
            )

    def read(self, seconds: float) -> bytes:
        until = time.monotonic() + seconds
        with self._noting_loss():
            while not self._received and not self._lost:
                now = time.monotonic()
                if now - self._heard >= KEEPALIVE_SECONDS:
                    self._keep_alive()
                if now >= until:
                    break
                self._session.wait(min(until - now, KEEPALIVE_SECONDS))
        if not self._received:
            self._expect_open()
        data, self._received = bytes(self._received), bytearray()
        return data

    def write(self, data: bytes) -> None:
        with self._noting_loss():
            if data and not self._lost:
                self._sol.send(data)
        self._expect_open()

    def close(self) -> None:
        """Also after it was lost, and more than once."""
        if not self._lost:
            self._lost = "it was closed"
            with suppress(InfrastructureError, TimedOut), self._translating():
                self._sol.end()

    def _take(self, data: Any) -> None:
        """Bytes of the serial port, or a dict that says what has happened."""
        if isinstance(data, bytes):
            self._heard = time.monotonic()
            self._received += data
        elif "error" in data:
            self._lost = str(data["error"])

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        try:
            with self._translating():
                yield
        except (InfrastructureError, TimedOut) as error:
            self._lost = self._lost or error.message

    def _expect_open(self) -> None:
        if self._lost:
            raise InfrastructureError(f"the console of {self._place} was lost: {self._lost}")

    def _keep_alive(self) -> None:
        """Nothing came for long: is the console still ours?"""
        self._heard = time.monotonic()
        try:
            answer = self._session.command(
                _APPLICATION, _PAYLOAD_INSTANCE, (_SERIAL_OVER_LAN, 1), seconds=self._seconds
            )
        except CompletionCode:
            return  # it does not know the question, but it answered
        if answer[:4] != self._session.sessionid.to_bytes(4, "little"):
            self._lost = "somebody else ended it or took it over"


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
