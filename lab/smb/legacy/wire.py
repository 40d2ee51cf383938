"""The names of smbprotocol that we use, in one place.

That package carries no annotations, so each name is `Any` here and the rest of `lab.smb` is checked
strictly against our own signatures.
"""

from __future__ import annotations

import logging
from typing import Any

import smbprotocol.connection as _connection
import smbprotocol.exceptions as _exceptions
import smbprotocol.file_info as _file_info
import smbprotocol.header as _header
import smbprotocol.open as _open
import smbprotocol.session as _session
import smbprotocol.tree as _tree

Session: Any = _session.Session
TreeConnect: Any = _tree.TreeConnect
TreeDisconnect: Any = _tree.SMB2TreeDisconnect
Logoff: Any = _session.SMB2Logoff
Open: Any = _open.Open
Echo: Any = _connection.SMB2Echo
NtStatus: Any = _header.NtStatus
Access: Any = _open.FilePipePrinterAccessMask
Attributes: Any = _file_info.FileAttributes
Disposition: Any = _open.CreateDisposition
Options: Any = _open.CreateOptions
Impersonation: Any = _open.ImpersonationLevel
Sharing: Any = _open.ShareAccess
DirectoryClass: Any = _file_info.FileInformationClass

SMBException = _exceptions.SMBException
ResponseError: Any = _exceptions.SMBResponseException
AuthenticationError: Any = _exceptions.SMBAuthenticationError

STATUS_NAMES: dict[int, str] = {
    value: name for name, value in vars(_header.NtStatus).items() if name.startswith("STATUS_")
} | {
    0xC0000008: "STATUS_INVALID_HANDLE",
    0xC0000017: "STATUS_NO_MEMORY",
    0xC0000054: "STATUS_FILE_LOCK_CONFLICT",
    0xC000006E: "STATUS_ACCOUNT_RESTRICTION",
    0xC0000072: "STATUS_ACCOUNT_DISABLED",
    0xC000009C: "STATUS_DEVICE_DATA_ERROR",
    0xC00000C4: "STATUS_UNEXPECTED_NETWORK_ERROR",
    0xC000011F: "STATUS_TOO_MANY_OPENED_FILES",
    0xC000013B: "STATUS_LOCAL_DISCONNECT",
    0xC000015B: "STATUS_LOGON_TYPE_NOT_GRANTED",
    0xC0000185: "STATUS_IO_DEVICE_ERROR",
    0xC000020C: "STATUS_CONNECTION_DISCONNECTED",
    0xC000020D: "STATUS_CONNECTION_RESET",
    0xC0000224: "STATUS_PASSWORD_MUST_CHANGE",
    0xC0000234: "STATUS_ACCOUNT_LOCKED_OUT",
    0xC000026E: "STATUS_VOLUME_DISMOUNTED",
    0xC00002FE: "STATUS_SHUTDOWN_IN_PROGRESS",
    0xC000035C: "STATUS_NETWORK_SESSION_EXPIRED",
}
"""Names of NTSTATUS values (MS-ERREF 2.3.1): smbprotocol's, and some that it lacks."""

# Its receiver thread logs a lost connection as an error with a traceback. A lost connection is an
# ordinary event here and reaches the user as one sentence of ours.
logging.getLogger("smbprotocol").setLevel(logging.CRITICAL + 1)


def status_name(status: int) -> str:
    """`STATUS_ACCESS_DENIED`, or `0xC0000022`-like hexadecimal for a status smbprotocol does not know."""
    return STATUS_NAMES.get(status, f"0x{status:08X}")


class _Outstanding(dict[int, Any]):
    """Outstanding requests whose `values()` may be walked while another thread adds to them.

    smbprotocol's receiver walks this table when its connection ends, at which moment our thread may
    still be sending; with a plain dict that walk can fail and leave requests waiting for ever.
    """

    def values(self) -> Any:
        return dict(self).values()


def new_connection(guid: Any, host: str, port: int) -> Any:
    """A smbprotocol Connection of its own, not connected, that requires signing."""
    make: Any = _connection.Connection
    connection = make(guid, host, port, require_signing=True)
    connection.outstanding_requests = _Outstanding()
    return connection
