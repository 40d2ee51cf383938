"""Bytes to the server: handed to the socket in one go, and kept where it has no room for them."""

from __future__ import annotations

import socket

from lab.smb.errors import Unreachable, reason
from lab.smb.load.tape import Address
from lab.smb.messages import NOTHING
from lab.smb.wire import FRAMING, Buffer, Flags, header


class Outgoing:
    """Sends on a non-blocking socket. Raises Unreachable, naming `place`, when the connection is lost."""

    def __init__(self, sock: socket.socket, place: str) -> None:
        self._socket, self._place = sock, place
        self.unsent = memoryview(b"")
        """What the socket had no room for. Its memory must stay as it is."""

    def send(self, data: Buffer) -> None:
        """Only when nothing is unsent."""
        view = memoryview(data)
        try:
            sent = self._socket.send(view)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.unsent = memoryview(b"")
            raise Unreachable(f"the connection to {self._place} was lost: {reason(error)}") from None
        self.unsent = view[sent:]

    def flush(self) -> bool:
        """Send what is left; whether nothing is left now."""
        if self.unsent:
            self.send(self.unsent)
        return not self.unsent


def small_request(
    address: Address, command: int, message_id: int, *, charge: int, async_id: int | None = None
) -> bytes:
    """A request without a body of its own (ECHO, CANCEL), signed or sealed, with its framing."""
    flags = (Flags.SIGNED if address.signer else 0) | (Flags.ASYNC if async_id else 0)
    message = bytearray(
        header(
            command,
            message_id=message_id,
            session_id=address.session_id,
            credits=charge,
            charge=charge if address.multi_credit else 0,
            flags=flags,
        )
    )
    if async_id:
        message[32:40] = async_id.to_bytes(8, "little")
    message += NOTHING
    if address.signer:
        message[48:64] = address.signer.signature(message)
    wire = address.sealer.seal(message) if address.sealer else message
    return FRAMING.pack(len(wire)) + wire
