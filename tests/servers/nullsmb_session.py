"""Negotiate and log-on of the null server (MS-SMB2 3.3.5.4, 3.3.5.5)."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import spnego
from nullsmb_files import filetime
from nullsmb_keys import (
    AES_128_CCM,
    AES_128_GCM,
    AES_256_CCM,
    AES_256_GCM,
    AES_CMAC,
    AES_GMAC,
    HMAC_SHA256,
    Keys,
    chained,
    session_keys,
)
from nullsmb_wire import (
    INVALID_PARAMETER,
    LOGON_FAILURE,
    MORE_PROCESSING_REQUIRED,
    NOT_SUPPORTED,
    USER_SESSION_DELETED,
    Answer,
    BadFrame,
    Offer,
    Request,
    context,
    negotiate_body,
    numbers,
    parse_negotiate,
    preauth_context,
)
from spnego._ntlm_raw.messages import TargetInfo

ACCEPT_COMPLETED = bytes.fromhex("a1 07 30 05 a0 03 0a 01 00")
LARGE_MTU, ENCRYPTION = 0x04, 0x40


@dataclass
class Settings:
    """What a run of the server is like."""

    user: str = "tester"
    password: str = "Null-Test-1"
    dialects: tuple[int, ...] = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
    signing: str = "enabled"  # or "required"
    signing_algorithms: tuple[int, ...] = (AES_GMAC, AES_CMAC, HMAC_SHA256)
    ciphers: tuple[int, ...] = (AES_128_GCM, AES_128_CCM, AES_256_GCM, AES_256_CCM)
    encryption: str = "offered"  # "off", "session" (all of it is sealed), "share" (share Data asks for it)
    max_read: int = 8 << 20
    max_write: int = 8 << 20
    max_credits: int = 8192
    content: str = "canned"  # or "pattern"
    seed: int = 1


@dataclass
class Session:
    id: int
    preauth: bytes
    context: Any
    keys: Keys | None = None
    signs: bool = False
    sealed: bool = False
    trees: dict[int, str] = field(default_factory=dict)


class LogOn:
    """What one connection has agreed on, and its sessions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.offer: Offer | None = None
        self.dialect = 0
        self.capabilities = 0
        self.guid = os.urandom(16)
        self.preauth = bytes(64)
        self.algorithm = HMAC_SHA256
        self.cipher: int | None = None
        self.sessions: dict[int, Session] = {}

    @property
    def mode(self) -> int:
        return 3 if self.settings.signing == "required" else 1

    def negotiate(self, request: Request, answer: Answer) -> None:
        if self.offer is not None:
            raise BadFrame("a second NEGOTIATE")
        self.offer = parse_negotiate(request.message)
        common = [each for each in self.offer.dialects if each in self.settings.dialects]
        if not common:
            answer.status = NOT_SUPPORTED
            return
        self.dialect = max(common)
        contexts = self._contexts()
        self.capabilities = LARGE_MTU if self.dialect > 0x0202 else 0
        if self.dialect in (0x0300, 0x0302):
            self.algorithm = AES_CMAC
            if self.offer.capabilities & ENCRYPTION and self.settings.encryption != "off":
                self.cipher = AES_128_CCM
                self.capabilities |= ENCRYPTION
        self.preauth = chained(self.preauth, request.message)
        answer.on_wire = self._chain
        most = 1 << 16 if self.dialect == 0x0202 else 1 << 30
        sizes = (min(most, 8 << 20), min(most, self.settings.max_read), min(most, self.settings.max_write))
        answer.body = negotiate_body(
            mode=self.mode,
            dialect=self.dialect,
            guid=self.guid,
            capabilities=self.capabilities,
            sizes=sizes,
            blob=_acceptor().step() or b"",
            contexts=contexts,
            now=filetime(time.time_ns()),
        )

    def _chain(self, message: bytes) -> None:
        self.preauth = chained(self.preauth, message)

    def _contexts(self) -> list[bytes]:
        """Those of a 3.1.1 answer: the client's first choice that we have, too."""
        assert self.offer is not None
        if self.dialect != 0x0311:
            return []
        if 1 not in self.offer.contexts:
            raise BadFrame("3.1.1 without preauthentication integrity")
        made = [preauth_context()]
        self.algorithm = AES_CMAC
        if 2 in self.offer.contexts and self.settings.encryption != "off":
            both = [each for each in numbers(self.offer.contexts[2]) if each in self.settings.ciphers]
            self.cipher = both[0] if both else None
            made.append(context(2, struct.pack("<HH", 1, self.cipher or 0)))
        if 8 in self.offer.contexts:
            ours = self.settings.signing_algorithms
            both = [each for each in numbers(self.offer.contexts[8]) if each in ours]
            if both:
                self.algorithm = both[0]
                made.append(context(8, struct.pack("<HH", 1, self.algorithm)))
        return made

    def set_up(self, request: Request, answer: Answer) -> None:
        size, _, mode, _, _, where, length, _ = struct.unpack_from("<HBBIIHHQ", request.body)
        token = request.message[where : where + length]
        if size != 25 or not self.dialect:
            raise BadFrame("a wrong SESSION_SETUP")
        session = self.sessions.get(request.session_id)
        if session is None:
            if request.session_id:
                answer.status = USER_SESSION_DELETED
                return
            session = Session(int.from_bytes(os.urandom(7), "little") + 1, self.preauth, _acceptor(token))
            self.sessions[session.id] = session
        elif session.keys is not None and session.context is None:
            answer.status = INVALID_PARAMETER  # logging on again in a session is not for this server
            return
        answer.session_id = session.id
        session.preauth = chained(session.preauth, request.message)
        try:
            reply = _step(session.context, token)
        except Exception:  # whatever a strange token makes its parser raise
            del self.sessions[session.id]
            answer.status = LOGON_FAILURE
            return
        flags = 0
        if _inner_done(session.context):
            reply = reply if session.context.complete else ACCEPT_COMPLETED
            self._finish(session, mode, answer)
            flags = 4 if session.sealed else 0
        else:
            answer.status = MORE_PROCESSING_REQUIRED
            answer.on_wire = partial(_chain_session, session)
        answer.body = struct.pack("<HHHH", 9, flags, 72, len(reply)) + reply

    def _finish(self, session: Session, mode: int, answer: Answer) -> None:
        key = bytes(session.context.session_key)
        session.context = None
        session.keys = session_keys(
            self.dialect, key, session.preauth, self.algorithm, self.cipher, session.id
        )
        session.signs = bool(mode & 2) or self.settings.signing == "required"
        session.sealed = self.settings.encryption == "session" and session.keys.sealer is not None
        answer.keys = session.keys
        answer.sign = session.signs or self.dialect == 0x0311


