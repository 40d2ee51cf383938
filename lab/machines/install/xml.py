"""XML with line numbers, for files that a user wrote and errors that name a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from lab.machines.install.errors import BadAnswerFile

MOST_BYTES = 4 << 20
MOST_DEPTH = 64


@dataclass
class Element:
    """An element; names are without prefix, their namespaces apart."""

    name: str
    namespace: str
    attributes: dict[tuple[str, str], str]
    """By namespace and name."""

    line: int
    children: list[Element] = field(default_factory=list)
    content: str = ""

    @property
    def text(self) -> str:
        return self.content.strip()

    def get(self, name: str, namespace: str = "") -> str | None:
        return self.attributes.get((namespace, name))

    def all(self, path: str) -> Iterator[Element]:
        """Elements at `A/B/C` below this one."""
        first, _, rest = path.partition("/")
        for child in self.children:
            if child.name == first:
                if rest:
                    yield from child.all(rest)
                else:
                    yield child

    def one(self, path: str) -> Element | None:
        return next(self.all(path), None)

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            yield from child.walk()


def parse(data: bytes, name: str) -> Element:
    """The root. Raises BadAnswerFile with `name:line` for what is not XML, and for document types."""
    if len(data) > MOST_BYTES:
        raise BadAnswerFile(f"{name}:1: has {len(data)} bytes, which no answer file has")
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    above: list[Element] = []
    roots: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        namespace, _, local = tag.rpartition(" ")
        found = {_split(key): value for key, value in attributes.items()}
        element = Element(local, namespace, found, parser.CurrentLineNumber)
        if len(above) >= MOST_DEPTH:
            raise BadAnswerFile(f"{name}:{element.line}: is nested too deeply")
        (above[-1].children if above else roots).append(element)
        above.append(element)

    def end(tag: str) -> None:
        above.pop()

    def text(data: str) -> None:
        if above:
            above[-1].content += data

    def doctype(*ignored: object) -> None:
        raise BadAnswerFile(f"{name}:{parser.CurrentLineNumber}: has a document type, which Setup refuses")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise BadAnswerFile(f"{name}:{error.lineno}: is not well-formed XML: {reason}") from None
    except (LookupError, ValueError) as error:  # an encoding that nobody knows
        raise BadAnswerFile(f"{name}:1: is not XML that can be read: {error}") from None
    return roots[0]


def _split(name: str) -> tuple[str, str]:
    namespace, _, local = name.rpartition(" ")
    return namespace, local
