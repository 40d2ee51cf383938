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
from functools import partial
from pathlib import Path
from typing import Any

from impacket import smb3structs as smb2
from impacket.nt_errors import (
    STATUS_ACCESS_DENIED,
    STATUS_BAD_NETWORK_NAME,
    STATUS_END_OF_FILE,
    STATUS_INVALID_HANDLE,
    STATUS_LOGON_FAILURE,
    STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_NO_SUCH_FILE,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
)
from impacket.ntlm import compute_nthash
from impacket.smbserver import SMBSERVER, STATUS_SMB_BAD_TID, SMB2Commands

from lab.twin import smbread
from lab.twin.disk import Disk
from lab.twin.listener import Listener
from lab.twin.machine import Machine

ADMIN_SHARE = "ADMIN$"
DATA_SHARE = "LabData"

_LARGEST_MESSAGE = 1 << 20
_LARGEST_READ = 1 << 16  # what impacket negotiates
_RELATED = b"\xff" * 16  # the file of the CREATE before, in the same message

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
            (smb2.SMB2_TREE_CONNECT, self._tree_connect),
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
        messages = _Messages(connection)
        try:
            while (message := messages.next()) is not None and self._listener.alive(number):
                quick = self._lone_read(number, message, messages.waiting(len(message)))
                if quick is not None:
                    connection.sendall(struct.pack(">I", len(quick)) + quick)
                    continue
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
            self._forget(number)

    def _forget(self, number: int) -> None:
        self._machine.disconnected(number)
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

    def _tree_connect(self, number: int, engine: Any, packet: Any) -> Answer:
        """Windows has a status of its own for a share that does not exist."""
        commands, packets, status = SMB2Commands.smb2TreeConnect(number, engine, packet)
        if status == STATUS_SUCCESS:
            return commands, packets, status
        return [smb2.SMB2Error()], None, STATUS_BAD_NETWORK_NAME

    def _create(self, number: int, engine: Any, packet: Any) -> Answer:
        """File names on Windows compare without case."""
        shares = engine.getConnectionData(number)["ConnectedShares"]
        share = shares.get(packet["TreeID"])
        existed = False
        if share is not None and share.get("path"):
            request = smb2.SMB2Create(packet["Data"])
            name = request["Buffer"][: request["NameLength"]]
            found = _as_on_disk(Path(share["path"]), name.decode("utf-16le"))
            existed = Path(share["path"], *found.split("\\")).exists()
            spelt = found.encode("utf-16le")
            if spelt != name and len(spelt) == len(name):
                packet["Data"] = packet["Data"].replace(name, spelt)
        commands, packets, status = SMB2Commands.smb2Create(number, engine, packet)
        if status == STATUS_SUCCESS:
            disposition = smb2.SMB2Create(packet["Data"])["CreateDisposition"]
            commands[0]["CreateAction"] = _create_action(disposition, existed)
        return commands, packets, STATUS_OBJECT_NAME_NOT_FOUND if status == STATUS_NO_SUCH_FILE else status

    def _read(self, number: int, engine: Any, packet: Any) -> Answer:
        """A READ among related commands; one by itself never gets here."""
        connection = engine.getConnectionData(number)
        file_id, length, offset = smbread.parse(packet["Data"])
        if file_id == _RELATED and "SMB2_CREATE" in connection["LastRequest"]:
            file_id = connection["LastRequest"]["SMB2_CREATE"]["FileID"]
        status, content = self._content(number, 0, packet["TreeID"], file_id, length, offset)
        if status:
            return [smb2.SMB2Error()], None, status
        response = smb2.SMB2Read_Response()
        response["DataOffset"] = 0x50
        response["DataLength"] = len(content)
        response["DataRemaining"] = 0
        response["Buffer"] = content
        return [response], None, STATUS_SUCCESS

    def _lone_read(self, number: int, message: bytes, waiting: int) -> bytes | None:
        connection = self._engine.getConnectionData(number, False)
        if not connection["Authenticated"]:
            return None
        key = connection["SigningSessionKey"] if connection["SignatureEnabled"] else None
        return smbread.answer(message, connection["Uid"], key, partial(self._content, number, waiting))

    def _content(
        self, number: int, waiting: int, tree: int, file_id: bytes, length: int, offset: int
    ) -> tuple[int, bytes]:
        """NTSTATUS and what the file holds there. Raises Down when the machine stops over it."""
        connection = self._engine.getConnectionData(number)
        share = connection["ConnectedShares"].get(tree)
        if share is None:
            return STATUS_SMB_BAD_TID, b""
        file = connection["OpenedFiles"].get(file_id)
        if file is None:
            return STATUS_INVALID_HANDLE, b""
        if share["path"] == self._data:
            self._machine.read(number, waiting)
        try:
            content = os.pread(file["FileHandle"], min(length, _LARGEST_READ), offset)
        except OSError:
            return STATUS_ACCESS_DENIED, b""
        return (STATUS_SUCCESS, content) if content else (STATUS_END_OF_FILE, b"")


def _create_action(disposition: int, existed: bool) -> int:
    """What a successful CREATE did (MS-SMB2 2.2.14); impacket answers with the disposition asked for."""
    if not existed:
        return 2  # FILE_CREATED
    if disposition == smb2.FILE_SUPERSEDE:
        return 0  # FILE_SUPERSEDED
    return 3 if disposition in (smb2.FILE_OVERWRITE, smb2.FILE_OVERWRITE_IF) else 1  # _OVERWRITTEN, _OPENED


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


class _Messages:
    """Messages of one connection (MS-SMB2 2.1: a zero byte, 24 bits of length, the message)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """None at the end of the stream, or when it makes no sense."""
        if not self._fill(4):
            return None
        end = 4 + int.from_bytes(self._buffer[:4], "big")
        if end > _LARGEST_MESSAGE or not self._fill(end):
            return None
        message = bytes(self._buffer[4:end])
        del self._buffer[:end]
        return message

    def waiting(self, size: int) -> int:
        """How many more messages of `size` bytes have come in already."""
        return len(self._buffer) // (size + 4)

    def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            data = self._connection.recv(65536)
            if not data:
                return False
            self._buffer += data
        return True


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
