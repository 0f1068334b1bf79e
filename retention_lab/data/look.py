"""Tables and column names in; the counts that a plan is checked by out, by small SQL queries.

Plain SQL, where reductions use Narwhals: a Narwhals expression with a constant makes DuckDB import
pandas, which costs more than everything that `validate` may spend.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.data.times import HOUR
from retention_lab.experiment.needs import Column

MOST_LEVELS = 200  # of a segment
FEW = 64  # events that are looked at before all others
EPOCH, MICROSECOND = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)


class ValueLook(NamedTuple):
    """What one look says of a unit column: missing, not finite, and not 0 or 1."""

    missing: int
    not_finite: int
    not_binary: int


class UnitLook(NamedTuple):
    """What one look says of the table of units or assignments."""

    rows: int
    by_arm: dict[str | None, int]
    without_unit: int
    without_time: int
    first: dt.datetime | None
    last: dt.datetime | None
    later: int
    mature: dict[int, int]
    values: dict[str, ValueLook]
    levels: dict[str, tuple[str, ...]]  # by segment, at most `MOST_LEVELS` + 1 of them


def look_at_units(
    source: Source,
    ref: str,
    *,
    arm: str,
    unit: str | None,
    at: str | None,
    end: int | None,
    columns: Sequence[Column],
    segments: Sequence[str],
) -> UnitLook:
    """One scan of the table `ref`, by arm. `end` is the end of as_of in microseconds UTC."""
    fractional = source.fractional(ref)
    own = [c for c in columns if c.how == "value"]
    spans = sorted({c.matures for c in columns if c.matures is not None})
    time = source.instant(ref, at) if at is not None else None
    wanted = [f"{quoted(arm)}::varchar as arm", "count(*) as n"]
    wanted.append(f"count(*) - count({quoted(unit)}) as no_unit" if unit else "0 as no_unit")
    if time is not None:
        wanted += [f"count(*) - count({time}) as no_time", f"min({time}) as a", f"max({time}) as b"]
        limit = end if end is not None else 2**62
        wanted.append(f"count(*) filter ({time} >= {limit}) as later")
        wanted += [
            f"count(*) filter ({time} < {limit} and {time} + {h * HOUR} <= {limit}) as mature_{h}"
            for h in spans
        ]
    for i, c in enumerate(own):
        x = quoted(c.value or c.name)
        infinite = f"not isfinite({x}::double)" if c.value in fractional else "false"
        odd = f"{x}::double not in (0, 1)" if c.binary else "false"
        wanted += [
            f"count(*) - count({x}) as missing_{i}",
            f"count(*) filter ({infinite}) as infinite_{i}",
            f"count(*) filter ({odd}) as odd_{i}",
        ]
    wanted += [
        f"list_slice(list(distinct {quoted(s)}::varchar), 1, {MOST_LEVELS + 1}) as levels_{i}"
        for i, s in enumerate(segments)
    ]
    rows = source.query(f"select {', '.join(wanted)} from t group by 1", t=ref)

    def total(name: str) -> int:
        return int(sum(r[name] for r in rows))

    def extreme(name: str, pick: Any) -> dt.datetime | None:
        known = [r[name] for r in rows if r.get(name) is not None]
        if not known:
            return None
        return EPOCH + int(pick(known)) * MICROSECOND

    return UnitLook(
        rows=total("n"),
        by_arm={r["arm"]: int(r["n"]) for r in rows},
        without_unit=total("no_unit"),
        without_time=total("no_time") if time else 0,
        first=extreme("a", min),
        last=extreme("b", max),
        later=total("later") if time else 0,
        mature={h: total(f"mature_{h}") for h in spans} if time else {},
        values={
            c.name: ValueLook(
                missing=total(f"missing_{i}"),
                not_finite=total(f"infinite_{i}"),
                not_binary=total(f"odd_{i}"),
            )
            for i, c in enumerate(own)
        },
        levels={
            s: tuple(sorted({v for r in rows for v in r[f"levels_{i}"] or () if v is not None}))
            for i, s in enumerate(segments)
        },
    )


class CovariateLook(NamedTuple):
    """What one look says of a covariate: nulls, values that are not finite, mean, and levels."""

    rows: int
    missing: int
    not_finite: int
    mean: float | None
    spread: float | None
    levels: tuple[str, ...]


def look_at_covariates(
    source: Source, ref: str, kinds: dict[str, str], most: int
) -> dict[str, CovariateLook]:
    """One scan of the columns in `kinds` (name -> kind); of text at most `most` + 1 levels."""
    if not kinds:
        return {}
    fractional = source.fractional(ref)
    wanted = ["count(*) as rows"]
    for i, (name, kind) in enumerate(kinds.items()):
        x = quoted(name)
        wanted.append(f"count(*) - count({x}) as missing_{i}")
        if kind == "text":
            wanted.append(f"list_slice(list(distinct {x}::varchar), 1, {most + 1}) as levels_{i}")
            continue
        finite = f"isfinite({x}::double)" if name in fractional else "true"
        known = f"case when {finite} then {x}::double end"
        wanted += [
            f"count(*) filter (not {finite}) as odd_{i}",
            f"avg({known}) as mean_{i}",
            f"max({known}) - min({known}) as spread_{i}",
        ]
    (row,) = source.query(f"select {', '.join(wanted)} from t", t=ref)
    return {
        name: CovariateLook(
            rows=int(row["rows"]),
            missing=int(row[f"missing_{i}"]),
            not_finite=int(row.get(f"odd_{i}") or 0),
            mean=row.get(f"mean_{i}"),
            spread=row.get(f"spread_{i}"),
            levels=tuple(sorted(v for v in row.get(f"levels_{i}") or () if v is not None)),
        )
        for i, name in enumerate(kinds)
    }


def repeated_units(source: Source, ref: str, unit: str, arm: str) -> tuple[int, int]:
    """How many units stand in more than one row, and how many of them in more than one arm."""
    u, a = quoted(unit), quoted(arm)
    if not source.repeats(ref, unit):
        return 0, 0
    found = source.query(
        f"select count(*) as repeated, count(*) filter (arms > 1) as crossed from (select "
        f"count(*) as n, count(distinct {a}) as arms from t where {u} is not null group by {u}) "
        f"where n > 1",
        t=ref,
    )[0]
    return int(found["repeated"]), int(found["crossed"])


def clusters(
    source: Source, ref: str, cluster: str, kept: str, arm: str
) -> tuple[int, int, int, int]:
    """How many clusters there are, and are in two arms or more; units without one, and not kept.

    `cluster` and `kept` are SQL of the table's columns.
    """
    found = source.query(
        "select count(c) as whole, count(*) filter (c is not null and arms > 1) as crossed, "
        "coalesce(sum(n) filter (c is null), 0) as nobody, coalesce(sum(burnt), 0) as burnt "
        f"from (select {cluster} as c, count(*) filter ({kept}) as n, "
        f"count(*) filter (not ({kept})) as burnt, "
        f"count(distinct case when {kept} then {quoted(arm)} end) as arms "
        "from t group by 1)",
        t=ref,
    )[0]
    return int(found["whole"]), int(found["crossed"]), int(found["nobody"]), int(found["burnt"])


def has_event_after(
    source: Source,
    units: str,
    unit: str,
    at: str,
    events: str,
    events_at: str,
    last: dt.datetime | None = None,
) -> bool:
    """Whether any unit has an event after its exposure.

    Where `last`, the last exposure of all, is given, a few events after it are looked at first:
    they answer for most tables, at half the price.
    """
    ways = ["e"]
    if last is not None:
        late = source.later(events, events_at, (last - EPOCH) // MICROSECOND)
        ways.insert(0, f"(from e where {late} limit {FEW}) e")
    return any(
        source.query(
            f"select 1 as found from {rows} join t using ({quoted(unit)}) where "
            f"{source.instant(events, events_at, 'e')} > {source.instant(units, at, 't')} limit 1",
            t=units,
            e=events,
        )
        for rows in ways
    )


class EventLook(NamedTuple):
    """What one look says of an event table: rows of no unit or time; columns with bad values."""

    stray: int
    odd: frozenset[str]  # columns that hold a missing or not finite value
    negative: Mapping[str, int]  # rows below 0, by column that has some


def look_at_events(
    source: Source,
    events: str,
    unit: str,
    events_at: str,
    values: Sequence[str],
    *,
    signed: bool = False,
) -> EventLook:
    """Looks at the event table `events`, for the columns `values` that metrics add up.

    Values below 0 are counted where `signed`. Of a Parquet file the first query is answered from
    its footer (but for NaN, which has no place there); what is rare is counted where there is some.
    """
    named, timed = quoted(unit), quoted(events_at)
    fractional = [v for v in values if v in source.fractional(events)]
    wanted = [f"count(*) as n, count({named}) as named, count({timed}) as timed"]
    for i, v in enumerate(values):
        wanted.append(f"count({quoted(v)}) as known_{i}, min({quoted(v)}) as least_{i}")
    (row,) = source.query(f"select {', '.join(wanted)} from e", e=events)
    rows, most = row["n"], min(row["named"], row["timed"])
    rare = {("infinite", v): f"not isfinite(sum({quoted(v)}::double))" for v in fractional}
    rare |= {
        ("below", v): f"count(*) filter ({quoted(v)} < 0)"
        for i, v in enumerate(values)
        if signed and (row[f"least_{i}"] or 0) < 0
    }
    if most < rows:
        rare["stray", unit] = f"count(*) filter ({named} is null or {timed} is null)"
    found: dict[tuple[str, str], Any] = {}
    if rare:
        said = ", ".join(f"{sql} as c{i}" for i, sql in enumerate(rare.values()))
        (told,) = source.query(f"select {said} from e", e=events)
        found = dict(zip(rare, told.values(), strict=True))
    return EventLook(
        int(found.get(("stray", unit), 0)),
        frozenset(
            v
            for i, v in enumerate(values)
            if row[f"known_{i}"] < rows or found.get(("infinite", v))
        ),
        {v: int(n) for (what, v), n in found.items() if what == "below" and n},
    )


def _odd(source: Source, events: str, value: str, table: str) -> str:
    v = f"{table}.{quoted(value)}"
    infinite = f" or not isfinite({v}::double)" if value in source.fractional(events) else ""
    return f"({v} is null{infinite})"


def event_faults(
    source: Source,
    units: str,
    unit: str,
    at: str,
    events: str,
    events_at: str,
    *,
    value: str,
    before: int,
    after: int,
) -> tuple[int, int]:
    """Missing, and not finite, values of `value` among the events that a metric would add up.

    Those are the events from `before` hours before to `after` hours after their unit's exposure.
    """
    v = f"e.{quoted(value)}"
    bad = _odd(source, events, value, "e")
    since = f"{source.instant(events, events_at, 'e')} - {source.instant(units, at, 't')}"
    found = source.query(
        f"select count(*) filter (v is null) as missing, count(v) as infinite from ("
        f"select {since} as since, {v} as v from e join t using ({quoted(unit)}) where {bad}) "
        f"where since > {-before * HOUR} and since <= {after * HOUR}",
        t=units,
        e=events,
    )[0]
    return int(found["missing"]), int(found["infinite"])
