"""A shell over OpenSSH for Windows, by paramiko: the same scripts, the host key pinned.

The command line holds only a small loader; script and parameters go as one line of JSON on standard input,
because cmd.exe, the server's usual shell, takes no more than 8191 characters. The answer is Base64 of JSON
between two marks on standard output: what else is written there, and in which encoding, does not matter.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import threading
from contextlib import suppress
from typing import Any

import paramiko

from lab.inventory import SshShell, Timeouts
from lab.model import Clock, ConfigurationError, GuestError, InfrastructureError, TimedOut
from lab.windows import shell
from lab.windows.clixml import plain
from lab.windows.shell import Parameter, Script, parse_output, too_much
from lab.windows.ssh_connection import SshAccess, SshConnection, access_of

LOADER = """\
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$mark = ''
try {
    $task = ConvertFrom-Json -InputObject ([Console]::In.ReadLine())
    $mark = $task.mark
    $named = @{}
    foreach ($p in $task.parameters.PSObject.Properties) { $named[$p.Name] = $p.Value }
    $output = @(& ([scriptblock]::Create($task.script)) @named)
    $answer = @{ output = (-join $output) }
    $code = 0
} catch {
    $answer = @{ error = $_.Exception.Message }
    $code = 1
}
$bytes = [Text.Encoding]::UTF8.GetBytes((ConvertTo-Json -InputObject $answer -Compress))
[Console]::Out.Write('<' + $mark + '<' + [Convert]::ToBase64String($bytes) + '>' + $mark + '>')
exit $code
"""
"""Windows PowerShell 5.1: runs the script it reads, and answers {"output": text} or {"error": message}."""

CHUNK = 1 << 16

MOST_ERRORS = 1 << 16
"""Bytes of standard error that are kept, for a message."""

IDLE = 0.02  # seconds between two looks at a channel that has nothing to say


class SshGuestShell:
    """See `lab.windows.shell.Shell`. Safe to use from several threads, one script at a time.

    A connection that was idle is asked for a sign of life before it is used again, and replaced when it gives
    none. A script that was sent is never sent a second time: it may have run.
    """

    def __init__(self, access: SshAccess, *, powershell: str, timeouts: Timeouts, clock: Clock) -> None:
        self._access = access
        self._command = command(powershell)
        self._timeouts = timeouts
        self._clock = clock
        self._connection: SshConnection | None = None
        self._lock = threading.Lock()

    def run(self, script: Script, **parameters: Parameter) -> list[dict[str, Any]]:
        mark = secrets.token_hex(8)
        task = json.dumps(
            {"mark": mark, "script": script.text(), "parameters": parameters}, ensure_ascii=True
        )
        with self._lock:
            deadline = self._clock.now() + self._timeouts.script
            try:
                output, errors, code = self._exchange(script, task.encode("ascii") + b"\n", deadline)
            except (paramiko.SSHException, OSError, EOFError) as error:
                connection = self._connection
                self._drop()
                if connection is None:
                    raise
                why = "did not answer in time" if isinstance(error, TimeoutError) else "broke off"
                raise self._access.trouble(f"{why} while {script.name} was sent") from None
            except BaseException:  # Ctrl-C in the middle of an answer spoils the connection, too
                self._drop()
                raise
        return parse_output(script, _answer(script, mark, output, errors, code))

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> tuple[SshConnection, paramiko.Channel]:
        """A channel on which nothing was run yet: over the connection there is, else over a new one."""
        if self._connection is not None and self._connection.alive():
            try:
                return self._connection, self._connection.open_channel()
            except InfrastructureError:  # it was lost just now
                pass
        self._drop()
        self._connection = SshConnection(self._access)
        return self._connection, self._connection.open_channel()

    def _exchange(self, script: Script, task: bytes, deadline: float) -> tuple[bytes, bytes, int]:
        """Run the loader on a new channel: standard output, standard error, exit code."""
        connection, channel = self._open()
        try:
            channel.exec_command(self._command)
            _send(channel, task)
            try:
                output, errors = self._receive(script, connection, channel, deadline)
            except (paramiko.SSHException, OSError, EOFError):  # reading sends, too: it widens the window
                raise self._access.trouble(f"broke off while {script.name} ran") from None
            if channel.exit_status < 0:  # killed by a signal, or the channel was closed
                connection.check(f"{script.name} ran")
                raise self._access.trouble(f"ended {script.name} without an exit code")
            return output, errors, channel.exit_status
        finally:
            with suppress(paramiko.SSHException, OSError, EOFError):  # what was answered is answered
                channel.close()

    def _receive(
        self, script: Script, connection: SshConnection, channel: paramiko.Channel, deadline: float
    ) -> tuple[bytes, bytes]:
        output, errors = bytearray(), bytearray()
        while True:
            idle = True
            while channel.recv_ready() and len(output) <= shell.MOST_OUTPUT:
                output += channel.recv(CHUNK)
                idle = False
            if channel.recv_stderr_ready():  # once: who complains for ever has no more time than others
                errors = (errors + channel.recv_stderr(CHUNK))[-MOST_ERRORS:]
                idle = False
            if len(output) > shell.MOST_OUTPUT:
                raise too_much(script)
            if idle and channel.eof_received and (channel.exit_status_ready() or channel.closed):
                return bytes(output), bytes(errors)
            if self._clock.now() >= deadline:
                raise TimedOut("script", self._timeouts.script, f"{script.name} still runs")
            if idle:
                connection.check(f"{script.name} ran")
                self._clock.sleep(IDLE)


def _send(channel: paramiko.Channel, task: bytes) -> None:
    try:
        channel.sendall(task)
        channel.shutdown_write()
    except TimeoutError:
        raise
    except OSError:
        if not channel.closed:
            raise
        # PowerShell ended before it had read all: its exit code will say why


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


def _answer(script: Script, mark: str, output: bytes, errors: bytes, code: int) -> str:
    """What the script wrote. Raises GuestError with its message, or with PowerShell's when it did not run."""
    answer = _framed(output, mark.encode("ascii"))
    if isinstance(answer.get("error"), str):
        raise GuestError(f"script {script.name} failed: {' '.join(answer['error'].split())[:400]}")
    if code == 0 and isinstance(answer.get("output"), str):
        return str(answer["output"])
    said = plain(errors.decode("utf-8", "replace")) or output.decode("utf-8", "replace")
    raise GuestError(
        f"script {script.name} did not run: PowerShell ended with exit code {code} "
        f"({' '.join(said.split())[:400] or 'no message'})"
    )


def _framed(output: bytes, mark: bytes) -> dict[str, Any]:
    """The answer between the marks; empty when there is no whole one."""
    _, begun, rest = output.partition(b"<" + mark + b"<")
    encoded, ended, _ = rest.partition(b">" + mark + b">")
    if not begun or not ended:
        return {}
    try:
        answer = json.loads(base64.b64decode(b"".join(encoded.split()), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def open_shell(address: str, settings: SshShell, timeouts: Timeouts, clock: Clock) -> SshGuestShell:
    """A shell for those settings. Raises ConfigurationError when a secret or the key file is missing."""
    access = access_of(address, settings, timeouts)
    return SshGuestShell(access, powershell=settings.powershell, timeouts=timeouts, clock=clock)
