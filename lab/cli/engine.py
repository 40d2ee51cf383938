"""Prefect inside a command: quiet, since the journal tells the story, and deaf to Ctrl-C."""

from __future__ import annotations

import os
import signal

import flows  # noqa: F401  sets Prefect's surroundings before it is imported
from lab.model import InfrastructureError

os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")


def start() -> None:
    """Reach the Prefect server that the user's settings name, or start a temporary one.

    A temporary server is a child process. Ctrl-C goes to all processes of the terminal; a server that
    ended with it could not be told how the flow ended, and Prefect would report that instead. So it is
    started with SIGINT blocked, which a child inherits; it still ends with this process.

    Raises InfrastructureError when the server cannot be reached.
    """
    from prefect.client.orchestration import get_client  # Prefect takes seconds to import

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
            where = str(client.api_url)
    except RuntimeError as error:
        raise InfrastructureError(
            f"Prefect's temporary server did not start: {error}",
            help="Set PREFECT_API_URL to a running server, or see 'prefect server start'.",
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if problem is not None:
        raise InfrastructureError(
            f"the Prefect server at {where} cannot be reached: {problem}",
            help="Start it, or correct PREFECT_API_URL.",
        )
