"""A plan in; what its units did on each day since their own exposure, as `Moments` by arm, out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from retention_lab.data.counted import ONCE, counted_rows
from retention_lab.data.moments import Counts, Floats, Moments
from retention_lab.data.source import Frame, Source
from retention_lab.data.times import HOUR, end_of
from retention_lab.data.units import AT, EXPOSED, UNIT, key, unit_frame
from retention_lab.experiment.needs import ROWS, Column
from retention_lab.experiment.spec import EVENT_KINDS

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan
    from retention_lab.experiment.spec import Spec

DAY, WEEK = 24, 168  # hours
SHORTEST, LONGEST = 2 * DAY, 35 * DAY  # windows that are split into days; longer ones into weeks
LOST = 1e4  # sums are made once more around a constant where n mean^2 exceeds this many co-moments

AGE, BIN, VALUE, ONE = "bins elapsed", "bin", "value", "one"


@dataclasses.dataclass(frozen=True, slots=True)
class Bins:
    """A window of `hours` after exposure, cut every `step` hours; the last bin may be shorter."""

    hours: int
    step: int

    @classmethod
    def of(cls, hours: int | None) -> Bins | None:
        """Days up to 35 of them, weeks beyond; None for a window of less than two days.

        >>> Bins.of(40 * 24).labels
        ('1-7', '8-14', '15-21', '22-28', '29-35', '36-40')
        """
        if hours is None or hours < SHORTEST:
            return None
        return cls(hours, DAY if hours <= LONGEST else WEEK)

    @property
    def count(self) -> int:
        return -(-self.hours // self.step)

    @property
    def ends(self) -> tuple[int, ...]:
        """The hours since exposure at which each bin ends."""
        return tuple(min(k * self.step, self.hours) for k in range(1, self.count + 1))

    @property
    def labels(self) -> tuple[str, ...]:
        """The days of each bin: ``3``, ``8-14``; the first day after exposure is 1."""
        starts = (0, *self.ends[:-1])
        days = [(a // DAY + 1, -(-b // DAY)) for a, b in zip(starts, self.ends, strict=True)]
        return tuple(f"{a}-{b}" if a < b else f"{a}" for a, b in days)

    @property
    def offsets(self) -> Floats:
        """How many hours the middle of each bin lies after the middle of the window: exact."""
        ends = np.array(self.ends, np.float64)
        return np.asarray(ends - (np.diff(ends, prepend=0.0) + self.hours) / 2.0)

    @property
    def scale(self) -> float:
        """What `offsets` times totals, added up, are to be multiplied by to give the slope.

        The slope of the rate a day over days, by least squares of rate = total / length on the
        bin's middle t, weighted by length: sum (t - T) total / sum length (t - T)^2, with T the
        weighted mean of t, which is the middle of the window.
        """
        length = np.diff(np.array(self.ends, np.float64), prepend=0.0)
        return DAY**2 / float(length @ self.offsets**2)


def day(metric: str, k: int) -> str:
    """The column of what happened in bin `k` = 1, 2, ..."""
    return f"{metric} day {k}"


def some(metric: str, k: int) -> str:
    """The column that is 1 for units to which something happened in bin `k`."""
    return f"{metric} some {k}"


def through(metric: str, k: int) -> str:
    """The column of what happened in bins 1 to `k`."""
    return f"{metric} through {k}"


def slope(metric: str) -> str:
    """The column of the trend over all bins, in one number a unit; see `Bins.scale`."""
    return f"{metric} slope"


def aged(spec: Spec, needed: Mapping[str, Any]) -> dict[str, tuple[Column, Bins]]:
    """The primary metrics that can be followed by day since exposure: their column and bins."""
    found = {}
    for m in spec.metrics:
        column = needed[m.name].numerator
        bins = Bins.of(column.window)
        if m.name in spec.primary and m.kind in EVENT_KINDS and bins is not None:
            found[m.name] = column, bins
    return found


def reduce_ages(plan: Plan) -> Moments | None:
    """The primary metrics by arm and day since exposure; None where there is none to follow.

    Bin k of a unit is (exposure + end of bin k - 1, exposure + end of bin k]. A unit is in a column
    of bin k where that bin has wholly elapsed at the end of `as_of`, and in the slope where the
    whole window has. Caps are not applied: parts of a day do not know the total. A retention counts
    a unit on the day of its first event, so that the days add up to the whole; its slope counts
    every day with an event, because whoever came back has no first event left.

    Only units with events are grouped by unit. A running sum over the days of a unit, S, makes
    second moments of what adds up: sum S_k^2 = sum over its days j <= k of b_j (2 S_j - b_j), so
    that the sums of each arm, maturity and day give the columns of all days (exact, no products of
    pairs of days). Where values are nearly constant and large, all is summed once more less their
    mean, and the counts of days put it back.
    Raises DataError where a table cannot be read.
    """
    spec = plan.spec
    assert spec.design is not None
    followed = {m: c for m, c in aged(spec, plan.needed).items() if m not in plan.faults}
    if spec.data.assignments is None or spec.design.randomised or not followed:
        return None
    entered = unit_frame(plan.source, spec, plan.arms, ()).select(UNIT, EXPOSED, key(0))
    arms = sorted(plan.arms)
    parts = [_columns(plan, entered, arms, m, c, bins) for m, (c, bins) in followed.items()]
    names, said = [c for p in parts for c in p.names], json.loads(plan.definition)
    content = {k: said[k] for k in ("as_of", "timezone", ROWS) if k in said}
    for c, _ in followed.values():
        content[c.name] = {k: v for k, v in said[c.name].items() if k != "cap"}
    n, mean, comoment = (
        np.concatenate([getattr(p, k) for p in parts], axis=1) for k in ("n", "mean", "comoment")
    )
    size = n.max(axis=1)
    there = np.flatnonzero(size)
    return Moments(
        keys=(spec.design.arm,),
        pairs=tuple((c, c) for c in names),
        cells=tuple((arms[i],) for i in there),
        size=size[there],
        n=n[there],
        mean_x=mean[there],
        mean_y=mean[there],
        comoment=comoment[there],
        origin={c: o for p in parts for c, o in zip(p.names, p.origin, strict=True) if o},
        definition=json.dumps(content, sort_keys=True),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """The columns of one metric: arrays are arms x columns, `origin` is one number a column."""

    names: tuple[str, ...]
    n: Counts
    mean: Floats
    comoment: Floats
    origin: Floats


@np.errstate(over="ignore", invalid="ignore")  # what is not finite stays so, and is seen later
def _columns(
    plan: Plan, entered: Frame, arms: Sequence[str], metric: str, column: Column, bins: Bins
) -> _Part:
    """The columns of `metric`; summed again around a constant where that is needed."""
    assert plan.spec.data.as_of is not None
    events = _events(plan.source, plan.spec, column)
    if column.how == "sum" and column.missing == "drop":
        lost = _since(events.join(entered, on=UNIT, how="inner"), bins)
        lost = lost.filter(nw.col(VALUE).is_null()).select(UNIT).unique()
        entered = entered.join(lost, on=UNIT, how="anti")
    end = end_of(plan.spec.data.as_of, plan.spec.data.timezone)
    elapsed = end - nw.col(EXPOSED)
    whole = nw.when(elapsed >= bins.hours * HOUR).then(bins.count)
    age = whole.otherwise(elapsed // (bins.step * HOUR))
    entered = entered.with_columns(**{AGE: age})
    sizes = {"size": nw.len(), "first": nw.col(EXPOSED).min()}
    counted = plan.source.arrays(entered.group_by(key(0), AGE).agg(**sizes))
    units = np.zeros((len(arms), bins.count + 1), np.int64)
    units[_place(counted, arms), np.asarray(counted[AGE], np.intp)] = counted["size"]
    # Before the join: most events of a shop lie before the test.
    began = int(np.min(counted["first"], initial=end))
    within = events.filter(nw.col(AT) > began, nw.col(AT) <= end)
    days = _days(within, entered, column, bins)
    sums = _summed(plan.source, days, arms, column, bins, 0.0)
    part = _part(metric, bins, units, sums, 0.0)
    far = part.n * part.mean**2 > LOST * part.comoment
    total = float(sums["units"].sum())
    if column.how != "sum" or total == 0.0 or not np.any(far & (part.n > 1)):
        return part
    shift = float(sums["sum"].sum()) / total
    if not np.isfinite(shift):
        return part
    return _part(metric, bins, units, _summed(plan.source, days, arms, column, bins, shift), shift)


def _events(source: Source, spec: Spec, column: Column) -> Frame:
    """The events of a column: whose and when; of a sum their lines, with the values."""
    assert spec.design is not None
    assert spec.design.unit is not None
    table = spec.data.events[str(column.event)]
    wanted = {UNIT: spec.design.unit, AT: table.at}
    if column.how == "sum":
        wanted[VALUE] = str(column.value)
    elif table.id is not None:
        wanted[ONCE] = ONCE
    rows = source.table(counted_rows(source, spec, str(column.event)), wanted, at=AT)
    return rows.filter(nw.col(ONCE)) if ONCE in wanted else rows


def _since(joined: Frame, bins: Bins) -> Frame:
    """Events within the window of their unit, with their bin."""
    since = nw.col(AT) - nw.col(EXPOSED)
    inside = joined.filter(since > 0, since <= bins.hours * HOUR)
    return inside.with_columns(**{BIN: (since - 1) // (bins.step * HOUR) + 1})


def _days(events: Frame, entered: Frame, column: Column, bins: Bins) -> Frame:
    """One row a unit and bin with events that has elapsed: its number there, as ``value``."""
    inside = _since(events.join(entered, on=UNIT, how="inner"), bins)
    inside = inside.filter(nw.col(BIN) <= nw.col(AGE))
    number = nw.len().cast(nw.Float64)
    if column.how == "sum":
        number = nw.col(VALUE).cast(nw.Float64).sum()
    days = inside.group_by(UNIT, key(0), AGE, BIN).agg(**{VALUE: number})
    if column.how != "any":
        return days.with_columns(**{ONE: nw.lit(1.0), VALUE: nw.col(VALUE).fill_null(0.0)})
    first = (nw.col(BIN) == nw.col(BIN).min().over(UNIT)).cast(nw.Float64)
    return days.with_columns(**{ONE: first, VALUE: nw.lit(1.0)})


def _summed(
    source: Source, days: Frame, arms: Sequence[str], column: Column, bins: Bins, shift: float
) -> dict[str, Floats]:
    """Sums by arm, maturity and bin (arms x ages x bins), of values less `shift`.

    Of what adds up over days with the values b and, at the same rows, the counts a: ``rr`` sums
    b (2 S - b), ``nn`` the same of a, ``nr`` a S_b + b S_a - a b. With ``slope`` before it, a and b
    are times their bin's offset.
    """
    offsets = bins.offsets
    last = nw.when(nw.col(BIN) == bins.count).then(float(offsets[-1]))
    part = last.otherwise(float(offsets[0]) + float(bins.step) * (nw.col(BIN) - 1))
    value = nw.col(VALUE) - shift if shift else nw.col(VALUE)
    own = {"b": nw.col(ONE) if column.how == "any" else value, "slope b": part * value}
    if shift:
        own |= {"a": nw.col(ONE), "slope a": part}
    days = days.with_columns(**own)
    so_far = {f"so far {k}": nw.col(k).cum_sum().over(UNIT, order_by=BIN) for k in own}
    days = days.with_columns(**so_far)

    def both(x: str, y: str) -> nw.Expr:
        x_, y_, xs, ys = (nw.col(c) for c in (x, y, f"so far {x}", f"so far {y}"))
        return (x_ * ys + y_ * xs - x_ * y_).sum()

    sums = {"units": nw.col(ONE).sum(), "sum": nw.col("b").sum()}
    sums["square"] = (nw.col("b") * nw.col("b")).sum()
    for before in ("", "slope "):
        sums[f"{before}rr"] = both(f"{before}b", f"{before}b")
        if shift:
            sums[f"{before}nr"] = both(f"{before}a", f"{before}b")
            sums[f"{before}nn"] = both(f"{before}a", f"{before}a")
    sums["slope sum"] = nw.col("slope b").sum()
    rows = source.arrays(days.group_by(key(0), AGE, BIN).agg(**sums))
    at = _place(rows, arms), np.asarray(rows[AGE], np.intp), np.asarray(rows[BIN], np.intp) - 1
    found = {}
    for name in sums:
        found[name] = np.zeros((len(arms), bins.count + 1, bins.count))
        found[name][at] = np.ma.filled(np.ma.asarray(rows[name], np.float64), 0.0)
    return found


def _part(metric: str, bins: Bins, units: Counts, sums: Mapping[str, Floats], s: float) -> _Part:
    """Means and co-moments by column: of every bin, of all bins through it, and of the slope.

    A number is a (s + r), with a the count of days: its co-moment is s^2 that of a, plus 2 s that
    of a and a r, plus that of a r.
    """
    none = np.zeros_like(sums["sum"])
    k = np.arange(bins.count)

    def at_day(name: str) -> Floats:
        return np.asarray(_mature(sums[name])[:, k + 1, k])

    def so_far(name: str) -> Floats:
        return np.asarray(np.cumsum(_mature(sums.get(name, none)), axis=2)[:, k + 1, k])

    def at_end(name: str) -> Floats:
        return np.asarray(sums.get(name, none)[:, -1].sum(axis=1, keepdims=True))

    count, r = at_day("units"), at_day("sum")
    zero = np.zeros_like(count)
    ends = sums["units"][:, -1] @ bins.offsets
    blocks = {
        day: (count, count, r, r, at_day("square")),
        some: (zero, zero, zero, count, count),
        through: (so_far("units"), so_far("nn"), so_far("nr"), so_far("sum"), so_far("rr")),
    }
    names = [name(metric, i + 1) for name in blocks for i in range(bins.count)] + [slope(metric)]
    last = (
        ends[:, None],
        at_end("slope nn"),
        at_end("slope nr"),
        at_end("slope sum"),
        at_end("slope rr"),
    )
    a, aa, ar, r, rr = (np.concatenate(x, axis=1) for x in zip(*blocks.values(), last, strict=True))
    alive = _mature(units)[:, 1:]
    n = np.concatenate([alive, alive, alive, alive[:, -1:]], axis=1)
    some_n = np.maximum(n, 1)
    typical = np.rint(a.sum(axis=0) / np.maximum(n.sum(axis=0), 1))
    mean = s * (a - typical * n) / some_n + r / some_n
    comoment = rr - r * r / some_n
    if s:
        comoment += s * s * (aa - a * a / some_n) + 2.0 * s * (ar - a * r / some_n)
    scale = np.append(np.ones(len(names) - 1), bins.scale)
    comoment = np.maximum(comoment, 0.0) * scale**2
    return _Part(tuple(names), n, mean * scale, comoment, s * typical * scale)


def _mature(by_age: Any) -> Any:
    """Sums of those units of which a bin or more has elapsed, in place of exactly so many."""
    return np.flip(np.cumsum(np.flip(by_age, axis=1), axis=1), axis=1)


def _place(rows: Mapping[str, Any], arms: Sequence[str]) -> npt.NDArray[np.intp]:
    place = {arm: i for i, arm in enumerate(arms)}
    return np.array([place[str(a)] for a in rows[key(0)]], np.intp)
