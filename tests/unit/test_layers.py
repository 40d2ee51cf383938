"""The import rule of the house: layers point down, the twin is known to nobody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS: list[set[str]] = [
    {"model"},
    {"dumps", "symbols"},
    {"inventory"},
    {"machines", "windows", "smb", "kernel"},
    {"bisect", "analysis", "capture", "journal"},
    {"playbook", "report"},
    {"provision", "trials"},
    {"flows", "cli"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
DRAWN_SIDEWAYS = {("cli", "flows"), ("cli", "twin")}  # the command line alone starts flows and the twin
TWIN_MAY_IMPORT = {"model", "symbols", "twin"}
ALLOWED_ANYWHERE = {"", "__init__"}  # `import lab` for its version


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "flows" if parts[0] == "flows" else parts[1]


def imports_of(source: str) -> Iterator[str]:
    """Dotted names of everything imported anywhere in a module, relative imports excepted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "lab":
                yield from (f"lab.{alias.name}" for alias in node.names)
            else:
                yield node.module


def violations(path: Path, source: str) -> list[str]:
    room = room_of(path)
    found = []
    for name in imports_of(source):
        top, _, rest = name.partition(".")
        if top == "prefect" and room not in ("flows", "cli"):
            found.append(f"{path}: imports prefect; only flows and the command line may")
        if top not in ("lab", "flows"):
            continue
        target = "flows" if top == "flows" else rest.split(".")[0]
        if target == room or target in ALLOWED_ANYWHERE or target.startswith("__"):
            continue
        if (room, target) in DRAWN_SIDEWAYS:
            continue
        if room == "twin":
            if target not in TWIN_MAY_IMPORT:
                found.append(f"{path}: the twin imports lab.{target}")
        elif target == "twin":
            found.append(f"{path}: imports the twin; nothing but the command line may")
        elif target not in RANK or room not in RANK:
            found.append(f"{path}: lab.{target} or lab.{room} has no place in the layers")
        elif RANK[target] >= RANK[room]:
            found.append(f"{path}: imports lab.{target}, which is not below lab.{room}")
    return found


def sources() -> list[Path]:
    skip = {ROOT / "lab" / "__init__.py", ROOT / "lab" / "__main__.py"}
    return sorted(p for d in ("lab", "flows") for p in (ROOT / d).rglob("*.py") if p not in skip)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    assert violations(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("lab/model/x.py", "from lab.dumps import memory"),
        ("lab/smb/x.py", "from lab.capture import vault"),
        ("lab/analysis/x.py", "import lab.journal.store"),
        ("lab/report/x.py", "def f():\n    from flows import reproduce"),
        ("lab/windows/x.py", "import prefect"),
        ("lab/twin/x.py", "from lab.windows import psrp"),
        ("lab/trials/x.py", "from lab.twin import server"),
    ],
)
def test_the_rule_can_fail(where: str, source: str) -> None:
    assert violations(ROOT / where, source) != []
