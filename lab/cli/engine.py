"""Prefect inside a command: a server of its own while it runs, unless the user's settings name one."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys

import httpx

import flows  # noqa: F401  sets Prefect's surroundings before it is imported
from lab.model import InfrastructureError, SystemClock, wait_until

START_SECONDS = 120.0
STOP_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


def start() -> None:
    """Make sure that flows find a Prefect server, and tell Prefect where it is.

    A server of our own is a process in a session of its own: Ctrl-C and a SIGTERM to our process group
    do not reach it, so that it is there to be told how the flow ended. It ends with us, also when we are
    killed. Raises InfrastructureError when it does not start, TimedOut when that takes too long.
    """
    os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    if os.environ.get("PREFECT_API_URL") or _profile_names_a_server():
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
            *("--host", "127.0.0.1", "--port", str(port), "--log-level", "critical"),
        ],
        env={**os.environ, "PREFECT_UI_ENABLED": "false"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )
    atexit.register(_stop, server)
    url = f"http://127.0.0.1:{port}/api"

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
    os.environ["PREFECT_API_URL"] = url


def _profile_names_a_server() -> bool:
    from prefect.settings import get_current_settings  # Prefect takes seconds to import

    return bool(get_current_settings().api.url)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
