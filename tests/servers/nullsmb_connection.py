"""One client of the null server: frames in, answers out (MS-SMB2 3.3.5)."""

from __future__ import annotations

import os
import struct
from collections import Counter, deque
from collections.abc import Callable
from itertools import count
from random import Random

from nullsmb_commands import Commands
from nullsmb_effects import Effect, Ended, Late, Raw, Sent
from nullsmb_files import Failed, Folder
from nullsmb_keys import sealed_session
from nullsmb_modes import Rule
from nullsmb_odd import Odd
from nullsmb_reads import Lane, Window
from nullsmb_session import LogOn, Settings
from nullsmb_wire import (
    ACCESS_DENIED,
    CANCEL,
    CREATE,
    INVALID_PARAMETER,
    LOGOFF,
    NAMES,
    NEGOTIATE,
    NETWORK_NAME_DELETED,
    READ,
    RELATED,
    SEALED_MAGIC,
    SESSION_SETUP,
    SIGNED,
    SUCCESS,
    TREE_CONNECT,
    USER_SESSION_DELETED,
    Answer,
    BadFrame,
    Request,
    failure_body,
    framed,
    requests,
)

MOST_FRAME = (16 << 20) + 4096


class Connection:
    """`later(seconds, action)` is the server's timer; `counters` are shared by its connections."""

    def __init__(
        self,
        settings: Settings,
        folder: Folder,
        rules: list[Rule],
        counters: Counter[str],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.settings, self.folder, self.counters, self.later = settings, folder, counters, later
        self.window = Window(most=settings.max_credits)
        self.log_on = LogOn(settings)
        self.commands = Commands(self)
        self.odd = Odd(rules, Random(f"{settings.seed} {counters['connections']}"))
        self.token = os.urandom(8)
        self.out: deque[memoryview] = deque()
        self.ended: Ended | None = None
        self.deaf = False
        self.pending: dict[int, Answer] = {}
        self._async = count(1)
        self._used: set[int] = set()
        self._lane: Lane | None = None

    # --- input ------------------------------------------------------------------------------------

    def take(self, buffer: bytearray, end: int) -> int:
        """Answer the whole frames in buffer[:end]; returns how many bytes they are. Fills `out`."""
        at, trying = 0, True
        while end - at >= 4 and self.ended is None and not self.deaf:
            size = int.from_bytes(buffer[at : at + 4], "big")
            if size > MOST_FRAME or not size:
                raise BadFrame("a frame of an impossible length")
            if end - at < 4 + size:
                break
            lane = self._lane
            if trying and lane is not None and lane.stride == 4 + size:
                taken, answers = lane.take(buffer, at, end, self.window, self.commands.shortest)
                if taken:
                    self.out.append(answers)
                    self.counters["READ"] += taken
                    self.counters["READ by the batch"] += taken
                    self.counters["read bytes"] += taken * lane.length
                    at += taken * lane.stride
                    return at  # the tape must go out before it is written again
                trying = False
            self._frame(bytes(buffer[at + 4 : at + 4 + size]))
            at += 4 + size
        return at

    def _frame(self, frame: bytes) -> None:
        sealed = frame[:4] == SEALED_MAGIC
        if sealed:
            session = self.log_on.sessions.get(sealed_session(frame))
            if session is None or session.keys is None or session.keys.sealer is None:
                raise BadFrame("sealed for no session of this connection")
            frame = session.keys.sealer.opened(frame)
        batches = []
        last: tuple[Request, Answer] | None = None
        for request in requests(frame, sealed=sealed):
            self._spend(request)
            self.counters[NAMES[request.command]] += 1
            if request.command == CANCEL:
                self._cancel(request)
                continue
            if request.flags & RELATED and last is not None:
                request.session_id, request.tree_id = last[1].session_id, last[1].tree_id
            answer = self._answer(request, last)
            last = (request, answer)
            batches.append(self.odd.effects(answer, request, self))
        if len(batches) > 1 and all(len(batch) == 1 and type(batch[0]) is Sent for batch in batches):
            self._send_compound([batch[0].answer for batch in batches if isinstance(batch[0], Sent)])
            return
        for batch in batches:
            self.emit(batch)

    def _spend(self, request: Request) -> None:
        """Message ids are used once and only when granted."""
        if request.command == CANCEL:
            return
        number, charge = request.message_id, max(1, request.charge)
        window = self.window
        if number + charge > window.high or number < window.low or number in self._used:
            self.counters["ids never granted"] += 1
            raise BadFrame("a message id that was not granted, or used before")
        self._used.update(range(number, number + charge))
        while window.low in self._used:
            self._used.discard(window.low)
            window.low += 1

    def _answer(self, request: Request, last: tuple[Request, Answer] | None) -> Answer:
        answer = Answer(
            request.command,
            request.message_id,
            session_id=request.session_id,
            tree_id=request.tree_id,
            charge=request.charge,
            sealed=request.sealed,
            flags=1 | request.flags & RELATED,
        )
        try:
            self._check(request, answer)
            if request.flags & RELATED and last is not None and last[0].command == CREATE and last[1].status:
                raise Failed(last[1].status)
            self.commands.run(request, answer)
        except Failed as failed:
            answer.status, answer.body = failed.status, failure_body()
        except OSError as error:
            answer.status, answer.body = ACCESS_DENIED, failure_body()
            self.counters[f"OSError {error.errno}"] += 1
        except (struct.error, UnicodeDecodeError):
            answer.status, answer.body = INVALID_PARAMETER, failure_body()
        if not answer.body:
            answer.body = failure_body()
        window = self.window
        wanted = max(1, request.credits)
        answer.credits = max(min(wanted, window.room), min(wanted, max(1, request.charge)))
        window.promised += answer.credits
        if answer.status == SUCCESS and request.command == READ:
            self._learn(request, answer)
        return answer

    def _check(self, request: Request, answer: Answer) -> None:
        """Session, tree, signature and seal (3.3.5.2)."""
        if not self.log_on.dialect and request.command != NEGOTIATE:
            raise BadFrame("a request before NEGOTIATE")
        if request.command in (NEGOTIATE, SESSION_SETUP):
            return
        session = self.log_on.sessions.get(request.session_id)
        if session is None or session.keys is None:
            raise Failed(USER_SESSION_DELETED)
        answer.keys = session.keys
        if not request.sealed:
            if session.sealed:
                raise Failed(ACCESS_DENIED)
            if request.flags & SIGNED:
                whole = request.message
                if not session.keys.signer.is_right(whole):
                    self.counters["wrong signatures"] += 1
                    raise Failed(ACCESS_DENIED)
                self.counters["signed requests"] += 1
            answer.sign = session.signs or bool(request.flags & SIGNED)
            modern = request.command == TREE_CONNECT and self.log_on.dialect == 0x0311
            if (session.signs or modern) and not request.flags & SIGNED:
                raise Failed(ACCESS_DENIED)
        if request.command not in (LOGOFF, TREE_CONNECT, 13) and request.tree_id not in session.trees:
            raise Failed(NETWORK_NAME_DELETED)

    def _learn(self, request: Request, answer: Answer) -> None:
        """Take READs like this one by the batch from now on."""
        plain = not (request.sealed or request.next_command or request.flags & RELATED)
        if self.folder.keeps or self.odd.touches(READ) or not plain:
            return
        session = self.log_on.sessions[request.session_id]
        assert session.keys is not None
        if answer.sign != bool(request.flags & SIGNED):
            return
        signer = session.keys.signer if answer.sign else None
        self._lane = Lane(framed(request.message), answer.body[16:], max(1, request.charge), signer)

    def _cancel(self, request: Request) -> None:
        for number, answer in list(self.pending.items()):
            if number == request.async_id if request.flags & 2 else answer.message_id == request.message_id:
                answer.status, answer.body = 0xC000_0120, failure_body()
                self.settle(number)

    # --- output -----------------------------------------------------------------------------------

    def emit(self, effects: list[Effect]) -> None:
        for effect in effects:
            if self.ended is not None:
                return
            if isinstance(effect, Late):
                self.later(effect.seconds, lambda effect=effect: self.emit(effect.effects()))  # type: ignore[misc]
            elif isinstance(effect, Sent):
                self._send(effect.answer, effect.change)
            elif isinstance(effect, Raw):
                self.out.append(memoryview(effect.data))
            elif effect.how == "deaf":
                self.deaf = True
            else:
                self.ended = effect

    def next_async(self) -> int:
        return next(self._async)

    def settle(self, number: int) -> None:
        """Send the final answer of a pending request, once."""
        answer = self.pending.pop(number, None)
        if answer is not None:
            self._send(answer)

    def _send(self, answer: Answer, change: Callable[[bytes], bytes] | None = None) -> None:
        frame = framed(self.encoded([answer]))
        self.out.append(memoryview(change(frame) if change else frame))

    def _send_compound(self, answers: list[Answer]) -> None:
        self.out.append(memoryview(framed(self.encoded(answers))))

    def encoded(self, answers: list[Answer]) -> bytes:
        """Answers as one message, each signed, or the whole sealed."""
        whole = b""
        sealer = None
        for answer in answers:
            self.window.high += answer.credits
            self.window.promised -= answer.credits
            following = 0
            padding = b""
            if answer is not answers[-1]:
                padding = bytes(-len(answer.body) % 8)
                following = 64 + len(answer.body) + len(padding)
            message = answer.message(following) + padding
            keys = answer.keys
            if answer.signature is not None:
                message[48:64] = answer.signature
            elif answer.sign and keys is not None:
                message[48:64] = keys.signer.signature(message, from_server=True)
            if answer.sealed and keys is not None:
                sealer = keys.sealer
            if answer.on_wire is not None:
                answer.on_wire(bytes(message))
            whole += bytes(message)
        return sealer.sealed(whole) if sealer is not None else whole
