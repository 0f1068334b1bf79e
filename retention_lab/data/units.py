"""Unit rows, or assignments with events, in; a lazy frame of one row a unit out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import narwhals as nw

from retention_lab.data.counted import ONCE, counted_rows
from retention_lab.data.look import UnitLook
from retention_lab.data.source import Frame, Source
from retention_lab.data.times import HOUR, end_of
from retention_lab.experiment.needs import MISSING_LEVEL, Column
from retention_lab.experiment.spec import Spec

# Names within a frame have a space in them, which no metric's name can have.
EXPOSED = "exposed at"
UNIT = "unit id"
AT = "event at"
DAY = "day of entry"
BUCKET = "bucket of 200"
BUCKETS = 200
KEPT = "not burn-in"


def key(position: int) -> str:
    """The name, in a unit frame, of the column of levels at `position`: 0 is the arm."""
    return f"key {position}"


def cell_keys(spec: Spec) -> tuple[str, ...]:
    """What a reduction is split by: the arm, the segments, and the day of entry where it is known.

    Where clusters were randomised they stand in place of the day (under an alias).
    """
    assert spec.design is not None
    last = (spec.design.randomised,) if spec.design.randomised else ()
    day = (DAY,) if spec.data.assignments is not None and not last else ()
    return (spec.design.arm, *spec.segments, *last, *day)


def unit_frame(
    source: Source,
    spec: Spec,
    arms: Sequence[str],
    columns: Sequence[Column],
    buckets: int = BUCKETS,
    sampled: UnitLook | None = None,
) -> Frame:
    """One row a unit: its cell's keys, `columns` as Float64, null where unknown.

    Arm and segments are text; the day of entry is a count of days since 1970-01-01. Where units
    have an id and were randomised by it, `BUCKET` is one of `buckets` by its hash.
    Units without an arm of `arms`, and units exposed after the last complete day, are left out.
    A unit whose window has not elapsed is null in that column, one without events in it is 0.
    A window is (exposure, exposure + hours], a pre-period (exposure - hours, exposure].
    Capped columns come uncapped: the cap is a look of its own.

    Where `sampled` is given, there are the units of the first `BUCKETS` buckets only, before
    anything else is done; and who it says is nowhere in the table is not looked for. (Of ten
    million units a tenth in 0.6 of the time; the arm and the time need not be read.)
    """
    assert spec.design is not None
    data, design = spec.data, spec.design
    levels = [design.arm, *spec.segments]
    wanted = {key(i): name for i, name in enumerate(levels)}
    keys = {k: nw.col(k).cast(nw.String).fill_null(MISSING_LEVEL) for k in wanted}
    derived: dict[str, str] = {}
    if design.randomised:
        main = data.assignments.table if data.assignments is not None else str(data.units)
        derived[key(len(levels))], derived[KEPT] = source.cluster(main, spec)
    elif design.unit:
        derived[BUCKET] = source.bucket(design.unit, buckets)
    if data.assignments is not None and not design.randomised:
        derived[key(len(levels))] = source.day(data.assignments.at)
    own = [c for c in columns if c.how in ("value", "level", "missing")]
    raw = {v: f"raw {i}" for i, v in enumerate(dict.fromkeys(str(c.value) for c in own))}
    wanted |= {alias: v for v, alias in raw.items()}
    exprs = {c.name: _own(c, nw.col(raw[str(c.value)])) for c in own}
    kept = [nw.col(k) for k in derived]
    in_sample = [nw.col(BUCKET) < BUCKETS] if sampled is not None and BUCKET in derived else []
    asked = [nw.col(KEPT)] if KEPT in derived else []
    if sampled is None or not set(sampled.by_arm) <= set(arms):
        asked.append(nw.col(key(0)).is_in(list(arms)))
    if data.assignments is None:
        assert data.units is not None
        frame = _filtered(source.table(data.units, wanted, derived=derived), in_sample)
        return _filtered(frame.select(*kept, **keys, **exprs), asked)
    assert design.unit is not None
    wanted |= {UNIT: design.unit, EXPOSED: data.assignments.at}
    frame = source.table(data.assignments.table, wanted, at=EXPOSED, derived=derived)
    kept += [nw.col(n) for n in (UNIT, EXPOSED)]
    end = end_of(data.as_of, data.timezone) if data.as_of is not None else None
    if end is not None and (sampled is None or sampled.later):
        asked.append(nw.col(EXPOSED) < end)
    frame = _filtered(_filtered(frame, in_sample).select(*kept, **keys, **exprs), asked)
    exposures = frame.select(UNIT, EXPOSED)
    for name in dict.fromkeys(c.event for c in columns if c.event is not None):
        of_event = [c for c in columns if c.event == name]
        summed = _events(source, spec, name, exposures, of_event)
        frame = frame.join(summed, on=UNIT, how="left")
        frame = frame.with_columns(**{c.name: _settled(c) for c in of_event})
    if end is not None:
        elapsed = end - nw.col(EXPOSED)
        timed: dict[str, nw.Expr] = {
            c.name: nw.when(elapsed >= c.matures * HOUR).then(nw.col(c.name))
            for c in columns
            if c.matures is not None
        }
        timed |= {
            c.name: (elapsed >= (c.window or 0) * HOUR).cast(nw.Float64)
            for c in columns
            if c.how == "mature"
        }
        frame = frame.with_columns(**timed) if timed else frame
    return frame


def _filtered(frame: Frame, asked: Sequence[nw.Expr]) -> Frame:
    return frame.filter(*asked) if asked else frame


def beside(frame: Frame, columns: Iterable[Column]) -> Frame:
    """Make each covariate missing where the outcome beside it is."""
    masked = {
        c.name: nw.when(~nw.col(c.beside).is_null()).then(nw.col(c.name))
        for c in columns
        if c.beside is not None
    }
    return frame.with_columns(**masked) if masked else frame


def joint(frame: Frame, pairs: Iterable[tuple[Column, Column]]) -> Frame:
    """Make each pair of columns missing together: a ratio's parts come from the same units."""
    for a, b in pairs:
        both = ~nw.col(a.name).is_null() & ~nw.col(b.name).is_null()
        frame = frame.with_columns(**{c.name: nw.when(both).then(nw.col(c.name)) for c in (a, b)})
    return frame


