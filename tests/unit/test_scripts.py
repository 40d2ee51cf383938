"""The guest scripts: PowerShell that parses, and the contract of docs/reference/guest-scripts.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from lab.windows import Script
from lab.windows.ssh import LOADER

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "lab/windows/scripts").glob("*.ps1"))
PARSER = Parser(Language(tree_sitter_powershell.language()))

TYPES = {"string": {"string"}, "int": {"int", "long"}, "[string]": {"string[]"}, "[int]": {"int[]"}}


def contract() -> dict[str, dict[str, str]]:
    """Script name to its parameters and their types, from the table of the reference."""
    found = {}
    for line in (ROOT / "docs/reference/guest-scripts.md").read_text("utf-8").splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) > 3 and (name := re.fullmatch(r"\s*`([A-Z]\w+-\w+)`\s*", cells[1])):
            found[name[1]] = dict(re.findall(r"`([A-Z]\w+)` (\[?\w+\]?)", cells[2]))
    return found


def problems(source: bytes) -> list[str]:
    """Where the grammar finds something it does not know."""
    found = []
    todo = [PARSER.parse(source).root_node]
    while todo:
        node = todo.pop()
        if node.is_error or node.is_missing:
            found.append(f"line {node.start_point.row + 1}: {(node.text or b'')[:40]!r}")
        todo += node.children
    return found


def parameters(source: bytes) -> dict[str, str]:
    """Parameters of a script's own param block, with their declared types."""
    block = next(n for n in PARSER.parse(source).root_node.children if n.type == "param_block")
    found = {}
    for parameter in descend(block, "script_parameter"):
        name = next(iter(descend(parameter, "variable")))
        kind = next(iter(descend(parameter, "type_literal")))
        found[text(name).removeprefix("$")] = text(kind).strip("[]") + "[]" * ("[]" in text(kind))
    return found


def descend(node: Node, kind: str) -> list[Node]:
    found = [node] if node.type == kind else []
    return found + [hit for child in node.children for hit in descend(child, kind)]


def text(node: Node) -> str:
    return (node.text or b"").decode()


def test_every_script_of_the_reference_is_there_and_no_other() -> None:
    assert contract(), "the reference has no table of scripts"
    assert {path.stem for path in SCRIPTS} == set(contract())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_it_parses(path: Path) -> None:
    assert problems(path.read_bytes()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_its_header_says_what_it_needs_and_who_it_is(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0] == "#Requires -Version 5.1"
    assert lines[1] == f"# Script: {path.stem}"
    assert "$ErrorActionPreference = 'Stop'" in lines
    assert lines[-1].startswith("ConvertTo-Json -InputObject ")
    assert lines[-1].endswith(" -Compress -Depth 6")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_its_parameters_are_those_of_the_reference(path: Path) -> None:
    declared = parameters(path.read_bytes())
    promised = contract()[path.stem]
    assert set(declared) == set(promised)
    for name, kind in promised.items():
        assert declared[name] in TYPES[kind], name


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_it_answers_with_every_key_of_the_reference(path: Path) -> None:
    for line in (ROOT / "docs/reference/guest-scripts.md").read_text("utf-8").splitlines():
        if line.startswith(f"| `{path.stem}`"):
            answer = re.split(r"(?<!\\)\|", line)[3]
    keys = set(re.findall(r"`([a-z]\w+)`(?! is| and)", answer)) - {"upper", "lower", "verifier"}
    source = path.read_text("utf-8")
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\s+=", source)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_it_is_plain_ascii_and_small_enough_for_one_message(path: Path) -> None:
    source = path.read_bytes()
    assert source.isascii()  # Windows PowerShell reads a file without a byte order mark as ANSI
    assert len(source) < 100_000  # an envelope of Server 2008 R2 holds 150 KiB, base64
    assert Script(path.stem).text() == source.decode()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_it_runs_no_text_as_code_and_sleeps_nowhere(path: Path) -> None:
    source = re.sub(r"(?m)^\s*#.*$", "", path.read_text("utf-8"))
    assert not re.search(r"(?i)Invoke-Expression|\biex\b|Start-Sleep|cmd(\.exe)? /c", source)


@pytest.mark.parametrize(
    "broken",
    [
        "param(\n[string] $A\n$x = 1\n",
        "foreach ($x in 1, 2) { $x\n",
        "if ($x -eq ) { 1 }\n",
        "$a = @{ b = 1; = 2 }\n",
        "'unclosed\n",
        "param([string] $A\n) function {\n",
    ],
)
def test_a_broken_script_would_be_seen(broken: str) -> None:
    assert problems(broken.encode())


def test_the_loader_of_the_ssh_shell_parses() -> None:
    assert problems(LOADER.encode()) == []


def test_cutting_a_script_short_would_be_seen() -> None:
    source = (ROOT / "lab/windows/scripts/Set-LabDriver.ps1").read_bytes()
    assert problems(source[: source.rindex(b"})")])


def test_the_verifier_script_takes_every_driver_and_none() -> None:
    """As `Set-LabVerifier` is given what `verifier /all` or a level without drivers left in the registry."""
    source = (ROOT / "lab/windows/scripts/Set-LabVerifier.ps1").read_text("ascii")
    assert "$Driver[0] -eq '*'" in source and "$arguments += '/all'" in source
    assert "would verify nothing" not in source
