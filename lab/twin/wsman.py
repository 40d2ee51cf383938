"""WS-Management as WinRM speaks it (MS-WSMV), as far as PowerShell sessions need it."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import uuid
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from psrpcore import PSRPCoreError

from lab.twin.psrp import RunScript, Session, UnknownCommand

_NS = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "p": "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    "ps": "http://schemas.microsoft.com/powershell",
}
_SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
_TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"

SHELL_NOT_FOUND = 0x8033805B  # ERROR_WSMAN_UNEXPECTED_SELECTORS
OPERATION_TIMED_OUT = 0x80338029  # ERROR_WSMAN_OPERATION_TIMEDOUT
INVALID_OPERATION = 0x80338004
INVALID_MESSAGE = 0x80338041

_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Reply:
    """An HTTP status and an envelope."""

    status: int
    body: bytes


class _Fault(Exception):
    def __init__(self, code: int, reason: str, subcode: str = "w:InternalError") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.subcode = subcode


class Endpoint:
    """The guest's PowerShell sessions. `forget` is what a restart of the guest does to them."""

    def __init__(self, run: RunScript, computer: str) -> None:
        self._run = run
        self._computer = computer
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def forget(self) -> None:
        with self._lock:
            sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            session.close()

    def answer(self, message: bytes) -> Reply:
        """Handle one request envelope. What a script raises, but PowerShellError, passes through."""
        try:
            request = ElementTree.fromstring(message)
            action = _text(request, "s:Header/a:Action")
            related = _text(request, "s:Header/a:MessageID")
        except ElementTree.ParseError:
            return self._fault("", _Fault(INVALID_MESSAGE, "The request is not an XML document."))
        try:
            handler = _ACTIONS.get(action)
            if handler is None:
                raise _Fault(
                    INVALID_OPERATION, f"The action {action} is not supported.", "a:ActionNotSupported"
                )
            body = handler(self, request)
        except _Fault as fault:
            return self._fault(related, fault)
        except UnknownCommand as unknown:
            return self._fault(related, _Fault(SHELL_NOT_FOUND, f"No command {unknown} in this shell."))
        except (PSRPCoreError, ValueError, binascii.Error) as error:
            return self._fault(related, _Fault(INVALID_MESSAGE, f"The request was not understood: {error}"))
        return Reply(200, _envelope(f"{action}Response", related, body))

    def _session(self, request: ElementTree.Element) -> Session:
        for selector in request.iterfind("s:Header/w:SelectorSet/w:Selector", _NS):
            if selector.get("Name") == "ShellId":
                with self._lock:
                    session = self._sessions.get((selector.text or "").upper())
                if session is not None:
                    return session
        raise _Fault(
            SHELL_NOT_FOUND,
            "The request for the Windows Remote Shell failed because the shell was not found on the server.",
            "w:InvalidSelectors",
        )

    def create(self, request: ElementTree.Element) -> str:
        shell = request.find("s:Body/rsp:Shell", _NS)
        creation = request.find("s:Body/rsp:Shell/ps:creationXml", _NS)
        if shell is None or creation is None:
            raise _Fault(INVALID_OPERATION, "Only PowerShell sessions can be created here.")
        shell_id = (shell.get("ShellId") or str(uuid.uuid4())).upper()
        session = Session(base64.b64decode(creation.text or ""), self._run)
        with self._lock:
            self._sessions[shell_id] = session
        uri = escape(_text(request, "s:Header/w:ResourceURI"))
        return (
            f'<x:ResourceCreated xmlns:x="{_TRANSFER}"><a:Address>{_NS["a"]}/role/anonymous</a:Address>'
            f"<a:ReferenceParameters><w:ResourceURI>{uri}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{shell_id}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f"</x:ResourceCreated><rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId>"
            f"<rsp:ResourceUri>{uri}</rsp:ResourceUri><rsp:InputStreams>stdin pr</rsp:InputStreams>"
            "<rsp:OutputStreams>stdout</rsp:OutputStreams><rsp:State>Connected</rsp:State></rsp:Shell>"
        )

    def command(self, request: ElementTree.Element) -> str:
        line = request.find("s:Body/rsp:CommandLine", _NS)
        if line is None:
            raise _Fault(INVALID_MESSAGE, "There is no command line.")
        command_id = uuid.UUID(line.get("CommandId") or str(uuid.uuid4()))
        arguments = "".join(node.text or "" for node in line.iterfind("rsp:Arguments", _NS))
        self._session(request).command(command_id, base64.b64decode(arguments))
        return (
            f"<rsp:CommandResponse><rsp:CommandId>{str(command_id).upper()}</rsp:CommandId>"
            "</rsp:CommandResponse>"
        )

    def send(self, request: ElementTree.Element) -> str:
        session = self._session(request)
        for stream in request.iterfind("s:Body/rsp:Send/rsp:Stream", _NS):
            data = base64.b64decode(stream.text or "")
            session.send(_command_id(stream), data, stream.get("Name", "stdin"))
        return "<rsp:SendResponse/>"

    def receive(self, request: ElementTree.Element) -> str:
        wanted = request.find("s:Body/rsp:Receive/rsp:DesiredStream", _NS)
        if wanted is None:
            raise _Fault(INVALID_MESSAGE, "There is no desired stream.")
        command_id = _command_id(wanted)
        answer = self._session(request).receive(command_id, _seconds(request))
        if answer is None:
            raise _Fault(
                OPERATION_TIMED_OUT,
                "The WS-Management service cannot complete the operation within the time specified in "
                "OperationTimeout.",
                "w:TimedOut",
            )
        data, done = answer
        where = f' CommandId="{str(command_id).upper()}"' if command_id else ""
        stream = (
            f'<rsp:Stream Name="stdout"{where}>{base64.b64encode(data).decode()}</rsp:Stream>' if data else ""
        )
        state = f'<rsp:CommandState{where} State="{_SHELL}/CommandState/Done"/>' if done else ""
        return f"<rsp:ReceiveResponse>{stream}{state}</rsp:ReceiveResponse>"

    def signal(self, request: ElementTree.Element) -> str:
        signal = request.find("s:Body/rsp:Signal", _NS)
        command_id = _command_id(signal) if signal is not None else None
        if command_id is None:
            raise _Fault(INVALID_MESSAGE, "There is no command to signal.")
        self._session(request).stop(command_id)
        return "<rsp:SignalResponse/>"

    def delete(self, request: ElementTree.Element) -> str:
        session = self._session(request)
        with self._lock:
            self._sessions = {k: s for k, s in self._sessions.items() if s is not session}
        session.close()
        return ""

    def _fault(self, related: str, fault: _Fault) -> Reply:
        body = (
            f"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>{fault.subcode}</s:Value>"
            f'</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">{escape(fault.reason)}</s:Text>'
            "</s:Reason><s:Detail>"
            '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" '
            f"Code={quoteattr(str(fault.code))} Machine={quoteattr(self._computer)}>"
            f"<f:Message>{escape(fault.reason)}</f:Message></f:WSManFault></s:Detail></s:Fault>"
        )
        return Reply(500, _envelope("http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", related, body))


