"""The guest's System log: the records that tell of starts and stops."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One record. `code` and `parameters` are those of a bugcheck, None when it tells of none."""

    record: int
    event_id: int
    provider: str
    seconds: float  # guest time, since 1970, UTC
    code: int | None = None
    parameters: tuple[int, int, int, int] | None = None
    dump_path: str = ""
    text: str = ""


class EventLog:
    """Records in order, with ids that only grow. It outlives boots, as the file on disk does."""

    def __init__(self, first: int) -> None:
        self._records: list[Record] = []
        self._next = first

    @property
    def newest(self) -> int:
        return self._next - 1

    def add(
        self,
        event_id: int,
        provider: str,
        seconds: float,
        *,
        code: int | None = None,
        parameters: tuple[int, int, int, int] | None = None,
        dump_path: str = "",
        text: str = "",
    ) -> None:
        self._records.append(
            Record(self._next, event_id, provider, seconds, code, parameters, dump_path, text)
        )
        self._next += 1

    def after(self, record: int, event_ids: frozenset[int]) -> list[Record]:
        return [r for r in self._records if r.record > record and r.event_id in event_ids]
