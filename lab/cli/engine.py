"""Prefect inside a command: a server of its own while it runs, unless the user's settings name one."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

import flows  # noqa: F401  sets Prefect's surroundings before it is imported
from lab.model import InfrastructureError, SystemClock, wait_until

START_SECONDS = 120.0
STOP_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


@contextmanager
def running() -> Iterator[None]:
    """Within this block flows find a Prefect server.

    A server of our own is a process in a session of its own: Ctrl-C and a SIGTERM to our process group
    do not reach it, so that it is there to be told how the flow ended. It ends with the block, and when
    we are killed. Raises InfrastructureError when it does not start, TimedOut when that takes too long.
    """
    os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    from prefect.settings import PREFECT_API_URL, temporary_settings  # takes seconds to import

    if PREFECT_API_URL.value():
        yield
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:  # handed over: nobody can take it in between
        port = listener.getsockname()[1]
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
                *("--fd", str(listener.fileno()), "--log-level", "critical"),
            ],
            env={**os.environ, "PREFECT_UI_ENABLED": "false"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait_for(server, url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        _stop(server)


def _wait_for(server: subprocess.Popen[bytes], url: str) -> None:
    def healthy() -> bool | None:
        if server.poll() is not None:
            raise InfrastructureError(
                f"Prefect's server ended with code {server.returncode} while it started",
                help="Try 'prefect server start', which shows why, or set PREFECT_API_URL to a running one.",
            )
        try:
            return httpx.get(f"{url}/health", timeout=2, trust_env=False).is_success or None
        except httpx.HTTPError:
            return None

    wait_until(healthy, wait="flow engine", seconds=START_SECONDS, clock=SystemClock(), every=0.1)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
