"""llvm-pdbutil and our reader say the same of every name and every structure."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pdb_samples import MADE, content, pdb

PDBUTIL = (
    shutil.which("llvm-pdbutil-19") or shutil.which("llvm-pdbutil") or "/usr/lib/llvm-19/bin/llvm-pdbutil"
)
pytestmark = pytest.mark.skipif(not Path(PDBUTIL).exists(), reason="llvm-pdbutil is not installed")

_NAMES = ("S_PUB32", "S_GDATA32", "S_LDATA32", "S_GPROC32", "S_LPROC32")
_HEADERS = re.compile(r"^ +([0-9A-F]+) virtual address$", re.MULTILINE)
_PLACED = re.compile(r"\| (S_\w+) \[size = \d+\] `(.*)`\n.*addr = (\d+):(\d+)")
_TYPE = re.compile(r"^ +(0x[0-9A-F]+) \| (LF_\w+) \[size = \d+\](?: `(.*)`)?", re.MULTILINE)
_MEMBER = re.compile(r"- LF_MEMBER \[name = `(.*)`, Type = (\S+).*, offset = (\d+), attrs")


@pytest.fixture(scope="module", params=MADE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def said(name: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pdb") / f"{name}.pdb"
    path.write_bytes(content(path.name))
    options = ("-publics", "-globals", "-symbols", "-types", "-section-headers", "-summary")
    done = subprocess.run([PDBUTIL, "dump", *options, path], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_id(name: str, said: str) -> None:
    found = pdb(name)
    guid = "".join(re.findall(r"GUID: \{(.*)\}", said)[0].split("-"))
    assert (found.guid, found.age) == (guid, int(re.findall(r"Age: (\d+)", said)[0]))


def test_every_name(name: str, said: str) -> None:
    starts = [0, *(int(start, 16) for start in _HEADERS.findall(said))]
    placed = [
        (kind, symbol, starts[int(segment)] + int(offset))
        for kind, symbol, segment, offset in _PLACED.findall(said)
        if 0 < int(segment) < len(starts) and kind in _NAMES
    ]
    publics = {symbol: rva for kind, symbol, rva in placed if kind == "S_PUB32"}
    others = {(symbol, rva) for kind, symbol, rva in placed if kind != "S_PUB32"}
    found = dict(pdb(name).names())
    assert publics.items() <= found.items()
    assert len(publics) >= {"layouts": 9, "classes": 20, "many": 5000}[name]
    # Names that are not public may be given more than once, by overloads for instance.
    assert found.keys() == publics.keys() | {symbol for symbol, _ in others}
    assert {(n, rva) for n, rva in found.items() if n not in publics} <= others
    assert pdb(name).notes == ()


def test_every_structure_and_field(name: str, said: str) -> None:
    texts = _types(said)
    expected = {}
    for index, (kind, symbol, text) in texts.items():
        if kind in ("LF_STRUCTURE", "LF_CLASS", "LF_UNION") and "forward ref" not in text:
            size = int(re.findall(r"sizeof (\d+)", text)[0])
            members = _members(texts, re.findall(r"field list: (\S+)", text)[0].rstrip(","))
            expected[index] = (symbol, size, members)
    found = {
        index: (
            structure.name,
            structure.size,
            {(f.name, f.type, f.offset) for f in fields if not f.base},
        )
        for index, structure, fields in pdb(name)._types.structures()
    }
    assert found == expected
    assert pdb(name).notes == ()
    for symbol, size, members in expected.values():
        if "<" not in symbol:
            assert pdb(name).size(symbol) == size
            assert all(pdb(name).offset(symbol, field) == offset for field, _, offset in members)


def _types(said: str) -> dict[int, tuple[str, str, str]]:
    """Type index -> (kind, name, all that is said of it), of the type stream."""
    text = said.partition("Types (TPI Stream)")[2]
    heads = list(_TYPE.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        int(head[1], 16): (head[2], head[3] or "", text[head.end() : end])
        for head, end in zip(heads, ends, strict=True)
    }


def _members(texts: dict[int, tuple[str, str, str]], index: str) -> set[tuple[str, int, int]]:
    if not index.startswith("0x"):  # "<no type>"
        return set()
    kind, _, text = texts[int(index, 16)]
    assert kind == "LF_FIELDLIST"
    found = {(name, int(kind, 16), int(offset)) for name, kind, offset in _MEMBER.findall(text)}
    for more in re.findall(r"LF_INDEX continuation = (\S+)", text):
        found |= _members(texts, more)
    return found
