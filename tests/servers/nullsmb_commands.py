"""What each request of a session does (MS-SMB2 3.3.5.6 to 3.3.5.20)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from nullsmb_files import Failed, Handle, facts
from nullsmb_session import LARGE_MTU
from nullsmb_wire import (
    BAD_NETWORK_NAME,
    BREAK,
    CANCELLED,
    CHANGE_NOTIFY,
    CLOSE,
    CREATE,
    ECHO,
    END_OF_FILE,
    FILE_CLOSED,
    FLUSH,
    INSUFFICIENT_RESOURCES,
    INVALID_PARAMETER,
    IOCTL,
    LOCK,
    LOGOFF,
    NEGOTIATE,
    NOT_SUPPORTED,
    QUERY_DIRECTORY,
    QUERY_INFO,
    READ,
    SESSION_SETUP,
    SET_INFO,
    TREE_CONNECT,
    TREE_DISCONNECT,
    WRITE,
    Answer,
    Request,
    buffer_body,
    create_body,
)

if TYPE_CHECKING:
    from nullsmb_connection import Connection

SHARES = ("data", "admin", "ipc$")
VALIDATE_NEGOTIATE_INFO = 0x0014_0204
FS_DRIVER_REQUIRED = 0xC000_019C
LARGEST_CANNED = 8 << 20
CANNED = bytes(range(256)) * (LARGEST_CANNED // 256)
_LATEST = b"\xff" * 16
_EMPTY = struct.pack("<HH", 4, 0)


class Commands:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._settings, self._folder = connection.settings, connection.folder
        self._handles: dict[int, Handle] = {}
        self._numbers = 0
        self._latest = 0
        self._by_command = {
            NEGOTIATE: connection.log_on.negotiate,
            SESSION_SETUP: self._set_up,
            LOGOFF: self._log_off,
            TREE_CONNECT: self._tree_connect,
            TREE_DISCONNECT: self._tree_disconnect,
            CREATE: self._create,
            CLOSE: self._close,
            FLUSH: self._flush,
            READ: self._read,
            WRITE: self._write,
            LOCK: self._refuse,
            IOCTL: self._ioctl,
            ECHO: self._echo,
            QUERY_DIRECTORY: self._query_directory,
            CHANGE_NOTIFY: self._refuse,
            QUERY_INFO: self._query_info,
            SET_INFO: self._set_info,
            BREAK: self._refuse,
        }

    def run(self, request: Request, answer: Answer) -> None:
        self._by_command[request.command](request, answer)

    def shortest(self, numbers: set[int]) -> int:
        """Length of the shortest of these open files; -1 when one of them is not open."""
        files = [self._handles.get(number) for number in numbers]
        return min(-1 if file is None or file.is_folder else file.size() for file in files)

    def close_all(self) -> None:
        for handle in self._handles.values():
            self._folder.close(handle)
        self._handles.clear()

    # --- sessions and trees -----------------------------------------------------------------------

    def _set_up(self, request: Request, answer: Answer) -> None:
        before = len(self._connection.log_on.sessions)
        self._connection.log_on.set_up(request, answer)
        if not answer.status:
            self._connection.counters["logons"] += 1
        elif len(self._connection.log_on.sessions) < before or answer.status == 0xC000_006D:
            self._connection.counters["refused logons"] += 1

    def _log_off(self, request: Request, answer: Answer) -> None:
        session = self._connection.log_on.sessions.pop(request.session_id)
        self._forget(set(session.trees))
        answer.body = _EMPTY

    def _tree_connect(self, request: Request, answer: Answer) -> None:
        where, length = struct.unpack_from("<HH", request.body, 4)
        path = request.message[where : where + length].decode("utf-16-le")
        share = path.rpartition("\\")[2].lower()
        if share not in SHARES:
            raise Failed(BAD_NETWORK_NAME)
        trees = self._connection.log_on.sessions[request.session_id].trees
        answer.tree_id = self._numbers = self._numbers + 1
        trees[answer.tree_id] = share
        pipe = share == "ipc$"
        flags = 0x8000 if self._settings.encryption == "share" and share == "data" else 0
        answer.body = struct.pack("<HBBIII", 16, 2 if pipe else 1, 0, 0x30 | flags, 0, 0x001F_01FF)

    def _tree_disconnect(self, request: Request, answer: Answer) -> None:
        self._connection.log_on.sessions[request.session_id].trees.pop(request.tree_id)
        self._forget({request.tree_id})
        answer.body = _EMPTY

    def _forget(self, trees: set[int]) -> None:
        for number in [number for number, each in self._handles.items() if each.tree_id in trees]:
            self._folder.close(self._handles.pop(number))

    # --- files ------------------------------------------------------------------------------------

    def _handle(self, file_id: bytes, request: Request) -> Handle:
        """Of a related request that names none (all ones), the one opened last."""
        number = self._latest if file_id == _LATEST else int.from_bytes(file_id[:8], "little")
        handle = self._handles.get(number)
        right = file_id in (_LATEST, handle.file_id) if handle is not None else False
        if handle is None or not right or handle.tree_id != request.tree_id:
            raise Failed(FILE_CLOSED)
        return handle

    def _create(self, request: Request, answer: Answer) -> None:
        disposition, options, where, length = struct.unpack_from("<IIHH", request.body, 36)
        name = request.message[where : where + length].decode("utf-16-le")
        share = self._connection.log_on.sessions[request.session_id].trees[request.tree_id]
        if share == "ipc$":
            raise Failed(NOT_SUPPORTED)
        if len(self._handles) > 60_000:
            raise Failed(INSUFFICIENT_RESOURCES)
        number = self._latest % 0xFFFF + 1
        while number in self._handles:
            number = number % 0xFFFF + 1
        handle, action = self._folder.open(name, disposition, options, number, request.tree_id)
        handle.file_id = number.to_bytes(8, "little") + self._connection.token
        self._handles[number], self._latest = handle, number
        times, allocated, size, attributes = facts(handle.path)
        answer.body = create_body(
            action=action,
            times=times,
            allocated=allocated,
            size=size,
            attributes=attributes,
            file_id=handle.file_id,
        )

    def _close(self, request: Request, answer: Answer) -> None:
        flags, file_id = struct.unpack_from("<2xH4x16s", request.body)
        handle = self._handle(file_id, request)
        rest = bytes(48) + bytes(4)
        if flags & 1:
            times, allocated, size, attributes = facts(handle.path)
            rest = struct.pack("<4QQQI", *times, allocated, size, attributes)
        self._folder.close(self._handles.pop(handle.number))
        answer.body = struct.pack("<HHI", 60, flags & 1, 0) + rest

    def _flush(self, request: Request, answer: Answer) -> None:
        self._handle(request.body[8:24], request)
        answer.body = _EMPTY

    def _charged(self, request: Request, length: int, most: int) -> None:
        """A payload costs a credit for each 64 KiB (3.3.5.2.5)."""
        if length > most or (
            self._connection.log_on.capabilities & LARGE_MTU and length > max(1, request.charge) << 16
        ):
            self._connection.counters["wrong charges"] += 1
            raise Failed(INVALID_PARAMETER)

    def _read(self, request: Request, answer: Answer) -> None:
        length, offset, file_id, least = struct.unpack_from("<4xIQ16sI", request.body)
        handle = self._handle(file_id, request)
        self._charged(request, length, self._most(self._settings.max_read))
        size = handle.size()
        data = b""
        if not handle.is_folder and offset < size:
            if self._folder.keeps:
                data = os.pread(handle.descriptor, length, offset)
            else:
                data = CANNED[: min(length, size - offset)]
        if (length and not data) or len(data) < least:
            raise Failed(END_OF_FILE)
        self._connection.counters["read bytes"] += len(data)
        answer.body = struct.pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data

    def _write(self, request: Request, answer: Answer) -> None:
        where, length, offset, file_id = struct.unpack_from("<2xHIQ16s", request.body)
        handle = self._handle(file_id, request)
        self._charged(request, length, self._most(self._settings.max_write))
        data = request.message[where : where + length]
        if len(data) != length or handle.is_folder:
            raise Failed(INVALID_PARAMETER)
        self._folder.write(handle, offset, data)
        self._connection.counters["written bytes"] += length
        answer.body = struct.pack("<HHIIHH", 17, 0, length, 0, 0, 0) + b"\0"

    def _most(self, setting: int) -> int:
        return min(setting, 1 << 16) if self._connection.log_on.dialect == 0x0202 else setting

    # --- the rest ---------------------------------------------------------------------------------

    def _ioctl(self, request: Request, answer: Answer) -> None:
        code, file_id, where, length = struct.unpack_from("<4xI16sII", request.body)
        log_on = self._connection.log_on
        if code != VALIDATE_NEGOTIATE_INFO:
            raise Failed(FS_DRIVER_REQUIRED if code == 0x0006_0194 else NOT_SUPPORTED)
        said = request.message[where : where + length]
        capabilities, guid, mode, number = struct.unpack_from("<I16sHH", said)
        offer = log_on.offer
        assert offer is not None
        dialects = list(struct.unpack_from(f"<{number}H", said, 24))
        if (capabilities, guid, mode, dialects) != (
            *(offer.capabilities, offer.guid, offer.security_mode, offer.dialects),
        ):
            raise Failed(CANCELLED)
        reply = struct.pack("<I16sHH", log_on.capabilities, log_on.guid, log_on.mode, log_on.dialect)
        answer.body = (
            struct.pack("<HHI16sIIIIII", 49, 0, code, file_id, 112, 0, 112, len(reply), 0, 0) + reply
        )

    def _echo(self, request: Request, answer: Answer) -> None:
        answer.body = _EMPTY

    def _query_directory(self, request: Request, answer: Answer) -> None:
        kind, flags, file_id, where, length, room = struct.unpack_from("<2xBB4x16sHHI", request.body)
        handle = self._handle(file_id, request)
        wanted = request.message[where : where + length].decode("utf-16-le")
        self._charged(request, room, 8 << 20)
        answer.body = buffer_body(self._folder.listing(handle, kind, flags, wanted, room))

    def _query_info(self, request: Request, answer: Answer) -> None:
        kind, detail, room, file_id = struct.unpack_from("<2xBBI16x16s", request.body)
        handle = self._handle(file_id, request)
        if kind == 1:
            found = self._folder.file_information(handle, detail)
        elif kind == 2:
            found = self._folder.volume_information(detail)
        else:
            raise Failed(NOT_SUPPORTED)
        answer.body = buffer_body(found[:room])

    def _set_info(self, request: Request, answer: Answer) -> None:
        kind, detail, length, where, file_id = struct.unpack_from("<2xBBIH6x16s", request.body)
        handle = self._handle(file_id, request)
        data = request.message[where : where + length]
        if kind != 1 or not data:
            raise Failed(NOT_SUPPORTED)
        self._folder.set_info(handle, detail, data)
        answer.body = struct.pack("<H", 2)

    def _refuse(self, request: Request, answer: Answer) -> None:
        raise Failed(NOT_SUPPORTED)
