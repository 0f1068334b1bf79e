"""A survival section and its tables in; the counts that a plan is checked by out, by SQL queries.

Rows go no further than these counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from retention_lab.data.look import FEW
from retention_lab.data.passes import Share, passes, shares
from retention_lab.data.relations import (
    checked,
    column_kind,
    condition,
    events_of,
    happened,
    kind_of,
    known_id,
    known_time,
    level,
    number_of,
    relations_of,
    split_columns,
    unit_id,
)
from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.experiment.needs import MISSING_LEVEL
from retention_lab.experiment.sections import COHORT, EVENT, EXPOSURE
from retention_lab.experiment.spec import Events, Spec

EPOCH = dt.date(1970, 1, 1)
UNITS = '"units of the retention lab"'  # the relation ``unit``


class TableLook(NamedTuple):
    """What one look says of a table: its rows, those left out by reason, and what is kept.

    Each row is counted by the first reason that holds: it does not meet the table's condition
    (`others`), has no id, has no time, or lies after the last complete day. `events` is None for a
    table of units. `negative`: of the kept ones, those of the event waited for with a value below
    0, where no condition chooses them. Of all rows, whatever the condition: `bare` have no id, the
    others `everyone`, so many different ones.
    """

    rows: int
    bare: int
    everyone: int
    without_unit: int
    others: int
    without_time: int
    later: int
    negative: int
    last: dt.date | None
    units: int
    events: int | None


class UnitsLook(NamedTuple):
    """What a look says of the units: origins, levels by key, and events that fit no origin.

    `strays` gives by event table the units without an origin, and those with an event before it;
    `several` by column the units with two levels or more, `missing` those with none; `late` enter
    after their origin. `sizes` has the units by level of the cohort, and of the keys of `by` that
    hold text, where no arms are compared. `some`: anyone has the event. `shared`: any unit is in
    its table.
    """

    units: int
    cohorts: int
    first: dt.date
    last: dt.date
    late: int
    patterns: int
    levels: Mapping[str, int]
    sizes: Mapping[str, Mapping[str, int]]
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
    value, below = checked(spec).value, "false"
    waited = events is spec.data.events.get(checked(spec).waits_for)
    if events is not None and waited and value is not None and events.where is None:
        below = f"{number_of(source, ref, value)} < 0"
    (row,) = source.query(
        f"select count(*) as n, max({quoted(at)}::date) filter ({usable}) as last, "
        f"count(*) filter ({usable} and {below}) as negative, "
        f"count(*) filter ({usable}) as usable, count({apart}{unit}) filter ({usable}) as units "
        f"from {rows}",
        t=ref,
    )
    if row["usable"] == row["n"]:
        row |= dict.fromkeys(("nobody", "others", "never", "later", "bare"), 0)
        row["everyone"] = row["units"]
    else:
        row |= source.query(
            f"select count(*) filter (ok and not ({named})) as nobody, "
            f"count(*) filter (not ok) as others, count(*) filter (not ({named})) as bare, "
            f"count({apart}{unit}) filter ({named}) as everyone, "
            f"count(*) filter (ok and {named} and not ({timed})) as never, "
            f"count(*) filter (ok and {named} and {timed} and {future}) as later from {rows}",
            t=ref,
        )[0]
    number: int | None = None
    if events is not None:
        name = next(n for n, e in spec.data.events.items() if e is events)
        number = int(row["usable"])
        if events.id is not None:
            number = 0
            for share in Share.of(source, {ref}, unit_id(spec), passes(0, int(row["usable"]))):
                counts = f"select count(*) as n from ({events_of(spec, share, name)})"
                number += int(source.query(counts, t=ref)[0]["n"])
    return TableLook(
        rows=int(row["n"]),
        bare=int(row["bare"]),
        everyone=int(row["everyone"]),
        others=int(row["others"]),
        without_unit=int(row["nobody"]),
        without_time=int(row["never"]),
        later=int(row["later"]),
        negative=int(row["negative"]),
        last=row["last"],
        units=int(row["units"]),
        events=number,
    )


def different(source: Source, ref: str, column: str, most: int) -> int:
    """How many values a column has in all rows of `ref`, whatever counts of them.

    Where there may be `most` of them, and that is many, they are looked at in shares, one by one.
    """
    count, name = passes(0, most), quoted(column)
    every = f"select count(distinct {name}) as n from t"
    shares = [f" where hash(hash({name})) % {count} = {i}" for i in range(count)]
    wanted = [every + share for share in shares] if count > 1 else [every]
    return sum(int(source.query(sql, t=ref)[0]["n"]) for sql in wanted)


def repeated(spec: Spec, source: Source, ref: str) -> int:
    """How many rows of the table of units stand beside another of the same unit."""
    if not source.repeats(ref, unit_id(spec)):
        return 0
    rows, units = source.counts(ref, unit_id(spec))
    return rows - units


def look_at_cohorts(spec: Spec, source: Source, arms: Sequence[str], count: int = 1) -> UnitsLook:
    """Counts of the units, of their levels, and of the events that fit no origin.

    They are looked at in `count` shares of customers, one after the other.
    """
    parts = shares(spec, source, count)
    keys = relations_of(spec, source, arms).keys
    rows: list[dict[str, Any]] = []
    strays: dict[str, tuple[int, int]] = {}
    several: dict[str, int] = {}
    some = shared = False
    for share in parts:
        unit = relations_of(spec, share, arms).unit
        with share.named(UNITS, unit, keep=checked(spec).first is not None):
            row = _units(spec, share, keys, len(parts) > 1)
            for name, (nobody, before) in _strays(spec, share).items():
                known = strays.get(name, (0, 0))
                strays[name] = known[0] + nobody, known[1] + before
            if not some:
                some = _some(spec, share, row["b"])
                shared = some or shared or _shared(spec, share)
        for name, n in _several(spec, share).items():
            several[name] = several.get(name, 0) + n
        rows.append(row)
    begun = [row for row in rows if row["units"]]

    def different(name: str) -> int:
        if len(rows) == 1:
            return int(rows[0][name])
        return len(set().union(*(row[name] or () for row in rows)))

    return UnitsLook(
        units=sum(row["units"] for row in rows),
        cohorts=different("cohorts"),
        first=EPOCH + dt.timedelta(days=min((row["a"] for row in begun), default=0)),
        last=EPOCH + dt.timedelta(days=max((row["b"] for row in begun), default=0)),
        late=sum(row["late"] for row in rows),
        patterns=different("patterns"),
        levels={k: different(f"levels_{i}") for i, k in enumerate(keys)},
        sizes={
            k: _sum(row[name] for row in rows) for k, name in _sized(spec, source, keys).items()
        },
        missing={k: sum(row[f"missing_{i}"] for row in rows) for i, k in enumerate(keys)},
        several=several,
        strays=strays,
        some=some,
        shared=shared,
    )


def _sized(spec: Spec, source: Source, keys: Sequence[str]) -> dict[str, str]:
    """The splits whose levels are counted one by one, and the name of that column of a look."""
    survival = checked(spec)
    if survival.origin == EXPOSURE:
        return {}
    binned = set(survival.bins)
    texts = [k for k in survival.by if k in binned or column_kind(spec, source, k) == "text"]
    return {COHORT: "sizes", **{k: f"sizes_{keys.index(k)}" for k in texts if k in keys}}


def _sum(found: Iterable[Any]) -> dict[str, int]:
    """Units by level, of all shares of customers together."""
    whole: dict[str, int] = {}
    for sizes in found:
        for name, n in dict(sizes or {}).items():
            whole[str(name)] = whole.get(str(name), 0) + int(n)
    return whole


def _units(spec: Spec, source: Source, keys: Sequence[str], apart: bool) -> dict[str, Any]:
    """What one query says of the units; of shares, `apart`, the different levels' hashes."""

    def different(value: str) -> str:
        known = f"list(distinct hash({value})) filter ({value} is not null)"
        return known if apart else f"count(distinct {value})"

    places = [f'"key {i}"' for i in range(len(keys))]
    every = f"hash({', '.join(['cohort', *places])})"
    patterns = f"list(distinct {every})" if apart else f"approx_count_distinct({every})"
    wanted = [
        f"count(*) as units, {different('cohort')} as cohorts, min(origin) as a, max(origin) as b",
        f"count(entry) as late, {patterns} as patterns",
    ]
    for i, k in enumerate(places):
        missing = f"{k} is null or {k}::varchar = '{MISSING_LEVEL}'"
        wanted.append(f"{different(k)} as levels_{i}, count(*) filter ({missing}) as missing_{i}")
    for name in _sized(spec, source, keys).values():
        place = "cohort" if name == "sizes" else places[int(name.partition("_")[2])]
        wanted.append(f"histogram(coalesce({place}::varchar, '{MISSING_LEVEL}')) as {name}")
    (row,) = source.query(f"select {', '.join(wanted)} from {UNITS}")
    return row


