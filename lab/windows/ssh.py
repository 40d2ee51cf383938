"""A shell over OpenSSH for Windows, by paramiko: the same scripts, the host key pinned.

The command line holds only a small loader; script and parameters go as one line of JSON on standard input,
because cmd.exe, the server's usual shell, takes no more than 8191 characters. The answer is one line of JSON
on standard output.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko

from lab.inventory import SshShell, Timeouts
from lab.model import (
    Clock,
    ConfigurationError,
    CredentialsRefused,
    GuestError,
    InfrastructureError,
    TimedOut,
)
from lab.windows.shell import Parameter, Script, parse_output

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its errors reach the user as ours

LOADER = """\
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
try {
    $task = ConvertFrom-Json -InputObject ([Console]::In.ReadLine())
    $named = @{}
    foreach ($p in $task.parameters.PSObject.Properties) { $named[$p.Name] = $p.Value }
    $output = @(& ([scriptblock]::Create($task.script)) @named)
    $answer = @{ output = (-join $output) }
    $code = 0
} catch {
    $answer = @{ error = $_.Exception.Message }
    $code = 1
}
[Console]::Out.WriteLine((ConvertTo-Json -InputObject $answer -Compress))
exit $code
"""
"""Windows PowerShell 5.1: runs the script it reads, and answers {"output": text} or {"error": message}."""

CHUNK = 1 << 16

_SILENCE = ("No existing session", "protocol banner", "Timeout opening channel", "Authentication timeout")
"""Of paramiko's messages, those of a server that accepts connections and says nothing useful."""


