"""What could not be read of a file, in words for a person."""

from __future__ import annotations

from collections.abc import Iterator

_MAX_NOTES = 12
_MAX_TEXT = 200


class Notes:
    """Sentences in the order they came; of the thousands that a damaged file is good for, the first few."""

    def __init__(self) -> None:
        self._said: dict[str, None] = {}
        self._more = False

    def append(self, text: str) -> None:
        text = printable(text)
        if len(self._said) < _MAX_NOTES:
            self._said[text] = None
        else:
            self._more |= text not in self._said

    def __iter__(self) -> Iterator[str]:
        yield from self._said
        if self._more:
            yield "more of it is damaged in such ways"


def printable(text: str) -> str:
    """One line of `text`, as far as it can be shown."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 2 * _MAX_TEXT]).strip()
    return shown if len(shown) <= _MAX_TEXT else shown[: _MAX_TEXT - 3] + "..."
