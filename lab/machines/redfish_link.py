"""What stands between the Redfish machine and sushy: connecting, asking again, and errors as ours."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import sushy
from sushy import auth, exceptions

from lab.machines.quirks import BUSY, LATER, Behaviour, behaviour
from lab.model import Clock, CredentialsRefused, InfrastructureError, LabError, TimedOut
from lab.model.answers import limit_answers

logging.getLogger("sushy").addHandler(logging.NullHandler())  # its errors reach the user as ours

T = TypeVar("T")

READ_SECONDS = 60
"""Controllers are slow: tens of seconds for a reset are not rare."""

ANSWER_SECONDS = 120.0
"""For the whole of one answer, however slowly it comes."""

MOST_ANSWER = 8 << 20
"""Bytes of one answer; what we ask for is some KB, a controller's whole registry of messages some 100 KB."""

RETRY_SECONDS = 2.0

_OPTICAL = (sushy.VirtualMediaType.CD, sushy.VirtualMediaType.DVD, sushy.VirtualMediaType.USB_STICK)
"""Kinds of virtual drives that take an ISO image, best first."""


class RedfishLink:
    """One computer system behind one controller. Connects on first use, and anew after an error."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        ca_file: Path | None,
        system: str,
        connect_seconds: float,
        power_seconds: float,
        clock: Clock,
    ) -> None:
        self._url = url.rstrip("/")
        self._user = user
        self._password = password
        self._ca_file = ca_file
        self._identity = system
        self._connect_seconds = connect_seconds
        self._power_seconds = power_seconds
        self._clock = clock
        self._connector: Any = None
        self._system: Any = None
        self._asking = "power", power_seconds, math.inf
        self.place = f"Redfish at {self._url}"

    def fresh(self) -> Any:
        system = self.system()
        system.refresh(force=True)
        return system

    def system(self) -> Any:
        if self._system is None:
            connector = _Connector(
                self._check,
                self.place,
                self._url,
                verify=str(self._ca_file) if self._ca_file else True,
                default_request_timeout=READ_SECONDS,
                connect_timeout=math.ceil(self._connect_seconds),
                server_side_retries=1,
                server_side_retries_delay=1,
            )
            limit_answers(
                connector._session.adapters.values(), self.place, most=MOST_ANSWER, seconds=ANSWER_SECONDS
            )
            # As UTF-8 (RFC 7617); requests would send text as Latin-1.
            credentials = auth.BasicAuth(self._user.encode(), self._password.encode())
            root: Any = sushy.Sushy(self._url, auth=credentials, connector=connector)
            try:
                self._system = root.get_system(self._path())
            except exceptions.ResourceNotFoundError:
                raise InfrastructureError(
                    f"{self.place} has no system '{self._identity or 'default'}'",
                    help="Set machine.system in the inventory to one of its systems.",
                ) from None
            self._connector = connector
        return self._system

    def _path(self) -> str | None:
        if not self._identity or self._identity.startswith("/"):
            return self._identity or None
        return f"/redfish/v1/Systems/{self._identity}"

    def asked(self, call: Callable[[], T], *, wait: str = "power", seconds: float | None = None) -> T:
        """What `call` returns; asked again while the controller answers that it is busy (503).

        Raises what `lab.machines.port.Machine` says.
        """
        limit = self._power_seconds if seconds is None else seconds
        deadline = self._clock.now() + limit
        self._asking = wait, limit + READ_SECONDS, deadline + READ_SECONDS
        while True:
            try:
                with self._translating():
                    return call()
            except _Busy as busy:
                left = deadline - self._clock.now()
                if left <= 0:
                    raise TimedOut(wait, limit, f"{self.place}: {busy}") from None
                self._clock.sleep(min(RETRY_SECONDS, left))

    def _check(self) -> None:
        """Before each request: a controller may name more members and links than there is time to follow."""
        wait, limit, deadline = self._asking
        if self._clock.now() > deadline:
            raise TimedOut(wait, limit, f"{self.place} still answers, and each answer leads to another")

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
            return
        except LabError:
            self._system = None
            raise
        except exceptions.AccessError as error:
            failed: Exception = self._denied(error)
        except exceptions.ConnectionError as error:
            failed = InfrastructureError(
                f"{self.place} could not be reached: {_reason(error)}", help=_certificate_help(error)
            )
        except exceptions.HTTPError as error:
            refused = InfrastructureError(f"{self.place} refused: {said(error)}")
            later = error.status_code == 503 or any(text in str(error) for text in LATER)
            failed = _Busy(said(error)) if later else refused
        except exceptions.SushyError as error:
            failed = InfrastructureError(f"{self.place} refused: {_shorten(str(error))}")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            failed = InfrastructureError(
                f"{self.place} gave an answer that is not Redfish: {_shorten(str(error))}"
            )
        self._system = None
        raise failed from None

    def _denied(self, error: exceptions.AccessError) -> InfrastructureError:
        if error.status_code == 403:
            return InfrastructureError(
                f"{self.place} does not let {self._user} do this: {said(error)}",
                help="Give the account the rights to control power, boot and virtual media.",
            )
        return CredentialsRefused(
            f"{self.place} refused the credentials of {self._user}",
            help="Check user and password of the machine in the inventory.",
        )

    def behaviour(self) -> Behaviour:
        system = self.system()
        managers = system.managers
        controller = managers[0].model if managers else None
        return behaviour(system.manufacturer or "", system.model or "", controller or "")

    def drive(self) -> Any:
        """The virtual drive for an ISO image, as it is now."""
        system, pattern = self.system(), self.behaviour().drives
        owners = [system, *system.managers]
        for owner in owners:  # of the system in newer models of the standard, of its manager in older ones
            try:
                drives = owner.virtual_media.get_members()
            except (exceptions.MissingAttributeError, exceptions.ResourceNotFoundError):
                continue
            named = [each for each in drives if re.fullmatch(pattern, each.identity or "", re.IGNORECASE)]
            for kind in _OPTICAL:
                for drive in named or drives:
                    if kind in drive.media_types:
                        drive.refresh(force=True)
                        return drive
        raise InfrastructureError(
            f"{self.place} has no virtual drive for an ISO image",
            help="Virtual media may need a licence of the controller's, or a right of the account's.",
        )

    def set_attributes(self, attributes: Mapping[str, str], places: Iterable[str]) -> None:
        """Of the manager, at the first of those places below it that is there."""
        path = self._first(places)
        self._connector.patch(path, data={"Attributes": dict(attributes)})
        kept = self._connector.get(path).json().get("Attributes", {})
        lost = sorted(name for name, value in attributes.items() if kept.get(name) != value)
        if lost:
            raise InfrastructureError(f"{self.place} took {', '.join(lost)}, but does not hold them")

    def _first(self, places: Iterable[str]) -> str:
        manager = self.system().managers[0]
        for place in places:
            path = f"{manager.path.rstrip('/')}/{place.format(manager=manager.identity)}"
            try:
                self._connector.get(path)
            except exceptions.ResourceNotFoundError:
                continue
            return path
        raise InfrastructureError(f"{self.place} does not show the attributes of its manager")


class _Connector(sushy.connector.Connector):
    """Asks before each request whether there is time left, and takes no answer from elsewhere.

    requests follows a redirection of a POST with a GET, whose success would look like that of a reset.
    """

    def __init__(self, check: Callable[[], None], place: str, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)  # type: ignore[no-untyped-call]
        self._check, self._place = check, place

    def _op(self, method: str, *args: Any, **named: Any) -> Any:
        self._check()
        answer = super()._op(method, *args, **named)  # type: ignore[no-untyped-call]
        if answer.history:
            first, last = answer.history[0].request, answer.request
            origins = {urlsplit(each.url)[:2] for each in (first, last)}
            if last.method != first.method or len(origins) > 1:
                raise InfrastructureError(
                    f"{self._place} answers {first.method} {urlsplit(first.url).path} "
                    f"with a redirection to {_shorten(last.url)}",
                    help="Set machine.url to where the controller itself answers.",
                )
        return answer


class _Busy(Exception):
    """The controller asks to come back later."""


def busy(error: exceptions.HTTPError) -> bool:
    """Whether it is worth another try a little later."""
    return error.status_code == 503 or any(text in str(error) for text in BUSY)


def empty(drive: Any) -> bool:
    """Of a virtual drive. Supermicro shows the image after it was ejected, as not connected.

    Source: github.com/ansible-collections/community.general/pull/7470
    """
    if drive.connected_via is sushy.ConnectedVia.NOT_CONNECTED:
        return True
    return not (drive.image if drive.inserted is None else drive.inserted)


def said(error: Exception) -> str:
    """What the controller answered, on one short line."""
    if isinstance(error, exceptions.HTTPError):
        return _shorten(f"{_detail(error) or 'no reason given'} (HTTP {error.status_code})")
    return _shorten(str(error))


def _detail(error: exceptions.HTTPError) -> str:
    """The message; iLO gives none, but points to its name and arguments."""
    said = str(error.detail or "")
    if said and "ExtendedInfo" not in said:
        return said
    told = error.extended_info if isinstance(error.extended_info, list) else []
    named = [each for each in told if isinstance(each, dict) and each.get("MessageId")]
    return "; ".join(
        " ".join(map(str, (each["MessageId"], *(each.get("MessageArgs") or ())))) for each in named
    )


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