_ACTIONS = {
    f"{_TRANSFER}/Create": Endpoint.create,
    f"{_TRANSFER}/Delete": Endpoint.delete,
    f"{_SHELL}/Command": Endpoint.command,
    f"{_SHELL}/Send": Endpoint.send,
    f"{_SHELL}/Receive": Endpoint.receive,
    f"{_SHELL}/Signal": Endpoint.signal,
}


def _envelope(action: str, related: str, body: str) -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NS.items())
    return (
        f'<s:Envelope xml:lang="en-US" {spaces}><s:Header><a:Action>{escape(action)}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID>"
        f"<a:To>{_NS['a']}/role/anonymous</a:To><a:RelatesTo>{escape(related)}</a:RelatesTo></s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def _text(request: ElementTree.Element, path: str) -> str:
    return request.findtext(path, "", _NS).strip()


def _command_id(element: ElementTree.Element) -> uuid.UUID | None:
    value = element.get("CommandId")
    return uuid.UUID(value) if value else None


def _seconds(request: ElementTree.Element) -> float:
    """The operation time-out, `PT20S` or `PT20.000S`; less a little, so that the fault arrives in time."""
    match = re.fullmatch(r"PT(\d+(?:\.\d+)?)S", _text(request, "s:Header/w:OperationTimeout"))
    return min(_LONGEST_WAIT, float(match[1]) if match else _LONGEST_WAIT) * 0.9
