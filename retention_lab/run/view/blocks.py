"""Words and numbers in; the plain blocks that a report is built from out."""

from __future__ import annotations

import dataclasses

from markupsafe import Markup

from retention_lab.results import Row
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts.numbers import DASH, Measure


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A number and the ends of its interval, as text; `ends` is empty where there are none."""

    text: str
    ends: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A small table: the first cell of a line is its name, the others are values.

    `folded` says under which words the table is hidden; empty: it is open.
    """

    caption: str
    heads: tuple[str, ...]
    lines: tuple[tuple[Value, ...], ...]
    folded: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """One thing to know: sentences first, then figures and tables.

    `good` is True or False for a check that was passed or not, None for what is no check.
    """

    title: str
    said: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    good: bool | None = None
    figures: tuple[Markup, ...] = ()
    folded: tuple[Markup, ...] = ()
    folded_title: str = ""


def value(row: Row | None, shown: Measure, tongue: Tongue) -> Value:
    """An estimate with its interval; nothing without a row, a dash without an estimate."""
    if row is None:
        return Value("")
    if row.estimate is None:
        return Value(DASH)
    ends = ""
    if row.ci_low is not None or row.ci_high is not None:
        low, high = (
            tongue.say("no_bound") if e is None else shown.bare(e)
            for e in (row.ci_low, row.ci_high)
        )
        ends = f"{low}{tongue.say('to')}{high}"
    return Value(shown.text(row.estimate, tongue.language), ends)


def against_control(source: Source, **wanted: object) -> tuple[Row, ...]:
    """Rows that compare an arm with the control."""
    rows = source.results.where(**wanted).rows
    return tuple(r for r in rows if r.baseline == source.control)
