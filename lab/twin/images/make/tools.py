"""Running the LLVM tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from lab.twin.images.make import LLVM

TARGET = "--target=x86_64-pc-windows-msvc"
COMPILE = (
    *(TARGET, "-Os", "-g", "-gcodeview", "-gno-codeview-command-line", "-fstandalone-debug", "-fno-builtin"),
    *(
        "-fasynchronous-unwind-tables",
        "-fms-extensions",
        "-mgeneral-regs-only",
        "-fno-stack-protector",
        "-fno-optimize-sibling-calls",
    ),
    *("-fno-ident", "-fdebug-compilation-dir=.", "-Wall", "-Werror", "-Wno-unused-function"),
    "-Wno-microsoft-anon-tag",
)
LINK = (
    *("/nologo", "/subsystem:native", "/driver", "/nodefaultlib", "/debug", "/opt:ref", "/opt:noicf"),
    *("/Brepro", "/incremental:no", "/entry:DriverEntry", "/pdbsourcepath:d:\\os", "/base:0x140000000"),
)


def run(tool: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [LLVM / tool, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise SystemExit(f"{tool} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout


def compile_c(source: str, folder: Path, *options: str) -> Path:
    """Compile `source`, a file in `folder`, there, so that no path gets into what is made."""
    kind = ("-x", "assembler-with-cpp", TARGET) if source.endswith(".S") else COMPILE
    out = f"{Path(source).stem}.o"
    run("clang", *kind, *options, "-I.", "-c", source, "-o", out, cwd=folder)
    return folder / out


def assemble(source: str, folder: Path) -> str:
    """Assemble `source`, a file in `folder`; returns the object's name there."""
    out = f"{Path(source).stem}.o"
    run("llvm-mc", "--triple=x86_64-pc-windows-msvc", "-filetype=obj", source, "-o", out, cwd=folder)
    return out


def section_sizes(objects: list[Path]) -> dict[str, int]:
    """Raw size of every section of object files."""
    found: dict[str, int] = {}
    for path in objects:
        text = run("llvm-readobj", "--sections", path)
        for name, size in re.findall(r"Name: (\S+) .*?RawDataSize: (\d+)", text, re.DOTALL):
            found[name] = found.get(name, 0) + int(size)
    return found


def import_library(image: str, names: list[str], folder: Path) -> Path:
    definition = folder / f"{image}.def"
    definition.write_text(f"LIBRARY {image}\nEXPORTS\n" + "".join(f"  {name}\n" for name in names))
    library = folder / f"{image}.lib"
    run("llvm-lib", f"/def:{definition}", f"/out:{library}", "/machine:x64")
    return library
