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
Symbols = Annotated[
    list[Path],
    typer.Option(
        "--symbols",
        "-y",
        exists=True,
        file_okay=False,
        help="Folder with ISF symbol files; may be given several times.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

DEFAULT_INVENTORY = [Path("inventory")]
DEFAULT_DATA = Path("lab-data")
