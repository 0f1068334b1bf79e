"""A calendar day and a time zone in; instants in microseconds since 1970-01-01 UTC out."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

HOUR = 3_600_000_000


def end_of(day: dt.date, timezone: str) -> int:
    """The end of the calendar `day` in `timezone`: midnight after it."""
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), ZoneInfo(timezone))
    return round(midnight.timestamp()) * 1_000_000


def no_times(kind: str) -> str:
    """Why a column that holds `kind` cannot be read as times, and of text what to do about it."""
    said = f"holds {kind}, not times or dates"
    recipe = "'Dates written as text' in docs/experiment-file.md"
    if kind == "number":
        return (
            f"{said}; of seconds since 1970 DuckDB's to_timestamp(COLUMN) makes times: see {recipe}"
        )
    if kind != "text":
        return said
    return (
        f"{said}; every value must be written as 2025-01-31 10:00 (a date as 2025-01-31), as "
        "01/02/2025 may be either of two days; for "
        f"other forms see {recipe}"
    )
