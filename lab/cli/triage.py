"""`lab triage`: what a dump says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lab.analysis import triage as analyse
from lab.cli.console import errors, out, show, working
from lab.cli.options import (
    DEFAULT_DATA,
    DEFAULT_INVENTORY,
    Data,
    Incomplete,
    Inventories,
    Json,
    Offline,
    SymbolCache,
    SymbolSpecs,
)
from lab.cli.symbols import store_for
from lab.cli.unc import is_on_a_share
from lab.dumps import open_dump
from lab.dumps.source import FileSource, Source
from lab.model import ConfigurationError
from lab.report.cleaned import cleaned
from lab.report.data import render_triage, to_json
from lab.report.triage_text import opening, rest
from lab.report.whole import write_whole
from lab.report.words import line
from lab.symbols import SymbolStore


def triage(
    dump: Annotated[
        str | None,
        typer.Argument(
            metavar="DUMP",
            help="A kernel dump (MEMORY.DMP, minidump); //HOST/SHARE/PATH with a host of the inventory; "
            "or with --host its name.",
        ),
    ] = None,
    symbols: SymbolSpecs = [],  # noqa: B006  typer copies it
    symbol_cache: SymbolCache = None,
    offline: Offline = False,
    json: Json = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one HTML page.")] = None,
    incomplete: Incomplete = False,
    watch: Annotated[
        Path | None,
        typer.Option("--watch", metavar="FOLDER", help="Triage every dump that comes into a folder."),
    ] = None,
    html_dir: Annotated[
        Path | None,
        typer.Option(
            "--html-dir", metavar="FOLDER", help="With --watch: where results go; else beside the dumps."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="With --watch: what is there now, then end.")] = False,
    interval: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="With --watch: seconds between two looks.")
    ] = 2.0,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="HOST", help="The newest dump of a host of the inventory, read in place."
        ),
    ] = None,
    copy: Annotated[
        bool | None,
        typer.Option(
            "--copy/--no-copy",
            help="Copy a host's dump into the vault, too. By default one that is named //HOST/SHARE/PATH.",
        ),
    ] = None,
    inventory: Inventories = DEFAULT_INVENTORY,
    data: Data = DEFAULT_DATA,
) -> None:
    """Read a dump like the debugger's !analyze, kn, !verifier 200, !devstack, !fltkd.volume, without Windows.

    Names the drivers that the dump speaks against, with the evidence. Single questions: 'lab dump'.
    """
    if watch is None and (once or html_dir is not None):
        raise ConfigurationError(
            "--watch is missing: --once and --html-dir belong to it", help="Add --watch FOLDER."
        )
    if sum((watch is not None, host is not None, dump is not None and host is None)) != 1:
        raise ConfigurationError(
            "exactly one of a dump, --watch FOLDER and --host HOST is needed",
            help="Give the path of a dump file.",
        )
    if watch is not None:
        from lab.cli.watch import watch as watch_folder

        store = store_for(symbols, symbol_cache, offline)
        watch_folder(watch, html_dir, store, interval=interval, once=once, incomplete=incomplete)
        return
    if host is not None or (dump is not None and is_on_a_share(dump)):
        from flows.bench import vault_at  # the lab's hosts cost a second to import
        from lab.capture import Vault
        from lab.cli.remote import Reading, remote_dump

        copied = host is None if copy is None else copy
        vault = Vault(vault_at(data)) if copied else None
        with remote_dump(inventory, host, dump, data) as remote, Reading(remote, vault) as reading:
            store = store_for(symbols, symbol_cache, offline, of_host=remote.symbols)
            _tell(reading.open, remote.name, store, incomplete, json, html)
            reading.finish()
        return
    if copy is not None:
        raise ConfigurationError(
            "--copy and --no-copy belong to a dump of a host", help="Leave it out, or name //HOST/SHARE/PATH."
        )
    assert dump is not None
    path = Path(dump)
    if _is_user_dump(path):
        _tell_user_dump(path, json, html)
        return
    _tell(lambda: path, dump, store_for(symbols, symbol_cache, offline), incomplete, json, html)


def _tell(
    file: Callable[[], Path | Source],
    name: str,
    store: SymbolStore,
    incomplete: bool,
    json: bool,
    html: Path | None,
) -> None:
    """Triage one dump. As text, what its header says comes at once: the rest may wait for symbols."""
    text = not json and html is None
    if text:
        with open_dump(file(), name=name, allow_incomplete=incomplete) as opened:
            show(opening(opened.facts(), opened.bugcheck) + "\n")
    with working("reading memory and symbols"):
        found = analyse(file(), store, name=name, allow_incomplete=incomplete)
    if json:
        typer.echo(render_triage(found))
    if html is not None:
        from lab.report.triage_html import render_triage_html

        written = write_whole(render_triage_html(found), html)
        (errors if json else out).print(escape(str(written)), soft_wrap=True)
    if text:
        show(rest(found))


def _is_user_dump(path: Path) -> bool:
    source = FileSource(path)
    try:
        return source.read(0, 4) == b"MDMP"
    finally:
        source.close()


def _tell_user_dump(path: Path, json: bool, html: Path | None) -> None:
    from lab.dumps.user import summarise
    from lab.report.user_dump_text import describe

    summary = summarise(path)
    if html is not None:
        raise ConfigurationError(
            f"{path.name} is a dump of a user-mode process: there is no page for those",
            help="Leave out --html for its summary.",
        )
    if json:
        typer.echo(to_json(summary))
    else:
        show(describe(cleaned(summary, line)))
