"""Wall-clock time as the journal writes it: UTC, ISO 8601, milliseconds, fixed width."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """`2026-11-22T09:41:07.123+00:00`. Later moments give greater text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
