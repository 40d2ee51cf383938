"""Prefect flows: order, retries, progress and artifacts. Everything they do is in `lab`."""

from flows import environment as _environment  # noqa: F401  before Prefect is imported anywhere
