"""A PDB with as many public symbols as a kernel's, from clang and lld."""

from __future__ import annotations

import subprocess
from pathlib import Path

TOOLS = Path("/usr/lib/llvm-19/bin")
PUBLICS = 30_000


def large(folder: Path) -> Path | None:
    """The path of a new PDB in `folder`; None when there is no compiler."""
    clang, link = TOOLS / "clang", TOOLS / "lld-link"
    if not (clang.exists() and link.exists()):
        return None
    lines = [f"MiRoutineNumber{n}: .globl MiRoutineNumber{n}\n ret\n .p2align 4" for n in range(PUBLICS)]
    source = folder / "large.s"
    source.write_text(".text\n.globl DriverEntry\nDriverEntry: ret\n.p2align 4\n" + "\n".join(lines) + "\n")
    _run(clang, "--target=x86_64-pc-windows-msvc", "-c", "large.s", "-o", "large.obj", folder=folder)
    options = ("/nodefaultlib", "/subsystem:native", "/driver", "/entry:DriverEntry", "/debug", "/opt:noref")
    _run(link, "/nologo", *options, "/out:large.sys", "/pdb:large.pdb", "large.obj", folder=folder)
    return folder / "large.pdb"


def _run(program: Path, *arguments: str, folder: Path) -> None:
    subprocess.run([str(program), *arguments], cwd=folder, check=True, capture_output=True)
