"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Inventories = Annotated[
    list[Path],
    typer.Option("--inventory", "-i", help="Inventory file or folder of *.yaml; may be given several times."),
]
Data = Annotated[
    Path,
    typer.Option("--data", envvar="BUGCHECK_LAB_DATA", help="Folder of the journal and the dump vault."),
]
SymbolSpecs = Annotated[
    list[str],
    typer.Option(
        "--symbols",
        "-y",
        metavar="SPEC",
        help="Where symbols are: a folder, a URL, or srv*FOLDER*URL; may be given several times. "
        "Else BUGCHECK_LAB_SYMBOLS, else _NT_SYMBOL_PATH, separated by ';'.",
    ),
]
SymbolCache = Annotated[
    Path | None, typer.Option("--symbol-cache", metavar="FOLDER", help="Where fetched symbols are kept.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask no symbol server; use what is kept here.")]
Incomplete = Annotated[
    bool, typer.Option("--incomplete", help="Go on with a dump that is damaged, cut off or only a header.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

DEFAULT_INVENTORY = [Path("inventory")]
DEFAULT_DATA = Path("lab-data")
