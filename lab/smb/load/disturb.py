"""What other clients do to a server beside the READs: cancel, break oplocks, vanish.

Each disturbance has connections and a thread of its own, so that the lanes stay as they are. It is counted
among the operations of a load; its READs are not counted with the load's.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from lab.model import LabError
from lab.smb.errors import of_status
from lab.smb.load.fileset import FileSet
from lab.smb.load.tally import Tally
from lab.smb.messages import (
    Access,
    Break,
    Disposition,
    Oplock,
    break_acknowledgement,
    close_request,
    create_request,
    lease_context,
    parse_break,
    parse_create,
    read_request,
)
from lab.smb.ntstatus import STATUS_CANCELLED
from lab.smb.profiles import Disturbance
from lab.smb.share import Share
from lab.smb.wire import Command, charge_of

BREAK_NAME = "bugcheck-lab-break.bin"
"""The file whose oplock is broken; the READs' own file is opened by too many to have one."""
BREAK_FILE = FileSet((BREAK_NAME,), 0)

AT_ONCE = 8
"""READs in flight that are cancelled, or left behind, together."""
_PATIENCE = 2.0
_SIZE = 65_536

Connect = Callable[[], Share]


class Disturber:
    """One kind of disturbance, every so many seconds: as often sooner as later, as the seed has it."""

    def __init__(self, kind: Disturbance, every: float, connect: Connect, files: FileSet, seed: str) -> None:
        self._every, self._connect, self._files = every, connect, files
        self._random = random.Random(f"{seed}/{kind}")
        self._act = {
            Disturbance.CANCEL: self._cancel,
            Disturbance.BREAK: self._break,
            Disturbance.DISCONNECT: self._disconnect,
        }[kind]
        self.kind = kind
        self.tally = Tally()
        self._shares: list[Share] = []
        self._rounds = 0

    def run(self, over: threading.Event) -> None:
        """Until `over`. A server that does not answer is left to those who watch it."""
        while not over.wait(self._every * (0.5 + self._random.random())):
            try:
                self._act()
            except LabError:
                self._drop()
            self._rounds += 1
        for share in self._shares:
            share.close()

    def _count(self, name: str, count: int = 1) -> None:
        if count:
            self.tally.operations[name] += count

    def _share(self, index: int) -> Share:
        """The first or second of our connections, made when there is none."""
        while len(self._shares) <= index:
            self._shares.append(self._connect())
        if not self._shares[index].alive:
            self._shares[index] = self._connect()
        return self._shares[index]

    def _drop(self) -> None:
        for share in self._shares:
            share.close(politely=False)
        self._shares = []

    def _reads(self, share: Share, file_id: bytes) -> list[int]:
        """Some READs put on the wire; their message ids."""
        places = max(1, self._files.length // _SIZE)
        size = min(_SIZE, self._files.length)
        return [
            share.connection.submit(
                Command.READ,
                read_request(
                    file_id, self._random.randrange(places) * _SIZE, size, unbuffered=share.unbuffered
                ),
                session=share.session,
                tree_id=share.tree_id,
                charge=charge_of(size),
            )
            for _ in range(AT_ONCE)
        ]

    def _cancel(self) -> None:
        share = self._share(0)
        with share.open(self._files.names[0]) as file:
            asked = self._reads(share, file.file_id)
            for message_id in reversed(asked):
                share.connection.cancel(message_id, share.session, share.tree_id)
            statuses = [share.connection.wait(message_id).status for message_id in asked]
        self._count("READs to be cancelled", len(asked))
        self._count("READs cancelled in time", statuses.count(STATUS_CANCELLED))

    def _disconnect(self) -> None:
        share = self._share(0)
        self._reads(share, share.open(self._files.names[0]).file_id)
        self._drop()
        self._count("connection closed in mid-flight")

    def _break(self) -> None:
        """One connection holds the file with an oplock, or a lease in every second round where the dialect
        knows those; another opens it, which must wait until the first has let go."""
        holder, rival = self._share(0), self._share(1)
        leased = self._rounds % 2 == 1 and holder.connection.dialect >= 0x0300
        key = self._random.randbytes(16)
        what = f"file '{BREAK_NAME}'"
        request = create_request(
            BREAK_NAME,
            Access.READ_WRITE,
            Disposition.OPEN_IF,
            oplock=Oplock.LEASE if leased else Oplock.BATCH,
            contexts=lease_context(key) if leased else b"",
        )
        mine = holder.exchange(Command.CREATE, request, what).read(parse_create)
        if mine.oplock == Oplock.NONE:
            self._count("oplock not granted")
        request = create_request(BREAK_NAME, Access.READ_WRITE, Disposition.OPEN_IF)
        asked = rival.connection.submit(Command.CREATE, request, session=rival.session, tree_id=rival.tree_id)
        notice = self._notice(holder) if mine.oplock != Oplock.NONE else None
        if notice is not None:
            self._count("lease break" if notice.lease else "oplock break")
            if notice.acknowledge:
                body = break_acknowledgement(notice)
                holder.exchange(Command.OPLOCK_BREAK, body, f"the oplock of {what}")
        reply = rival.connection.wait(asked)
        if reply.status:
            raise of_status(reply.status, rival.target.place, rival.target.user, what)
        for share, file_id in ((holder, mine.file_id), (rival, reply.read(parse_create).file_id)):
            share.exchange(Command.CLOSE, close_request(file_id), what)

    def _notice(self, share: Share) -> Break | None:
        """The server's notification; None when it does not come in time."""
        connection, until = share.connection, time.monotonic() + _PATIENCE
        while not connection.breaks and (left := until - time.monotonic()) > 0:
            connection.collect(min(left, 0.1))
        return parse_break(connection.breaks.popleft()) if connection.breaks else None
