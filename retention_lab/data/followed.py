"""A survival section and its tables in; the counts that a plan is checked by out, by SQL queries.

Rows go no further than these counts.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence

from retention_lab.data.look import FEW
from retention_lab.data.relations import (
    checked,
    condition,
    events_of,
    happened,
    kind_of,
    known_id,
    known_time,
    level,
    relations_of,
    split_columns,
    unit_id,
)
from retention_lab.data.source import Source, quoted
from retention_lab.experiment.needs import MISSING_LEVEL
from retention_lab.experiment.sections import EVENT, EXPOSURE
from retention_lab.experiment.spec import Events, Spec

EPOCH = dt.date(1970, 1, 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableLook:
    """What one look says of a table: its rows, those left out by reason, and what is kept.

    Each row is counted by the first reason that holds: it has no id, does not meet the table's
    condition (`others`), has no time, or lies after the last complete day. `events` is None
    for a table of units.
    """

    rows: int
    without_unit: int
    others: int
    without_time: int
    later: int
    last: dt.date | None
    units: int
    events: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitsLook:
    """What a look says of the units: origins, levels by key, and events that fit no origin.

    `strays` gives by event table the units without an origin, and those with an event before it;
    `several` by column the units with two levels or more, `missing` those with none; `late` enter
    after their origin. `some`: anyone has the event. `shared`: any unit is in its table.
    """

    units: int
    cohorts: int
    first: dt.date
    last: dt.date
    late: int
    patterns: int
    levels: Mapping[str, int]
    missing: Mapping[str, int]
    several: Mapping[str, int]
    strays: Mapping[str, tuple[int, int]]
    some: bool
    shared: bool


def look_at_rows(
    spec: Spec, source: Source, ref: str, at: str, events: Events | None = None
) -> TableLook:
    """One scan of the table `ref` with the time column `at`, and of its events one by one.

    A second one says why rows are left out, where any are. Of a table of units, which has one row
    a unit, the units are not told apart again.
    """
    kept = condition(events) if events is not None else "true"
    named, timed = known_id(source, ref, unit_id(spec)), known_time(at)
    future = f"{quoted(at)}::date > date '{spec.data.as_of}'"
    usable = f"ok and {named} and {timed} and not ({future})"
    unit = quoted(unit_id(spec))
    rows = f"(select *, coalesce({kept}, false) as ok from t)"
    apart = "distinct " if events is not None else ""
    (row,) = source.query(
        f"select count(*) as n, max({quoted(at)}::date) filter ({usable}) as last, "
        f"count(*) filter ({usable}) as usable, count({apart}{unit}) filter ({usable}) as units "
        f"from {rows}",
        t=ref,
    )
    if row["usable"] == row["n"]:
        row |= dict.fromkeys(("nobody", "others", "never", "later"), 0)
    else:
        row |= source.query(
            f"select count(*) filter (not ({named})) as nobody, "
            f"count(*) filter ({named} and not ok) as others, "
            f"count(*) filter (ok and {named} and not ({timed})) as never, "
            f"count(*) filter (ok and {named} and {timed} and {future}) as later from {rows}",
            t=ref,
        )[0]
    number: int | None = None
    if events is not None:
        name = next(n for n, e in spec.data.events.items() if e is events)
        number = int(row["usable"])
        if events.id is not None:
            counts = f"select count(*) as n from ({events_of(spec, source, name)})"
            number = int(source.query(counts, t=ref)[0]["n"])
    return TableLook(
        rows=int(row["n"]),
        others=int(row["others"]),
        without_unit=int(row["nobody"]),
        without_time=int(row["never"]),
        later=int(row["later"]),
        last=row["last"],
        units=int(row["units"]),
        events=number,
    )


def repeated(spec: Spec, source: Source, ref: str) -> int:
    """How many rows of the table of units stand beside another of the same unit."""
    if not source.repeats(ref, unit_id(spec)):
        return 0
    rows, units = source.counts(ref, unit_id(spec))
    return rows - units


def look_at_cohorts(spec: Spec, source: Source, arms: Sequence[str]) -> UnitsLook:
    """Counts of the units, of their levels, and of the events that fit no origin."""
    survival = checked(spec)
    found = relations_of(spec, source, arms)
    unit = f", unit as ({found.unit})"
    any_ref = spec.data.events[survival.waits_for].table
    keys = [f'"key {i}"' for i in range(len(found.keys))]
    wanted = [
        "count(*) as units, count(distinct cohort) as cohorts, min(origin) as a, max(origin) as b",
        "count(entry) as late",
        f"approx_count_distinct(hash({', '.join(['cohort', *keys])})) as patterns",
    ]
    for i, k in enumerate(keys):
        wanted.append(f"count(distinct {k}) as levels_{i}")
        missing = f"{k} is null or {k}::varchar = '{MISSING_LEVEL}'"
        wanted.append(f"count(*) filter ({missing}) as missing_{i}")
    (row,) = source.query(f"{unit} select {', '.join(wanted)} from unit", t=any_ref)
    strays, some, shared = _strays(spec, source, unit, any_ref, row["b"])
    named = list(enumerate(found.keys))
    return UnitsLook(
        units=int(row["units"]),
        cohorts=int(row["cohorts"]),
        first=EPOCH + dt.timedelta(days=row["a"] or 0),
        last=EPOCH + dt.timedelta(days=row["b"] or 0),
        late=int(row["late"]),
        patterns=int(row["patterns"]),
        levels={k: int(row[f"levels_{i}"]) for i, k in named},
        missing={k: int(row[f"missing_{i}"]) for i, k in named},
        several=_several(spec, source),
        strays=strays,
        some=some,
        shared=shared,
    )


def _strays(
    spec: Spec, source: Source, unit: str, ref: str, last: int | None
) -> tuple[dict[str, tuple[int, int]], bool, bool]:
    """By event table, the units without an origin and before it; whether any has the event.

    `last` is the day of the last origin: a few events after it are looked at first.
    """
    survival = checked(spec)
    names, kind = (survival.waits_for, *survival.competing), kind_of(spec, source)
    any_event = happened(spec, source, [0])
    few = f"select * from ({any_event}) where day > {last} limit {FEW}"
    some = any(
        source.query(
            f"{unit} select 1 as found from ({rows}) e join unit u on e.id = u.id "
            f"where {kind} = '{EVENT}' limit 1",
            t=ref,
        )
        for rows in ((any_event,) if last is None else (few, any_event))
    )
    # Before an exposure, and outside of an experiment, customers lead their normal life.
    normal = survival.origin == EXPOSURE
    ranks = range(survival.first == survival.waits_for, 0 if normal else len(names))
    if not ranks:
        return {}, some, some or _shared(source, unit, any_event, ref)
    rows = source.query(
        f"{unit} select e.rank, count(distinct e.id) filter (u.id is null) as nobody, "
        f"count(distinct e.id) filter (u.id is not null and ({kind}) is null) as before "
        f"from ({happened(spec, source, ranks)}) e left join unit u on e.id = u.id group by e.rank",
        t=ref,
    )
    strays = {names[r["rank"]]: (int(r["nobody"]), int(r["before"])) for r in rows}
    return strays, some, some or _shared(source, unit, any_event, ref)


def _shared(source: Source, unit: str, events: str, ref: str) -> bool:
    """Whether any unit has any of the events, whenever."""
    found = f"{unit} select 1 as found from ({events}) e join unit u on e.id = u.id limit 1"
    return bool(source.query(found, t=ref))


def _several(spec: Spec, source: Source) -> dict[str, int]:
    """Units with two levels or more, by column of `by` that is read from their first event.

    Levels are those that are used, with the file's bins; a missing one does not count. What is a
    covariate only describes the event, and may well differ between two of them.
    """
    survival = checked(spec)
    columns = [c for c in split_columns(spec, source)[1] if c in survival.by]
    if survival.first is None or not columns:
        return {}
    events = events_of(spec, source, survival.first, columns=columns)
    levels = [
        f"nullif({level(spec, source, c, quoted(f'c {i}'))}::varchar, '{MISSING_LEVEL}')"
        for i, c in enumerate(columns)
    ]
    differ = ", ".join(f"count(distinct {text}) > 1 as d{i}" for i, text in enumerate(levels))
    sums = ", ".join(f"count(*) filter (d{i}) as n{i}" for i in range(len(columns)))
    (row,) = source.query(
        f"select {sums} from (select {differ} from ({events}) group by id)",
        t=spec.data.events[survival.first].table,
    )
    return {c: int(row[f"n{i}"]) for i, c in enumerate(columns)}
