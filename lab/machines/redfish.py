"""Power and NMI through a management controller that speaks Redfish, by sushy.

TLS is always verified. Basic authentication, so that no session is left open on controllers that allow few.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sushy
from sushy import auth, exceptions

from lab.inventory import Host
from lab.inventory import RedfishMachine as Settings
from lab.model import Clock, ConfigurationError, InfrastructureError, PowerState

logging.getLogger("sushy").addHandler(logging.NullHandler())  # its errors reach the user as ours

T = TypeVar("T")

READ_SECONDS = 60
"""Controllers are slow: tens of seconds for a reset are not rare."""

_STATES = {
    sushy.PowerState.ON: PowerState.ON,
    sushy.PowerState.OFF: PowerState.OFF,
    sushy.PowerState.POWERING_ON: PowerState.OFF,
    sushy.PowerState.POWERING_OFF: PowerState.ON,
}


class RedfishMachine:
    """See `lab.machines.port.Machine`."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        ca_file: Path | None,
        system: str,
        address: str,
        connect_seconds: float,
    ) -> None:
        self._url = url.rstrip("/")
        self._user = user
        self._password = password
        self._ca_file = ca_file
        self._identity = system
        self._address = address
        self._connect_seconds = connect_seconds
        self._system: Any = None

    def power_state(self) -> PowerState:
        def read() -> PowerState:
            system = self._connected()
            system.refresh(force=True)
            return _STATES.get(system.power_state, PowerState.UNKNOWN)

        return self._translated(read)

    def power_on(self) -> None:
        self._reset(sushy.ResetType.ON)

    def power_off(self) -> None:
        self._reset(sushy.ResetType.FORCE_OFF)

    def reset(self) -> None:
        self._reset(sushy.ResetType.FORCE_RESTART)

    def interrupt(self) -> None:
        self._reset(sushy.ResetType.NMI)

    def address(self) -> str:
        return self._address

    def _reset(self, kind: sushy.ResetType) -> None:
        self._translated(lambda: self._connected().reset_system(kind))

    def _connected(self) -> Any:
        if self._system is None:
            connector = sushy.connector.Connector(
                self._url,
                verify=str(self._ca_file) if self._ca_file else True,
                default_request_timeout=READ_SECONDS,
                connect_timeout=math.ceil(self._connect_seconds),
                server_side_retries=1,
                server_side_retries_delay=1,
            )
            # As UTF-8 (RFC 7617); requests would send text as Latin-1.
            credentials = auth.BasicAuth(self._user.encode(), self._password.encode())
            root: Any = sushy.Sushy(self._url, auth=credentials, connector=connector)
            self._system = root.get_system(self._path())
        return self._system

    def _path(self) -> str | None:
        if not self._identity or self._identity.startswith("/"):
            return self._identity or None
        return f"/redfish/v1/Systems/{self._identity}"

    def _translated(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except exceptions.AccessError:
            self._system = None
            raise InfrastructureError(
                f"Redfish at {self._url} refused the credentials of {self._user}",
                help="Check user and password of the machine in the inventory.",
            ) from None
        except exceptions.ConnectionError as error:
            self._system = None
            raise InfrastructureError(
                f"Redfish at {self._url} could not be reached: {_reason(error)}",
                help=_certificate_help(error),
            ) from None
        except exceptions.ResourceNotFoundError:
            self._system = None
            raise InfrastructureError(
                f"Redfish at {self._url} has no system '{self._identity or 'default'}'",
                help="Set machine.system in the inventory to one of its systems.",
            ) from None
        except exceptions.SushyError as error:
            self._system = None
            raise InfrastructureError(f"Redfish at {self._url} refused: {_shorten(str(error))}") from None


def _certificate_help(error: Exception) -> str | None:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "Set machine.ca_file to the PEM file of the certificate's issuer."
    return None


def _reason(error: Exception) -> str:
    """The end of a message that wraps others, where the cause stands."""
    text = str(error)
    if "certificate verify failed: " in text:
        cause = text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return _shorten(f"certificate verify failed: {cause}")
    if "[Errno " in text:
        return _shorten(text.rpartition("[Errno ")[2].partition("] ")[2].rstrip(")'\""))
    return _shorten(text.rpartition(": ")[2].rstrip(")'\"") or text)


def _shorten(text: str, most: int = 300) -> str:
    return " ".join(text.split())[:most]


def open_machine(settings: Settings, host: Host, clock: Clock) -> RedfishMachine:
    """Raises ConfigurationError when the password or the CA file is missing."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise ConfigurationError(
            f"host '{host.name}': the certificate file {settings.ca_file} of machine.ca_file does not exist",
            help="Put the PEM file of the certificate's issuer there.",
        )
    return RedfishMachine(
        settings.url,
        user=settings.user,
        password=settings.password.reveal(),
        ca_file=settings.ca_file,
        system=settings.system,
        address=host.address,
        connect_seconds=host.timeouts.connect,
    )
