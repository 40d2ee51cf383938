"""A session with a vCenter: verified TLS, log-on, and log-on again when the session was lost.

Reads are tried once more after the session or the connection was lost. Actions are not, unless it is certain
that the first attempt did nothing: vCenter answered NotAuthenticated, or no connection was made.

pyvmomi does not verify certificates on loopback unless it is given a context, so it always gets one. Nothing
here goes through `requests`: variables such as REQUESTS_CA_BUNDLE or HTTPS_PROXY have no effect.
"""

from __future__ import annotations

import base64
import http.client
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

from lab.machines.vsphere import tls
from lab.machines.vsphere.faults import (
    LOST,
    VcenterFault,
    bad_credentials,
    readable,
    refusal,
    said,
    unreachable,
)
from lab.model import InfrastructureError

T = TypeVar("T")

KEEP_ALIVE_SECONDS = 300
"""A vCenter forgets a session that was idle for 30 minutes, unless it is set otherwise."""

ANSWER_SECONDS = 60
"""A single call; long work is done in tasks, which are waited for separately."""

IDLE_SECONDS = 20
"""After so long without a call an action is preceded by a read, so that it meets a live connection."""

MOST_CONNECTIONS = 16

_connect: Any = SmartConnect  # has no types


class Session:
    """One log-on to one vCenter, for any number of threads. Connects at the first call."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: Callable[[], str],
        ca_file: Path | None = None,
        thumbprint: str | None = None,
        connect_seconds: float = 15,
    ) -> None:
        """`thumbprint`: SHA-256 of the server's own certificate, 64 hexadecimal digits. Without `ca_file` it
        is all that is checked: neither name nor dates of the certificate are. With neither of them the
        certificate is checked against the issuers that the system trusts.

        Raises ConfigurationError when the CA file is not there or is none.
        """
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self.user = user
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._password = password
        self._connect_seconds = connect_seconds
        self._context = tls.context(ca_file, thumbprint, ANSWER_SECONDS)
        self._lock = threading.Lock()
        self._instance: Any = None
        self._log_ons = 0
        self._used = 0.0
        self._over = threading.Event()  # set while nobody is logged on
        self._over.set()

    def __repr__(self) -> str:
        return f"Session({self.url!r}, user={self.user!r})"

    @property
    def content(self) -> Any:
        """The vCenter's managers and its root folder."""
        return self.read(lambda: self._connected().RetrieveContent(), "its list of managers")

    def read(self, call: Callable[[], T], about: str = "a question") -> T:
        """What `call` returns; it must change nothing, as it may be called twice.

        Raises VcenterFault, InfrastructureError when the vCenter cannot be reached, CredentialsRefused, and
        ConfigurationError when the password cannot be looked up.
        """
        reconnected = logged_on = False
        while True:
            log_on = self._log_on()
            try:
                return self._called(call)
            except vim.fault.NotAuthenticated as fault:
                if logged_on:
                    raise self.refused(about, fault) from None
                logged_on = True
                self._log_on_again(log_on)
            except LOST as error:
                if reconnected:
                    raise unreachable(self.url, error) from None
                reconnected = True
                self._connected()._stub.DropConnections()
                self._knock()
            except vmodl.MethodFault as fault:
                raise self.refused(about, fault) from None

    def act(self, call: Callable[[], T], about: str) -> T:
        """What `call` returns, which changes something. `about` names it in errors: "power on of srv1".

        Never repeated when it may have been carried out: then an InfrastructureError says so.
        """
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.read(lambda: self._connected().CurrentTime())
        for log_on in (self._log_on(), None):
            try:
                return self._called(call)
            except vim.fault.NotAuthenticated as fault:
                if log_on is None:
                    raise self.refused(about, fault) from None
                self._log_on_again(log_on)  # it was refused before anything was done
            except (ConnectionRefusedError, socket.gaierror) as error:
                raise unreachable(self.url, error) from None
            except LOST as error:
                raise InfrastructureError(
                    f"the connection to {self.url} was lost during {about}: {said(error)}",
                    help="Whether it was carried out is not known: look at the machine in the vCenter.",
                ) from None
            except vmodl.MethodFault as fault:
                raise self.refused(about, fault) from None
        raise AssertionError("not reached")

    def refused(self, about: str, fault: Any) -> VcenterFault:
        """The vCenter's own words on why `about` was not done."""
        return refusal(self.url, self.user, about, fault)

    def get(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """Ask for what the vCenter's web server has, as a file of a datastore: /folder/PATH?dcPath=…&dsName=…

        The caller looks at the status, reads and closes it. Raises InfrastructureError.
        """
        return self.request("GET", path, headers)

    def request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        *,
        body: bytes | None = None,
        log_on: bool = False,
    ) -> http.client.HTTPResponse:
        """As `get`, for any method that may be repeated. `log_on`: with user and password instead of the
        session, as REST wants it to make a session of its own.
        """

        def ask() -> http.client.HTTPResponse:
            connection = http.client.HTTPSConnection(
                self._host, self._port, context=self._context, timeout=ANSWER_SECONDS
            )
            who = {"Cookie": str(self._connected()._stub.cookie).partition(";")[0]}
            if log_on:
                pair = base64.b64encode(f"{self.user}:{self._password()}".encode()).decode()
                who = {"Authorization": f"Basic {pair}"}
            connection.request(method, path, body, {"Connection": "close", **who, **(headers or {})})
            answer = connection.getresponse()
            if answer.status == http.client.UNAUTHORIZED:
                answer.close()
                raise vim.fault.NotAuthenticated(msg=f"{path} needs a log-on")
            return answer

        return self.read(ask, path)

    def object(self, kind: Any, identity: str) -> Any:
        """The managed object with an identity of the vCenter's, as `vm-63`. It need not be there."""
        return kind(identity, self._connected()._stub)

    def close(self) -> None:
        """Log off. The next call logs on again, and objects found before stay usable."""
        with self._lock:
            self._over.set()
            if self._instance is None:
                return
            with suppress(vmodl.MethodFault, *LOST):  # the session may be gone already
                self._instance.RetrieveContent().sessionManager.Logout()
            self._instance._stub.DropConnections()

    # How it is kept up.

    def _called(self, call: Callable[[], T]) -> T:
        self._used = time.monotonic()
        return call()

    def _log_on(self) -> int:
        """The number of the log-on that calls go by now."""
        self._connected()
        return self._log_ons

    def _connected(self) -> Any:
        with self._lock:
            if self._instance is None:
                self._instance = self._new()
                self._logged_on()
            return self._instance

    def _logged_on(self) -> None:
        self._log_ons += 1
        if self._over.is_set():
            self._over = threading.Event()
            threading.Thread(
                target=self._keep_alive, args=(self._over,), name="vcenter-keep-alive", daemon=True
            ).start()

    def _new(self) -> Any:
        """Raises InfrastructureError when there is no verified connection, CredentialsRefused, and what
        looking up the password raises."""
        self._knock()
        password = self._password()  # whose errors are the inventory's, and not the vCenter's
        try:
            instance = _connect(
                host=self._host,
                port=self._port,
                user=self.user,
                pwd=password,
                sslContext=self._context,
                httpConnectionTimeout=ANSWER_SECONDS,
            )
        except vim.fault.InvalidLogin as fault:
            raise bad_credentials(self.url, self.user, fault) from None
        except vmodl.MethodFault as fault:
            raise self.refused("the log-on", fault) from None
        except LOST as error:
            raise unreachable(self.url, error) from None
        except Exception as error:  # pyvmomi raises bare ones for a server that is no vCenter
            raise InfrastructureError(
                f"{self.url} does not answer as a vCenter does: {said(error)}"
            ) from None
        stub = instance._stub
        stub.poolSize = MOST_CONNECTIONS
        stub.InvokeMethod = readable(self.url, stub.InvokeMethod)
        return instance

    def _knock(self) -> None:
        """Connect and shake hands within the time-out `connect`: pyvmomi has one time-out for everything."""
        try:
            with (
                socket.create_connection((self._host, self._port), self._connect_seconds) as plain,
                self._context.wrap_socket(plain, server_hostname=self._host),
            ):
                pass
        except OSError as error:
            raise unreachable(self.url, error) from None

    def _log_on_again(self, log_on: int) -> None:
        """With the same stub, so that managed objects in the hands of callers stay usable."""
        with self._lock:
            if self._log_ons != log_on or self._instance is None:
                return  # another thread has done it
            stub = self._instance._stub
            stub.DropConnections()
            stub.SetSessionId(None)
            self._knock()
            try:
                self._instance.RetrieveContent().sessionManager.Login(self.user, self._password(), None)
            except vim.fault.InvalidLogin as fault:
                raise bad_credentials(self.url, self.user, fault) from None
            except vmodl.MethodFault as fault:
                raise self.refused("the log-on", fault) from None
            except LOST as error:
                raise unreachable(self.url, error) from None
            self._logged_on()

    def _keep_alive(self, over: threading.Event) -> None:
        while not over.wait(KEEP_ALIVE_SECONDS):
            with suppress(vmodl.MethodFault, *LOST):  # the next call will tell, and log on again
                self._instance.CurrentTime()
