"""Tables and column names in; the counts that a plan is checked by out, by small SQL queries.

Plain SQL, where reductions use Narwhals: a Narwhals expression with a constant makes DuckDB import
pandas, which costs more than everything that `validate` may spend.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from retention_lab.data.source import Source, quoted
from retention_lab.data.times import HOUR
from retention_lab.experiment.needs import Column

FEW = 64  # events that are looked at before all others
EPOCH, MICROSECOND = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ValueLook:
    """What one look says of a unit column: missing, not finite, and not 0 or 1."""

    missing: int
    not_finite: int
    not_binary: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitLook:
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
    levels: dict[str, int]  # by segment, in the arm that has most
    spelled: frozenset[str] = frozenset()  # segments with levels alike but for spaces, capitals


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
    wanted += [f"count(distinct {quoted(s)}) as levels_{i}" for i, s in enumerate(segments)]
    kinds = source.columns(ref)
    texts = {s: i for i, s in enumerate(segments) if kinds.get(s) == "text"}
    wanted += [
        f"count(distinct lower(trim({quoted(s)}::varchar))) as folded_{i}" for s, i in texts.items()
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
        spelled=frozenset(
            s for s, i in texts.items() if any(r[f"levels_{i}"] > r[f"folded_{i}"] for r in rows)
        ),
        levels={
            s: max((int(r[f"levels_{i}"]) for r in rows), default=0) for i, s in enumerate(segments)
        },
    )


@dataclasses.dataclass(frozen=True, slots=True)
class CovariateLook:
    """What one look says of a covariate: nulls, values that are not finite, mean, and levels."""

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
    wanted = []
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


@dataclasses.dataclass(frozen=True, slots=True)
class EventLook:
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
    """One scan of the event table `events`, for the columns `values` that metrics add up.

    Values below 0 are counted where `signed`: a column of whole numbers is read for nothing else.
    """
    named, timed = quoted(unit), quoted(events_at)
    # Plain counts of a Parquet file's columns are known without reading them.
    wanted = [f"count(*) as n, count({named}) as named, count({timed}) as timed"]
    fractional = source.fractional(events)
    for i, v in enumerate(values):
        odd = f"not isfinite({quoted(v)}::double)" if v in fractional else "false"
        wanted.append(f"count({quoted(v)}) as known_{i}, count(*) filter ({odd}) as infinite_{i}")
        below = f"{quoted(v)} < 0" if signed else "false"
        wanted.append(f"count(*) filter ({below}) as below_{i}")
    (row,) = source.query(f"select {', '.join(wanted)} from e", e=events)
    stray, rows = 0, row["n"]
    if min(row["named"], row["timed"]) < rows:
        sql = f"select count(*) as n from e where {named} is null or {timed} is null"
        stray = int(source.query(sql, e=events)[0]["n"])
    return EventLook(
        stray,
        frozenset(
            v for i, v in enumerate(values) if row[f"known_{i}"] < rows or row[f"infinite_{i}"]
        ),
        {v: int(row[f"below_{i}"]) for i, v in enumerate(values) if row[f"below_{i}"]},
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