def _chain_session(session: Session, message: bytes) -> None:
    session.preauth = chained(session.preauth, message)


def _acceptor(token: bytes = b"") -> spnego.ContextProxy:
    """NTLM inside SPNEGO, or bare when the client begins so. Users are in the file NTLM_USER_FILE."""
    if token[:8] == b"NTLMSSP\0":
        return spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
    return spnego.server(protocol="negotiate", options=spnego.NegotiateOptions.use_negotiate)


def _step(context: Any, token: bytes) -> bytes:
    try:
        return context.step(token) or b""
    except spnego.exceptions.OperationNotAvailableError:
        if _inner_done(context):
            return b""  # NTLM without signing cannot sign a mechListMIC, and there need not be one
        raise


def _inner_done(context: Any) -> bool:
    """Whether NTLM itself is through. A mechListMIC, which some clients leave out, is not insisted on."""
    return bool(context.complete or getattr(context, "_context", context).complete)


def accept_proofs_as_sent() -> None:
    """Let this process check an NTLM proof over the bytes the client sent (MS-NLMP 3.3.2), as Windows does.

    pyspnego packs the client's pairs again and expects four zeros behind them, which not every client sends.
    """
    unpack = TargetInfo.unpack

    def unpacked(data: bytes) -> TargetInfo:
        pairs = unpack(data)
        vars(pairs)["pack"] = lambda: data[:-4]  # pyspnego adds four zeros
        return pairs

    TargetInfo.unpack = staticmethod(unpacked)  # type: ignore[method-assign, assignment]
