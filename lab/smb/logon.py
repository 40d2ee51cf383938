"""SESSION_SETUP: who we are, and the keys that follow from it (MS-SMB2 3.2.4.2.3, 3.2.5.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import spnego
from spnego.exceptions import SpnegoError

from lab.model import CredentialsRefused, InfrastructureError, LabError
from lab.smb.connection import Connection
from lab.smb.errors import AccessDenied, Malformed, NotOffered, of_status
from lab.smb.keys import session_keys
from lab.smb.messages import NOTHING, parse_session_setup, session_setup_request
from lab.smb.negotiate import SMB3, SMB311, security_mode
from lab.smb.ntstatus import STATUS_ACCESS_DENIED
from lab.smb.sealing import Sealer
from lab.smb.signing import Signer, new_signer
from lab.smb.target import Authentication, Encryption, Signing, SmbTarget, revealed
from lab.smb.wire import (
    SESSION_ENCRYPT,
    SESSION_GUEST,
    SESSION_NULL,
    SIGNING_REQUIRED,
    Command,
    Flags,
)

_MORE = 0xC000_0016  # STATUS_MORE_PROCESSING_REQUIRED
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
    context = _authentication(target)
    preauth = connection.preauth.copy() if connection.preauth is not None else None
    security, session_id = target.security, 0
    assert connection.agreed is not None
    token = _step(context, connection.agreed.token or None, target)
    for _ in range(_ROUNDS):
        body = session_setup_request(token or b"", security_mode(security))
        reply = connection.exchange(Command.SESSION_SETUP, body, session_id=session_id)
        if reply.status not in (0, _MORE):
            raise _refused(reply.status, target, connection)
        session_id = reply.header.session_id
        flags, answer = parse_session_setup(reply.message)
        if preauth is not None:
            preauth.update(connection.last[0])
            if reply.status == _MORE:
                preauth.update(connection.last[1])
        if answer and not context.complete:
            token = _step(context, answer, target)
        if reply.status == 0:
            break
    else:
        raise Malformed(f"{target.place} did not end the log-on after {_ROUNDS} rounds")
    if flags & (SESSION_GUEST | SESSION_NULL):
        raise CredentialsRefused(
            f"{target.place} took user '{target.user}' for a guest, which cannot sign its messages"
        )
    session = Session(connection, session_id)
    _protect(session, target, context, preauth.value if preauth is not None else b"", flags)
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


def _protect(session: Session, target: SmbTarget, context: Any, preauth: bytes, flags: int) -> None:
    agreed, security = session.connection.agreed, target.security
    assert agreed is not None
    keys = session_keys(agreed.dialect, _session_key(context, target), preauth, agreed.cipher)
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


def _authentication(target: SmbTarget) -> Any:
    """A context of pyspnego, before its first step."""
    make: Callable[..., Any] = spnego.client
    protocol = target.security.authentication
    try:
        return make(
            target.user,
            revealed(target.password) or None,
            hostname=target.host,
            service="cifs",
            protocol=protocol.value,
            options=spnego.NegotiateOptions.session_key,
        )
    except SpnegoError as error:
        raise _cannot(target, error) from None
    except ImportError:
        raise _without_kerberos(target) from None


def _step(context: Any, token: bytes | None, target: SmbTarget) -> bytes | None:
    try:
        out: bytes | None = context.step(in_token=token)
    except SpnegoError as error:
        raise _cannot(target, error) from None
    except Exception as error:  # whatever a strange token makes its parser raise
        raise Malformed(
            f"{target.place} sent a log-on token that cannot be read ({type(error).__name__})"
        ) from None
    return out


def _session_key(context: Any, target: SmbTarget) -> bytes:
    if not context.complete:
        raise Malformed(f"{target.place} ended the log-on before it proved who it is")
    return bytes(context.session_key)


def _cannot(target: SmbTarget, error: SpnegoError) -> InfrastructureError:
    why = " ".join(str(error.message).split())
    if target.security.authentication is Authentication.KERBEROS and "not available" in why:
        return _without_kerberos(target)
    return CredentialsRefused(f"cannot log on as '{target.user}' to {target.place}: {why}")


def _without_kerberos(target: SmbTarget) -> InfrastructureError:
    return InfrastructureError(
        f"Kerberos is not installed here, and {target.place} is to be logged on to by it",
        help="Install it with: pip install 'bugcheck-lab[kerberos]'",
    )
