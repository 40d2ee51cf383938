"""A shell over PowerShell Remoting (MS-PSRP over WinRM), by pypsrp.

Without TLS every message is encrypted by NTLM or Kerberos; with TLS the certificate is verified. One runspace
pool is kept and reused; after any trouble on the wire it is thrown away, because a pool that lost an answer
cannot be trusted with the next.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import certifi
import requests
from pypsrp.complex_objects import ObjectMeta, PSInvocationState
from pypsrp.exceptions import WinRMError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from spnego.exceptions import SpnegoError

from lab.inventory import PsrpShell, Timeouts
from lab.model import (
    Clock,
    ConfigurationError,
    CredentialsRefused,
    GuestError,
    InfrastructureError,
    LabError,
    TimedOut,
)
from lab.windows import shell as windows_shell
from lab.windows.psrp_connection import OneTry, connection_of, unlimited
from lab.windows.psrp_errors import explain, first_lines, is_refusal
from lab.windows.shell import Parameter, Script, parse_output, too_much

for _name in ("pypsrp", "spnego"):
    logging.getLogger(_name).addHandler(logging.NullHandler())  # their errors reach the user as ours

OPERATION_SECONDS = 20
"""The guest answers within this, if only to say that there is nothing yet (wsman:OperationTimeout)."""

IDLE_SECONDS = 60
"""A pool unused for longer is replaced; the guest is told to drop it after three times as long."""

UNKNOWN_SHELL = 0x8033805B
"""ERROR_WSMAN_UNEXPECTED_SELECTORS: the guest knows nothing of our pool; if it says so to the script that
was sent, nothing was run."""

_TRANSPORT_ERRORS = (
    requests.RequestException,
    WinRMError,
    SpnegoError,
    ElementTree.ParseError,
    OSError,
    ValueError,
)


class PsrpGuestShell:
    """See `lab.windows.shell.Shell`. Safe to use from several threads, one script at a time."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        user: str,
        password: str | None,
        tls: bool,
        ca_file: Path | None,
        auth: str,
        timeouts: Timeouts,
        clock: Clock,
    ) -> None:
        self._address = address
        self._port = port
        self._user = user
        self._password = password
        self._tls = tls
        self._ca_file = ca_file
        self._auth = auth
        self._timeouts = timeouts
        self._clock = clock
        self._pool: RunspacePool | None = None
        self._used = 0.0
        self._begun = False  # whether the running script has reached the guest
        self._lock = threading.Lock()

    def run(self, script: Script, **parameters: Parameter) -> list[dict[str, Any]]:
        with self._lock:
            deadline = self._clock.now() + self._timeouts.script
            try:
                text = self._run(script, parameters, deadline)
            except _PoolGone:  # nothing was run, so once more with a new pool
                text = self._run(script, parameters, deadline)
        return parse_output(script, text)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
            if pool is not None:
                with suppress(*_TRANSPORT_ERRORS, LabError):
                    pool.close()
                with suppress(*_TRANSPORT_ERRORS):
                    pool.connection.close()

    def _run(self, script: Script, parameters: dict[str, Parameter], deadline: float) -> str:
        text = script.text()
        with self._translated():
            pool = self._open_pool(script, deadline)
            shell = PowerShell(pool)
            shell.add_script(text, use_local_scope=True)
            for name, value in parameters.items():
                shell.add_parameter(name, _wire(pool, value))
            shell.begin_invoke()
            self._begun = True
            while shell.state == PSInvocationState.RUNNING:
                left = deadline - self._clock.now()
                shell.poll_invoke(timeout=max(1, min(OPERATION_SECONDS, math.ceil(left))))
            connection_of(pool).check = unlimited  # what is still to be said is not the script's
            errors = [first_lines(str(error)) for error in shell.streams.error]
            output = [item for item in shell.output if item is not None]
            state = shell.state
            self._used = self._clock.now()
        try:
            shell.close()
        except (
            *_TRANSPORT_ERRORS,
            LabError,
        ):  # the answer is here already; the guest may be going down, as told
            self._drop()
        if errors or state != PSInvocationState.COMPLETED:
            raise GuestError(f"script {script.name} failed: {'; '.join(errors) or 'it was stopped'}")
        return "".join(str(item) for item in output)

    def _limit(self, wire: OneTry, script: Script, deadline: float) -> None:
        """Before each request: look whether there is time for it, and whether the guest has sent enough."""
        before = wire.received

        def check() -> None:
            if self._clock.now() >= deadline:
                seen = f"{script.name} still runs" if self._begun else f"{script.name} is not begun yet"
                raise TimedOut("script", self._timeouts.script, seen)
            most = 2 * windows_shell.MOST_OUTPUT
            if wire.received - before > most:
                raise (
                    too_much(script)
                    if self._begun
                    else self._trouble(f"sent more than {most} bytes, and opened no session")
                )

        wire.check = check

    def _open_pool(self, script: Script, deadline: float) -> RunspacePool:
        if self._pool is not None and self._clock.now() - self._used > IDLE_SECONDS:
            self._drop()
        if self._pool is not None:
            self._limit(connection_of(self._pool), script, deadline)
        else:
            seconds = math.ceil(self._timeouts.connect)
            connection = OneTry(
                self._address,
                port=self._port,
                username=self._user,
                password=self._password,
                ssl=self._tls,
                auth=self._auth,
                # a path always: with True the environment could name another
                cert_validation=str(self._ca_file or certifi.where()),
                encryption="auto" if self._tls else "always",
                connection_timeout=seconds,
                operation_timeout=seconds,
                read_timeout=seconds + 2,
                no_proxy=True,
                place=self._place(),
                answer_seconds=2 * (OPERATION_SECONDS + seconds),
            )
            self._limit(connection, script, deadline)
            pool = RunspacePool(connection, no_profile=True, idle_timeout=3 * IDLE_SECONDS)
            try:
                pool.open()
            except BaseException:
                connection.close()
                raise
            connection.operation_timeout = OPERATION_SECONDS
            connection.transport.read_timeout = OPERATION_SECONDS + seconds
            self._pool = pool
        return self._pool

    def _drop(self) -> None:
        """Forget the pool without asking the guest: it may not be there to answer."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(*_TRANSPORT_ERRORS):
                pool.connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        reused, self._begun = self._pool is not None, False
        try:
            yield
        except LabError:
            self._drop()
            raise
        except WSManFaultError as error:
            self._drop()
            if reused and not self._begun and error.code == UNKNOWN_SHELL:
                raise _PoolGone from None
            if error.code is None and error.reason is None:
                raise self._trouble("does not answer as WinRM", "Is this the port of WinRM?") from None
            what = error.reason or error.provider_fault or "no reason given"
            raise self._trouble(f"answered with a fault ({error.code}): {first_lines(str(what))}") from None
        except Exception as error:  # pypsrp passes on whatever its parsers stumble over
            self._drop()
            if reused and not self._begun and isinstance(error, WinRMTransportError):
                # After a restart the first request is still encrypted by the log-on of the old boot,
                # and the new one refuses what it cannot decrypt.
                raise _PoolGone from None
            if is_refusal(error):
                raise CredentialsRefused(
                    f"{self._place()} refused the credentials of {self._user} ({self._auth})",
                    help="Check user and password of guest.shell in the inventory.",
                ) from None
            raise self._trouble(*explain(error, self._address, self._auth)) from None
        except BaseException:  # Ctrl-C in the middle of an answer spoils the pool, too
            self._drop()
            raise

    def _trouble(self, what: str, help: str | None = None) -> InfrastructureError:
        return InfrastructureError(f"{self._place()} {what}", help=help)

    def _place(self) -> str:
        return f"WinRM of {self._address}:{self._port}"


class _PoolGone(Exception):
    """The guest has forgotten our pool (it restarted, or the pool idled too long)."""


def _wire(pool: RunspacePool, value: Parameter) -> Any:
    """pypsrp sends every int as 32 bits; a larger one must be said to be 64."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**31) <= value < 2**31:
        return pool.serialize(value, ObjectMeta("I64"))
    return value


def open_shell(address: str, settings: PsrpShell, timeouts: Timeouts, clock: Clock) -> PsrpGuestShell:
    """A shell for those settings. Raises ConfigurationError when its secret or its CA file is missing."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise ConfigurationError(
            f"the certificate file {settings.ca_file} of guest.shell.ca_file does not exist",
            help="Put the PEM file of the certificate's issuer there.",
        )
    return PsrpGuestShell(
        address,
        settings.tcp_port,
        user=settings.user,
        password=settings.password.reveal() if settings.password else None,
        tls=settings.tls,
        ca_file=settings.ca_file,
        auth=settings.auth,
        timeouts=timeouts,
        clock=clock,
    )
