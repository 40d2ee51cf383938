"""One PowerShell session of the guest: psrpcore speaks the protocol, `lab.twin.scripts` answers.

Threads: one lock a session; `receive` waits without it.
"""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

from psrpcore import (
    CreatePipelineEvent,
    GetAvailableRunspacesEvent,
    PSRPPayload,
    ResetRunspaceStateEvent,
    ServerPipeline,
    ServerRunspacePool,
    SetMaxRunspacesEvent,
    SetMinRunspacesEvent,
    StreamType,
)
from psrpcore.types import (
    ErrorCategory,
    ErrorCategoryInfo,
    ErrorRecord,
    NETException,
    PipelineState,
    PSInvocationState,
)

from lab.twin.binding import PowerShellError

_FRAGMENT_BYTES = 96 * 1024
"""Most bytes of one Receive: with Base64 well below the 150 KiB envelope of the oldest clients."""

RunScript = Callable[[str, Mapping[str, object]], str]


class UnknownCommand(LookupError):
    """No pipeline of that id."""


class Session:
    """A runspace pool. `run` executes one script; what it raises, but PowerShellError, passes through."""

    def __init__(self, creation: bytes, run: RunScript) -> None:
        self._run = run
        self._pool = ServerRunspacePool()
        self._pipelines: dict[uuid.UUID, ServerPipeline] = {}
        self._done: set[uuid.UUID] = set()
        self._out: defaultdict[uuid.UUID | None, deque[bytes]] = defaultdict(deque)
        self._closed = False
        self._changed = threading.Condition()
        self._feed(creation, None)

    def command(self, pipeline_id: uuid.UUID, data: bytes) -> None:
        with self._changed:
            self._pipelines[pipeline_id] = ServerPipeline(self._pool, pipeline_id)
        self._feed(data, pipeline_id)

    def send(self, pipeline_id: uuid.UUID | None, data: bytes, stream: str) -> None:
        if pipeline_id is not None and pipeline_id not in self._pipelines:
            raise UnknownCommand(pipeline_id)
        self._feed(data, pipeline_id, StreamType.prompt_response if stream == "pr" else StreamType.default)

    def receive(self, pipeline_id: uuid.UUID | None, seconds: float) -> tuple[bytes, bool] | None:
        """What the session has to say to the target, and whether the pipeline is done; None: nothing yet."""
        with self._changed:
            if pipeline_id is not None and pipeline_id not in self._pipelines:
                raise UnknownCommand(pipeline_id)
            self._changed.wait_for(
                lambda: self._out[pipeline_id] or pipeline_id in self._done or self._closed, seconds
            )
            waiting = self._out[pipeline_id]
            data = waiting.popleft() if waiting else b""
            done = pipeline_id in self._done and not waiting
            return (data, done) if data or done or self._closed else None

    def stop(self, pipeline_id: uuid.UUID) -> None:
        """Stop or forget a pipeline."""
        with self._changed:
            pipeline = self._pipelines.get(pipeline_id)
            if pipeline is None:
                raise UnknownCommand(pipeline_id)
            if pipeline.state == PSInvocationState.Running and pipeline_id not in self._done:
                pipeline.stop()
                self._finish(pipeline_id)

    def close(self) -> None:
        """Never waits: a script that holds the session may itself wait for the machine that closes it."""
        self._closed = True
        if self._changed.acquire(blocking=False):
            self._changed.notify_all()
            self._changed.release()

    def _feed(
        self, data: bytes, pipeline_id: uuid.UUID | None, stream: StreamType = StreamType.default
    ) -> None:
        with self._changed:
            self._pool.receive_data(PSRPPayload(data, stream, pipeline_id))
            while (event := self._pool.next_event()) is not None:
                self._handle(event)
            self._drain()

    def _handle(self, event: object) -> None:
        if isinstance(event, CreatePipelineEvent):
            self._execute(self._pipelines[event.pipeline_id], event)
        elif isinstance(event, GetAvailableRunspacesEvent):
            self._pool.runspace_availability_response(event.ci, self._pool.max_runspaces)
        elif isinstance(event, SetMaxRunspacesEvent | SetMinRunspacesEvent | ResetRunspaceStateEvent):
            self._pool.runspace_availability_response(event.ci, True)

    def _execute(self, pipeline: ServerPipeline, event: CreatePipelineEvent) -> None:
        pipeline.start()
        try:
            pipeline.write_output(self._answer(event))
        except PowerShellError as error:
            failed = PipelineState(PipelineState=int(PSInvocationState.Failed))
            failed.ExceptionAsErrorRecord = _error_record(error)
            pipeline.prepare_message(failed)
        else:
            pipeline.complete()
        self._finish(event.pipeline_id)

    def _answer(self, event: CreatePipelineEvent) -> str:
        commands = event.pipeline.commands
        if len(commands) != 1 or not commands[0].is_script:
            name = commands[0].command_text if commands else ""
            raise PowerShellError(
                f"The term '{name}' is not recognized as the name of a cmdlet, function, script file, or "
                "operable program.",
                "CommandNotFoundException",
                "System.Management.Automation.CommandNotFoundException",
            )
        parameters = {str(name): _plain(value) for name, value in commands[0].parameters if name}
        return self._run(str(commands[0].command_text), parameters)

    def _finish(self, pipeline_id: uuid.UUID) -> None:
        self._drain()
        self._done.add(pipeline_id)
        self._changed.notify_all()

    def _drain(self) -> None:
        while (payload := self._pool.data_to_send(_FRAGMENT_BYTES)) is not None:
            self._out[payload.pipeline_id].append(payload.data)
        self._changed.notify_all()


def _plain(value: Any) -> object:
    """Python's own types for what came over the wire, at any depth."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _error_record(error: PowerShellError) -> ErrorRecord:
    exception = NETException(Message=error.message, HResult=-2146233087)
    exception.PSObject.type_names = [error.exception, *exception.PSTypeNames]
    return ErrorRecord(
        Exception=exception,
        CategoryInfo=ErrorCategoryInfo(
            Category=ErrorCategory.NotSpecified, Reason=error.exception.rpartition(".")[2]
        ),
        FullyQualifiedErrorId=error.error_id,
    )
