"""SESSION_SETUP: who we are, and the keys that follow from it (MS-SMB2 3.2.4.2.3, 3.2.5.3)."""

from __future__ import annotations

from lab.model import CredentialsRefused, LabError
from lab.smb.authentication import Proof
from lab.smb.connection import Connection
from lab.smb.errors import AccessDenied, Malformed, NotOffered, of_status
from lab.smb.keys import session_keys
from lab.smb.messages import NOTHING, parse_session_setup, session_setup_request
from lab.smb.negotiate import SMB3, SMB311, security_mode
from lab.smb.ntstatus import STATUS_ACCESS_DENIED, STATUS_MORE_PROCESSING_REQUIRED
from lab.smb.sealing import Sealer
from lab.smb.signing import Signer, new_signer
from lab.smb.target import Encryption, Signing, SmbTarget
from lab.smb.wire import (
    SESSION_ENCRYPT,
    SESSION_GUEST,
    SESSION_NULL,
    SIGNING_REQUIRED,
    Command,
    Flags,
)

_ROUNDS = 8


class Session:
    """Someone logged on over a connection. `signer` is None when messages go unsigned, `sealer` when they
    go unencrypted."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection, self.id = connection, number
        self.key: Signer | None = None
        """Signs what must be signed even where nothing else is: the TREE_CONNECT of 3.1.1."""
        self.cipher: Sealer | None = None
        """Encrypts where the server, the share or the client asks for it."""
        self.signs = False
        self.seals = False

    @property
    def signer(self) -> Signer | None:
        return self.key if self.signs else None

    @property
    def sealer(self) -> Sealer | None:
        return self.cipher if self.seals else None

    def seal(self, what: str) -> None:
        """Encrypt from now on. Raises NotOffered when the server cannot."""
        if self.cipher is None:
            raise NotOffered(f"{what} on {self.connection.place} wants encryption, and none was agreed on")
        self.seals = True

    def log_off(self) -> None:
        """End the session. Raises as Connection.exchange does."""
        self.connection.exchange(Command.LOGOFF, NOTHING, session=self)
        self.connection.forget(self)


def log_on(connection: Connection, target: SmbTarget) -> Session:
    """Log on as the target's user.

    Raises CredentialsRefused when the server does not let the user in, or only as a guest, and
    NotOffered when encryption is insisted on and cannot be had.
    """
    proof = Proof(target)
    preauth = connection.preauth.copy() if connection.preauth is not None else None
    security, session_id = target.security, 0
    assert connection.agreed is not None
    token = proof.begin(connection.agreed.token)
    for _ in range(_ROUNDS):
        body = session_setup_request(token, security_mode(security))
        reply = connection.exchange(Command.SESSION_SETUP, body, session_id=session_id)
        if reply.status not in (0, STATUS_MORE_PROCESSING_REQUIRED):
            raise _refused(reply.status, target, connection)
        session_id = reply.header.session_id
        flags, answer = reply.read(parse_session_setup)
        if preauth is not None:
            preauth.update(connection.last[0])
            if reply.status == STATUS_MORE_PROCESSING_REQUIRED:
                preauth.update(connection.last[1])
        if answer and not proof.complete:
            token = proof.answer(answer)
        if reply.status == 0:
            break
    else:
        raise Malformed(f"{target.place} did not end the log-on after {_ROUNDS} rounds")
    if flags & (SESSION_GUEST | SESSION_NULL):
        raise CredentialsRefused(
            f"{target.place} took user '{target.user}' for a guest, which cannot sign its messages"
        )
    session = Session(connection, session_id)
    _protect(session, target, proof, preauth.value if preauth is not None else b"", flags)
    if not _signed_by(session, reply.message, must=connection.dialect == SMB311 or session.signs):
        connection.close()
        raise Malformed(
            f"{target.place} did not prove that it knows the session's key; "
            "so it is when the negotiation was changed on its way"
        )
    connection.know(session)
    return session


def _refused(status: int, target: SmbTarget, connection: Connection) -> LabError:
    if status == STATUS_ACCESS_DENIED and connection.agreed is not None and connection.agreed.cipher is None:
        return AccessDenied(
            f"{target.place} refused user '{target.user}' as a server does that requires encryption: "
            "none was agreed on",
            help="Offer encryption, and dialect 3.0 or later, in this host's smb settings.",
        )
    return of_status(status, target.place, target.user, "the log-on")


def _protect(session: Session, target: SmbTarget, proof: Proof, preauth: bytes, flags: int) -> None:
    agreed, security = session.connection.agreed, target.security
    assert agreed is not None
    keys = session_keys(agreed.dialect, proof.session_key(), preauth, agreed.cipher)
    session.key = new_signer(agreed.signing, keys.signing)
    session.signs = security.signing is Signing.REQUIRED or bool(agreed.security_mode & SIGNING_REQUIRED)
    if agreed.dialect >= SMB3 and agreed.cipher is not None:
        session.cipher = Sealer(agreed.cipher, keys, session.id)
    if flags & SESSION_ENCRYPT or security.encryption is Encryption.REQUIRED:
        session.seal("the session")


def _signed_by(session: Session, message: memoryview, *, must: bool) -> bool:
    """Whether the last answer of the log-on carries the session's signature, where it must or says so."""
    if not message[16] & Flags.SIGNED:
        return not must
    return session.key is not None and session.key.verify(message)
