"""`lab dump`: single questions to a dump, each with an answer like the debugger's."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.dump import devices, filters, names, system, threads, verifier
from lab.cli.dump.command import DumpFile, add, kernel_of, tell, tell_of_header
from lab.cli.dump.kd import ask, is_analyze, understood
from lab.cli.options import Incomplete, Json, Offline, SymbolCache, SymbolSpecs
from lab.cli.triage import triage
from lab.kernel.identify import NoKernel

app = typer.Typer(
    help="Single questions to a dump, answered in the debugger's form. Its own words are taken, too: "
    "'lab dump lm', 'lab dump kd \"!verifier 200\" DUMP'.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

add(app, system.info, "info", debugger="vertarget, .dumpdebug", of_header=system.header_info)
add(app, names.modules, "modules", debugger="lm, lmv")
add(app, names.unloaded, "unloaded", debugger="lm, at its end")
add(app, threads.threads, "threads", debugger="!process 0 2")
add(app, threads.stack, "stack", debugger="kn, ~N k, !thread, .frame /r")
add(app, system.processors, "processors", debugger="!running")
add(app, verifier.verifier, "verifier", debugger="!verifier, !verifier 1")
add(app, verifier.log, "log", debugger="!verifier 200, !verifier 100")
add(app, devices.devstack, "devstack", debugger="!devstack, !devobj")
add(app, filters.filters, "filters", debugger="!fltkd.filters, .volumes, .volume")
add(app, devices.irp, "irp", debugger="!irp")
add(app, system.memory, "memory", debugger="db, dq, dqs")
add(app, names.symbol, "symbol", debugger="ln, x")
add(app, names.type_, "type", debugger="dt")

add(app, system.info, "vertarget", of_header=system.header_info)
add(app, names.modules, "lm")
add(app, names.modules, "lmv", verbose=True)
add(app, threads.stack, "kn")
add(app, system.memory, "db", quads=False, named=False)
add(app, system.memory, "dq", quads=True, named=False)
add(app, system.memory, "dqs", quads=False, named=True)
add(app, names.symbol, "ln")
add(app, names.symbol, "x")
add(app, names.type_, "dt")


@app.command("kd")
def command_line(
    command: Annotated[
        str, typer.Argument(help="As typed in the debugger: '!verifier 200', 'lmvm srv2', 'kn'.")
    ],
    dump: DumpFile,
    symbols: SymbolSpecs = [],  # noqa: B006  typer copies it
    symbol_cache: SymbolCache = None,
    offline: Offline = False,
    incomplete: Incomplete = False,
    json: Json = False,
) -> None:
    """A command line of the debugger, as it is typed there; an unknown one lists the known ones."""
    if is_analyze(command):
        triage(str(dump), symbols, symbol_cache, offline, json, incomplete=incomplete)
        return
    question, _ = understood(command)
    try:
        with kernel_of(dump, symbols, symbol_cache, offline, incomplete) as kernel:
            tell(lambda: ask(kernel, command), json)
    except NoKernel as error:
        if question is not system.info or not incomplete:
            raise
        tell_of_header(dump, system.header_info, error, json)


__all__ = ["app"]
