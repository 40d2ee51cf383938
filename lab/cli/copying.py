"""A dump on its way into the vault, as seen on a terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lab.capture import Fetch
from lab.cli.console import errors


def finished(fetch: Fetch, name: str) -> str:
    """Bring a fetch to its end, with a bar on a terminal; returns the SHA-256.

    When it is interrupted, what is kept and how to go on is said.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    with bar:
        task = bar.add_task("copying", total=fetch.ref.length, completed=fetch.received)

        def show(received: int, of: int) -> None:
            bar.update(task, completed=received, description="copying" if received < of else "hashing")

        try:
            return fetch.finish(show)
        except KeyboardInterrupt:
            bar.stop()
            kept = f"{size(fetch.received)} of {size(fetch.ref.length)}"
            errors.print(escape(f'kept {kept} of {name}: "{_command(name)}" goes on'), soft_wrap=True)
            raise


def _command(name: str) -> str:
    """How to go on with a dump of that name, for a shell."""
    if name.startswith("//"):
        return f"lab fetch '{name}'"
    host, _, file = name.partition(":")
    return f"lab fetch --host {host} '{file}'"


def size(count: int) -> str:
    """Bytes for people: 31 MiB, 4.0 GiB."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = 0
    while count >= 1000 << 10 * power and power < len(units) - 1:
        power += 1
    value = count / (1 << 10 * power)
    return f"{value:.1f} {units[power]}" if power and value < 10 else f"{value:.0f} {units[power]}"