class SshGuestShell:
    """See `lab.windows.shell.Shell`. Safe to use from several threads, one script at a time."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        user: str,
        host_key: str,
        password: str | None,
        key_file: Path | None,
        key_passphrase: str | None,
        powershell: str,
        timeouts: Timeouts,
        clock: Clock,
    ) -> None:
        self._address = address
        self._port = port
        self._user = user
        self._host_key = host_key
        self._password = password
        self._key_file = key_file
        self._key_passphrase = key_passphrase
        self._command = command(powershell)
        self._timeouts = timeouts
        self._clock = clock
        self._client: paramiko.SSHClient | None = None
        self._lock = threading.Lock()

    def run(self, script: Script, **parameters: Parameter) -> list[dict[str, Any]]:
        task = json.dumps({"script": script.text(), "parameters": parameters}, ensure_ascii=True)
        with self._lock:
            deadline = self._clock.now() + self._timeouts.script
            try:
                output, errors, code = self._exchange(script, task.encode("ascii") + b"\n", deadline)
            except (TimedOut, InfrastructureError, ConfigurationError):
                self._drop()
                raise
            except (paramiko.SSHException, OSError, EOFError) as error:
                self._drop()
                raise self._trouble(f"broke off: {_reason(error)}") from None
            except BaseException:  # Ctrl-C in the middle of an answer spoils the connection, too
                self._drop()
                raise
        return parse_output(script, _answer(script, output, errors, code))

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(OSError, paramiko.SSHException):
                client.close()

    def _exchange(self, script: Script, task: bytes, deadline: float) -> tuple[bytes, bytes, int]:
        """Run the loader on a new channel: standard output, standard error, exit code."""
        transport = self._connected().get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=self._timeouts.connect)
        try:
            channel.settimeout(self._timeouts.connect)
            channel.exec_command(self._command)
            channel.sendall(task)
            channel.shutdown_write()
            output, errors = bytearray(), bytearray()
            while True:
                idle = True
                while channel.recv_ready():
                    output += channel.recv(CHUNK)
                    idle = False
                while channel.recv_stderr_ready():
                    errors += channel.recv_stderr(CHUNK)
                    idle = False
                if idle and (channel.exit_status_ready() or channel.closed) and channel.eof_received:
                    break
                if not transport.is_active():
                    raise self._trouble(f"broke off while {script.name} ran")
                if self._clock.now() >= deadline:
                    raise TimedOut("script", self._timeouts.script, f"{script.name} still runs")
                if idle:
                    self._clock.sleep(0.02)
            if not channel.exit_status_ready():
                raise self._trouble(f"broke off while {script.name} ran")
            return bytes(output), bytes(errors), channel.recv_exit_status()
        finally:
            channel.close()

    def _connected(self) -> paramiko.SSHClient:
        transport = self._client.get_transport() if self._client else None
        if self._client is not None and transport is not None and transport.is_active():
            return self._client
        self._drop()
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        key = _public_key(self._host_key)
        for name in (self._address, f"[{self._address}]:{self._port}"):
            client.get_host_keys().add(name, key.get_name(), key)
        seconds = self._timeouts.connect
        try:
            client.connect(
                self._address,
                port=self._port,
                username=self._user,
                password=self._password,
                key_filename=str(self._key_file) if self._key_file else None,
                passphrase=self._key_passphrase,
                timeout=seconds,
                banner_timeout=seconds,
                auth_timeout=seconds,
                channel_timeout=seconds,
                allow_agent=False,
                look_for_keys=False,
            )
        except (paramiko.BadHostKeyException, paramiko.SSHException, OSError, EOFError) as error:
            client.close()
            raise self._refused(error) from None
        self._client = client
        return client

    def _refused(self, error: Exception) -> Exception:
        if isinstance(error, paramiko.BadHostKeyException):
            return self._trouble(
                f"has another host key ({error.key.get_name()}) than the inventory says",
                "Find out why it changed; then set guest.shell.host_key.",
            )
        if isinstance(error, paramiko.PasswordRequiredException):
            return ConfigurationError(
                f"the key file {self._key_file} needs a passphrase", help="Set guest.shell.key_passphrase."
            )
        if isinstance(error, paramiko.AuthenticationException) and not _lost(error):
            return CredentialsRefused(
                f"{self._place()} refused the credentials of {self._user}",
                help="Check user and key or password of guest.shell in the inventory.",
            )
        if "not found in known_hosts" in str(error):
            return self._trouble(
                "has no host key of the kind the inventory pins",
                "Set guest.shell.host_key to a line that ssh-keyscan shows.",
            )
        if isinstance(error, FileNotFoundError) and self._key_file:
            return ConfigurationError(f"the key file {self._key_file} does not exist")
        if isinstance(error, TimeoutError) or any(sign in str(error) for sign in _SILENCE):
            return self._trouble(f"did not answer as an SSH server within {self._timeouts.connect:g} s")
        return self._trouble(f"could not be reached: {_reason(error)}")

    def _trouble(self, what: str, help: str | None = None) -> InfrastructureError:
        return InfrastructureError(f"{self._place()} {what}", help=help)

    def _place(self) -> str:
        return f"SSH of {self._address}:{self._port}"


def command(powershell: str) -> str:
    """The command line that reads one task from standard input."""
    if not re.fullmatch(r"[\w.:\\/-]+", powershell):
        raise ConfigurationError(
            f"guest.shell.powershell {powershell!r} is not a plain path",
            help="Use a path without blanks, such as powershell.exe.",
        )
    encoded = base64.b64encode(LOADER.encode("utf-16-le")).decode("ascii")
    return (
        f"{powershell} -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass "
        f"-OutputFormat Text -EncodedCommand {encoded}"
    )


def _answer(script: Script, output: bytes, errors: bytes, code: int) -> str:
    try:
        answer = json.loads(output.decode("utf-8").lstrip("\ufeff"))
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        raise GuestError(f"script {script.name} failed: {' '.join(answer['error'].split())[:400]}")
    if code == 0 and isinstance(answer, dict) and isinstance(answer.get("output"), str):
        return str(answer["output"])
    said = " ".join((errors or output).decode("utf-8", "replace").split())[:400]
    raise GuestError(
        f"script {script.name} did not run: PowerShell ended with exit code {code} ({said or 'no message'})"
    )


def _public_key(line: str) -> paramiko.PKey:
    kind, data, *_ = line.split()
    try:
        return paramiko.PKey.from_type_string(kind, base64.b64decode(data, validate=True))
    except (ValueError, paramiko.SSHException, IndexError, KeyError):
        raise ConfigurationError(
            f"guest.shell.host_key is not a public key: {line[:40]!r}",
            help="Set it to a line that ssh-keyscan shows, without the host's name.",
        ) from None


def _lost(error: paramiko.AuthenticationException) -> bool:
    """Whether the server fell silent or hung up in the middle of the log-on, as a guest that goes down does.

    paramiko has no class of its own for that.
    """
    return any(sign in str(error) for sign in ("Authentication timeout", "transport shut down"))


def _reason(error: BaseException) -> str:
    inner = (
        list(error.errors.values())
        if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError)
        else []
    )
    if inner:
        error = inner[0]
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown name"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def open_shell(address: str, settings: SshShell, timeouts: Timeouts, clock: Clock) -> SshGuestShell:
    """A shell for those settings. Raises ConfigurationError when a secret or the key file is missing."""
    if settings.key_file is not None and not settings.key_file.is_file():
        raise ConfigurationError(f"the key file {settings.key_file} of guest.shell.key_file does not exist")
    _public_key(settings.host_key)
    return SshGuestShell(
        address,
        settings.port,
        user=settings.user,
        host_key=settings.host_key,
        password=settings.password.reveal() if settings.password else None,
        key_file=settings.key_file,
        key_passphrase=settings.key_passphrase.reveal() if settings.key_passphrase else None,
        powershell=settings.powershell,
        timeouts=timeouts,
        clock=clock,
    )
