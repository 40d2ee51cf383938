"""SMB2 shares of the guest, by impacket's server: %SystemRoot% as ADMIN$, and the data share.

impacket's server is used as a protocol engine: this module owns the sockets, so that a stop of the machine
breaks them, and hooks the commands that matter. A READ of the data share is served by a worker thread of
the simulated srv2.
"""

from __future__ import annotations

import configparser
import contextlib
import logging
import os
import secrets
import socket
import struct
from pathlib import Path
from typing import Any

from impacket import smb3structs as smb2
from impacket.nt_errors import (
    STATUS_ACCESS_DENIED,
    STATUS_END_OF_FILE,
    STATUS_INVALID_HANDLE,
    STATUS_LOGON_FAILURE,
    STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS,
)
from impacket.ntlm import compute_nthash
from impacket.smbserver import SMBSERVER, STATUS_SMB_BAD_TID, SMB2Commands

from lab.twin.disk import Disk
from lab.twin.listener import Listener
from lab.twin.machine import Machine

ADMIN_SHARE = "ADMIN$"
DATA_SHARE = "LabData"

_LARGEST_MESSAGE = 1 << 20

Answer = tuple[list[Any] | None, list[Any] | None, int]

logging.getLogger("impacket").setLevel(logging.CRITICAL)  # it reports every refused request as an error


class SmbServer:
    """A service of the machine."""

    def __init__(self, host: str, port: int, machine: Machine, disk: Disk, user: str, password: str) -> None:
        self._machine = machine
        self._data = str(disk.data)
        self._engine = _engine(machine.computer, disk)
        self._engine.addCredential(user, 0, "", compute_nthash(password).hex())
        for command, hook in (
            (smb2.SMB2_SESSION_SETUP, self._session_setup),
            (smb2.SMB2_CREATE, self._create),
            (smb2.SMB2_READ, self._read),
        ):
            self._engine.hookSmb2Command(command, hook)
        self._listener = Listener(host, port, "smb", self._serve)

    @property
    def port(self) -> int:
        return self._listener.port

    def open(self) -> None:
        self._listener.open()

    def cut(self) -> None:
        self._listener.cut()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, connection: socket.socket, number: int) -> None:
        host, port = connection.getpeername()
        self._engine.addConnection(number, host, port)
        stream = connection.makefile("rb")
        try:
            while (message := _message(stream)) is not None:
                try:
                    answers = self._engine.processRequest(number, message)
                except OSError:
                    raise
                except Exception:  # impacket raises what it likes on a request that it does not understand
                    return
                for answer in answers:
                    data = answer.getData() if hasattr(answer, "getData") else answer
                    connection.sendall(struct.pack(">I", len(data)) + data)
        finally:
            stream.close()
            self._forget(number)

    def _forget(self, number: int) -> None:
        opened = self._engine.getActiveConnections().get(number, {}).get("OpenedFiles", {})
        for file in opened.values():
            with contextlib.suppress(OSError):
                os.close(file["FileHandle"])
        self._engine.getActiveConnections().pop(number, None)

    def _session_setup(self, number: int, engine: Any, packet: Any) -> Answer:
        """impacket lets everyone in who came this far, and takes a log-on without a name for a guest's."""
        commands, packets, status = SMB2Commands.smb2SessionSetup(number, engine, packet)
        connection = engine.getConnectionData(number, False)
        if status == STATUS_SUCCESS and not connection.get("user_name"):
            status = STATUS_LOGON_FAILURE
        connection["Authenticated"] = status == STATUS_SUCCESS
        if status not in (STATUS_SUCCESS, STATUS_MORE_PROCESSING_REQUIRED):
            connection["SignatureEnabled"] = False  # there is no session key to sign with
            commands = [smb2.SMB2Error()]
        return commands, packets, status

    def _create(self, number: int, engine: Any, packet: Any) -> Answer:
        """File names on Windows compare without case."""
        shares = engine.getConnectionData(number)["ConnectedShares"]
        share = shares.get(packet["TreeID"])
        if share is not None and share.get("path"):
            request = smb2.SMB2Create(packet["Data"])
            name = request["Buffer"][: request["NameLength"]]
            found = _as_on_disk(Path(share["path"]), name.decode("utf-16le")).encode("utf-16le")
            if found != name and len(found) == len(name):
                packet["Data"] = packet["Data"].replace(name, found)
        answer: Answer = SMB2Commands.smb2Create(number, engine, packet)
        return answer

    def _read(self, number: int, engine: Any, packet: Any) -> Answer:
        connection = engine.getConnectionData(number)
        _, length, offset, file_id = _READ_REQUEST.unpack_from(packet["Data"])
        if file_id == b"\xff" * 16 and "SMB2_CREATE" in connection["LastRequest"]:
            file_id = connection["LastRequest"]["SMB2_CREATE"]["FileID"]
        share = connection["ConnectedShares"].get(packet["TreeID"])
        if share is None:
            return [smb2.SMB2Error()], None, STATUS_SMB_BAD_TID
        file = connection["OpenedFiles"].get(file_id)
        if file is None:
            return [smb2.SMB2Error()], None, STATUS_INVALID_HANDLE
        if share["path"] == self._data:
            self._machine.read(number)
        try:
            content = os.pread(file["FileHandle"], length, offset)
        except OSError:
            return [smb2.SMB2Error()], None, STATUS_ACCESS_DENIED
        if not content:
            return [smb2.SMB2Error()], None, STATUS_END_OF_FILE
        response = smb2.SMB2Read_Response()
        response["DataOffset"] = 0x50
        response["DataLength"] = len(content)
        response["DataRemaining"] = 0
        response["Buffer"] = content
        return [response], None, STATUS_SUCCESS


_READ_REQUEST = struct.Struct("<4sIQ16s")
"""SMB2 READ request (MS-SMB2 2.2.19): size, padding and flags; Length; Offset; FileId."""


def _engine(computer: str, disk: Disk) -> Any:
    config = configparser.ConfigParser()
    config["global"] = {
        "server_name": computer,
        "server_os": "Windows",
        "server_domain": computer,
        "log_file": "None",
        "credentials_file": "",
        "challenge": secrets.token_hex(8),
        "SMB2Support": "True",
        "anonymous_logon": "False",
    }
    config["IPC$"] = {"comment": "", "read only": "yes", "share type": "3", "path": ""}
    for name, path in ((ADMIN_SHARE, disk.windows), (DATA_SHARE, disk.data)):
        config[name.upper()] = {"comment": "", "read only": "no", "share type": "0", "path": str(path)}
    engine = SMBSERVER(("127.0.0.1", 0), config_parser=config)
    engine.server_close()  # the sockets are ours
    engine.processConfigFile()
    return engine


def _message(stream: Any) -> bytes | None:
    """The next message (MS-SMB2 2.1: a zero byte, 24 bits of length). None at the end of the stream."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    (length,) = struct.unpack(">I", header)
    if length > _LARGEST_MESSAGE:
        return None
    message: bytes = stream.read(length)
    return message if len(message) == length else None


def _as_on_disk(share: Path, name: str) -> str:
    """`name` with each part spelt as the file that it means, when there is one."""
    folder, parts = share, name.split("\\")
    for index, part in enumerate(parts):
        if part and part != ".." and not (folder / part).exists() and folder.is_dir():
            for entry in folder.iterdir():
                if entry.name.casefold() == part.casefold():
                    parts[index] = entry.name
                    break
        folder = folder / parts[index]
    return "\\".join(parts)