def _own(column: Column, raw: nw.Expr) -> nw.Expr:
    if column.how == "missing":
        return raw.is_null().cast(nw.Float64)
    if column.how == "level":
        return (raw.cast(nw.String).fill_null(MISSING_LEVEL) == column.level).cast(nw.Float64)
    value = raw.cast(nw.Float64)
    return value.fill_null(column.fill or 0.0) if column.missing == "zero" else value


def _events(
    source: Source, spec: Spec, name: str, exposures: Frame, columns: Sequence[Column]
) -> Frame:
    """One row a unit with events: the sums and counts of every window in one pass.

    Counts are of events; sums add up the values of all their lines.
    """
    assert spec.design is not None
    assert spec.design.unit is not None
    table = spec.data.events[name]
    values = {v: f"value {i}" for i, v in enumerate(dict.fromkeys(c.value for c in columns)) if v}
    wanted = {UNIT: spec.design.unit, AT: table.at, **{name: v for v, name in values.items()}}
    wanted |= {ONCE: ONCE} if table.id is not None else {}
    rows = source.table(counted_rows(source, spec, name), wanted, at=AT)
    joined = rows.join(exposures, on=UNIT, how="inner")
    since = nw.col(AT) - nw.col(EXPOSED)
    longest = max((c.window or 0 for c in columns if not c.before), default=0)
    earliest = max((c.window or 0 for c in columns if c.before), default=0)
    joined = joined.filter(since > -earliest * HOUR, since <= longest * HOUR)
    sums: dict[str, nw.Expr] = {}
    for c in columns:
        inside = _inside(c, since)
        if c.how == "sum":
            value = nw.col(values[str(c.value)]).cast(nw.Float64)
            sums[c.name] = nw.when(inside).then(value).sum()
            if c.missing == "drop":
                sums[f"lost {c.name}"] = (inside & value.is_null()).cast(nw.Int64).sum()
        else:
            one = inside & nw.col(ONCE) if table.id is not None else inside
            sums[c.name] = one.cast(nw.Int64).sum()
    return joined.group_by(UNIT).agg(**sums)


def _inside(column: Column, since: nw.Expr) -> nw.Expr:
    span = (column.window or 0) * HOUR
    if column.before:
        return (since > -span) & (since <= 0)
    return (since > 0) & (since <= span)


def _settled(column: Column) -> nw.Expr:
    """The unit's number: 0 without events, null where an event's value is missing and dropped."""
    number = nw.col(column.name).fill_null(0).cast(nw.Float64)
    if column.how == "any":
        return (number > 0).cast(nw.Float64)
    if column.how == "sum" and column.missing == "drop":
        return nw.when(nw.col(f"lost {column.name}").fill_null(0) == 0).then(number)
    return number


def with_caps(frame: Frame, caps: dict[str, float]) -> Frame:
    """Let values above a column's cap count as the cap."""
    if not caps:
        return frame
    return frame.with_columns(
        **{
            name: nw.when(nw.col(name) > cap).then(nw.lit(cap)).otherwise(nw.col(name))
            for name, cap in caps.items()
        }
    )
