"""Triage of dump files as a flow: each one a task with its own artifact."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from lab.analysis import triage as analyse
from lab.model import Triage
from lab.report.triage_text import render
from lab.symbols import symbol_store


@task(name="triage", cache_policy=NO_CACHE, persist_result=False)
def triage_one(dump: Path, symbols: tuple[str, ...]) -> Triage:
    found = analyse(dump, symbol_store(symbols))
    text = render(found).replace("```", "'''")  # a name in a dump must not end the block
    create_markdown_artifact(f"```\n{text}```", key="triage", description=dump.name)
    return found


@flow(name="triage", persist_result=False)
def triage(dumps: list[Path], symbols: tuple[str, ...] = ()) -> list[Triage]:
    """Read each dump; `symbols` are specifications as of `lab triage --symbols`.

    An unreadable one fails its own task; the error passes through after the others.
    """
    futures = [triage_one.with_options(name=d.name).submit(d, symbols) for d in dumps]
    return [future.result() for future in futures]