def _some(spec: Spec, source: Source, last: int | None) -> bool:
    """Whether anyone has the event; a few after `last`, the last origin's day, are asked first."""
    rows = happened(spec, source, [0])
    ways = [rows]
    assert spec.data.as_of is not None
    if last is not None and last < (spec.data.as_of - EPOCH).days:
        ways.insert(0, f"from ({rows}) where day > {last} limit {FEW}")
    return any(
        source.query(
            f"select 1 as found from ({way}) e join {UNITS} u on e.id = u.id "
            f"where {kind_of(spec, source)} = '{EVENT}' limit 1"
        )
        for way in ways
    )


def _shared(spec: Spec, source: Source) -> bool:
    """Whether any unit is in the table of the event, whenever."""
    rows = happened(spec, source, [0])
    return bool(source.query(f"select 1 from ({rows}) e join {UNITS} u on e.id = u.id limit 1"))


def _strays(spec: Spec, source: Source) -> dict[str, tuple[int, int]]:
    """By event table, the units without an origin, and those with an event before it."""
    survival = checked(spec)
    names = (survival.waits_for, *survival.competing)
    # Before an exposure, and outside of an experiment, customers lead their normal life.
    normal = survival.origin == EXPOSURE
    ranks = range(survival.first == survival.waits_for, 0 if normal else len(names))
    if not ranks:
        return {}
    rows = source.query(
        "select e.rank, count(distinct e.id) filter (u.id is null) as nobody, "
        "count(distinct e.id) filter (u.id is not null and "
        f"({kind_of(spec, source)}) is null) as before "
        f"from ({happened(spec, source, ranks)}) e left join {UNITS} u on e.id = u.id "
        "group by e.rank"
    )
    return {names[row["rank"]]: (int(row["nobody"]), int(row["before"])) for row in rows}


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
    (row,) = source.query(f"select {sums} from (select {differ} from ({events}) group by id)")
    return {c: int(row[f"n{i}"]) for i, c in enumerate(columns)}
