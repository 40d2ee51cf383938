"""The WinRM connection of a PSRP shell: pypsrp's, within limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import requests
from pypsrp.powershell import RunspacePool
from pypsrp.wsman import WSMan

from lab.model import InfrastructureError
from lab.model.answers import limit_answers

MOST_ANSWER = 8 << 20
"""Bytes of one answer; we ask for 150 KiB at most (wsman:MaxEnvelopeSize)."""


_SEALED = ("multipart/encrypted", "multipart/x-multi-encrypted")  # MS-WSMV 2.2.9.1


def unlimited() -> None:
    """No limit."""


class OneTry(WSMan):
    """Tries once, and within limits: of each answer, and by `check` of all of them together.

    pypsrp repeats a Receive five times after a read time-out: that hides a dead guest for minutes. It also
    asks on for as long as the guest answers that there is more to come. And it seals what it sends, but would
    take an answer that is not sealed, which anybody on the way can write.
    """

    def __init__(self, *args: Any, place: str, answer_seconds: float, **named: Any) -> None:
        super().__init__(*args, **named)
        transport = self.transport
        transport.session = transport._build_session()
        limit_answers(transport.session.adapters.values(), place, most=MOST_ANSWER, seconds=answer_seconds)
        self._place = place
        self._open_answer = transport.session.send
        transport.session.send = self._sealed_answer  # type: ignore[method-assign]
        self.received = 0  # bytes of all answers
        self.check: Callable[[], None] = unlimited  # called before each request
        self._send = transport.send
        transport.send = self._counted  # type: ignore[method-assign]

    def _counted(self, *args: Any, **named: Any) -> bytes:
        self.check()
        answer: bytes = self._send(*args, **named)
        self.received += len(answer)
        return answer

    def _sealed_answer(self, *args: Any, **named: Any) -> requests.Response:
        answer = self._open_answer(*args, **named)
        kind = answer.headers.get("Content-Type", "").casefold()
        # A web server's refusal is never sealed, and says nothing that is believed but its status.
        if self.transport.encryption and (answer.ok or "soap" in kind) and not kind.startswith(_SEALED):
            raise InfrastructureError(
                f"{self._place} gave an answer that is not encrypted, as was agreed",
                help="Somebody may be listening between: use WinRM over HTTPS (guest.shell.tls).",
            )
        return answer

    def invoke(self, *args: Any, retries_on_read_timeout: int = 0, **named: Any) -> ElementTree.Element:
        return super().invoke(*args, retries_on_read_timeout=0, **named)


def connection_of(pool: RunspacePool) -> OneTry:
    assert isinstance(pool.connection, OneTry)
    return pool.connection
