"""A plan that looks for pull-forward in; what its units did in each week, as `Weeks`, out."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import numpy.typing as npt

from retention_lab.data import stored
from retention_lab.data.counted import ONCE, counted_rows, said_of
from retention_lab.data.source import Frame
from retention_lab.data.times import HOUR, end_of
from retention_lab.data.units import AT, EXPOSED, UNIT, key, unit_frame
from retention_lab.errors import DataError, PlanError
from retention_lab.experiment.needs import ROWS

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan

WEEK = 168  # hours
VALUE, NUMBER = "value", "week"

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Weeks:
    """Weekly totals of one kind of events, by arm, of units followed for the whole horizon.

    `arms` (A, sorted); `n` [A] units; `sums` [A, W] and `products` [A, W, W], over those units, of
    their totals in each week and of each two weeks' totals; `missing` [A] events without a value,
    which add nothing. Week w = 1..W of a unit is (exposure + 7 (w - 1) days, exposure + 7 w days].
    `event` names the events; equal `definition`s count the same thing.
    """

    arms: tuple[str, ...]
    n: Counts
    sums: Floats
    products: Floats
    missing: Counts
    event: str
    definition: str

    def __post_init__(self) -> None:
        a, w = self.sums.shape
        if not (len(self.arms) == len(self.n) == len(self.missing) == a):
            raise ValueError("arms, n, missing and sums are not of one length")
        if self.products.shape != (a, w, w):
            raise ValueError(f"products are {self.products.shape}, not {(a, w, w)}")

    @property
    def weeks(self) -> int:
        """The horizon W."""
        return int(self.sums.shape[1])

    def mean(self, arm: str) -> Floats:
        """The mean total of each week [W]; NaN where the arm has no unit."""
        i = self.arms.index(arm)
        n = float(self.n[i])
        return np.asarray(self.sums[i] / n) if n else np.full(self.weeks, np.nan)

    def covariance(self, arm: str) -> Floats:
        """Covariance of the units' totals [W, W], with n - 1; NaN for fewer than two units."""
        i = self.arms.index(arm)
        n, s = float(self.n[i]), self.sums[i]
        if n < 2:
            return np.full((self.weeks, self.weeks), np.nan)
        return np.asarray((self.products[i] - np.outer(s, s) / n) / (n - 1))

    def save(self, path: str | Path) -> None:
        """Write a Parquet file; `load` reads it back to the last bit."""
        import pyarrow as pa

        def lists(values: Floats) -> Any:
            width = int(np.prod(values.shape[1:]))
            flat = pa.array(np.ascontiguousarray(values).ravel())
            return pa.FixedSizeListArray.from_arrays(flat, width)

        columns = {
            "arm": pa.array(list(self.arms), pa.string()),
            "n": self.n,
            "missing": self.missing,
            "sums": lists(self.sums),
            "products": lists(self.products),
        }
        content = {"weeks": self.weeks, "event": self.event, "definition": self.definition}
        stored.write(path, "weeks", columns, content)

    @classmethod
    def load(cls, path: str | Path) -> Weeks:
        """Read what `save` wrote; DataError for any other file."""
        table, content = stored.read(path, "weeks", "weekly reduction")
        with stored.whole(path, "weekly reduction"):
            arms, w = tuple(table["arm"].to_pylist()), int(content["weeks"])

            def matrix(name: str, *shape: int) -> Any:
                flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                return flat.reshape(len(arms), *shape).copy()

            return cls(
                arms=arms,
                n=table["n"].to_numpy().copy(),
                sums=matrix("sums", w),
                products=matrix("products", w, w),
                missing=table["missing"].to_numpy().copy(),
                event=content["event"],
                definition=content["definition"],
            )

    def __repr__(self) -> str:
        units = ", ".join(f"{a}: {n:,}" for a, n in zip(self.arms, self.n, strict=True))
        return f"Weeks({self.event}, {self.weeks} weeks; {units})"


def merge(*parts: Weeks) -> Weeks:
    """The weeks of all units behind `parts` together; no unit may be in two of them.

    Raises DataError where the parts do not count the same thing.
    """
    if not parts:
        raise DataError("there is nothing to merge")
    first = parts[0]
    for other in parts[1:]:
        if other.definition != first.definition or other.weeks != first.weeks:
            raise DataError(
                f"weekly totals of different things cannot be added: {first.definition} and "
                f"{other.definition}"
            )
    arms = tuple(sorted({a for p in parts for a in p.arms}))
    place = [np.array([arms.index(a) for a in p.arms], np.intp) for p in parts]

    def added(name: str) -> Any:
        one = getattr(first, name)
        out = np.zeros((len(arms), *one.shape[1:]), one.dtype)
        for p, at in zip(parts, place, strict=True):
            np.add.at(out, at, getattr(p, name))
        return out

    whole = {name: added(name) for name in ("n", "sums", "products", "missing")}
    return dataclasses.replace(first, arms=arms, **whole)


def reduce_weeks(plan: Plan) -> Weeks:
    """The weekly totals that `incentive.pull_forward` asks for, by arm.

    Only units whose last week has wholly elapsed at the end of `as_of` are in it, by their own
    exposure; those without an event count as 0. A total is the number of events, or the sum of
    their `value`. Only units with events are grouped: one pass makes their totals of all weeks side
    by side and adds up the products of each two.
    Raises PlanError where the file does not ask for it or has no exposures, DataError where a table
    cannot be read.
    """
    spec = plan.spec
    asked = spec.incentive.pull_forward if spec.incentive is not None else None
    if asked is None:
        raise PlanError("the file has no incentive.pull_forward")
    if spec.data.assignments is None or spec.data.as_of is None:
        raise PlanError(
            "incentive.pull_forward counts weeks since each unit's exposure: give "
            "data.assignments and as_of"
        )
    if asked.event not in spec.data.events:
        raise PlanError(f"incentive.pull_forward: there is no data.events.{asked.event}")
    arms, count = tuple(sorted(plan.arms)), asked.weeks
    span = count * WEEK * HOUR
    end = end_of(spec.data.as_of, spec.data.timezone)
    units = unit_frame(plan.source, spec, plan.arms, ()).select(UNIT, EXPOSED, key(0))
    units = units.filter(end - nw.col(EXPOSED) >= span)
    sizes = {"n": nw.len(), "first": nw.col(EXPOSED).min()}
    entered = plan.source.arrays(units.group_by(key(0)).agg(**sizes))
    n = np.zeros(len(arms), np.int64)
    n[_place(entered, arms)] = entered["n"]
    began = int(np.min(entered["first"], initial=end))
    events = _events(plan).filter(nw.col(AT) > began, nw.col(AT) <= end)
    found = plan.source.arrays(_summed(_totals(events, units, count), count))
    at = _place(found, arms)
    sums = np.zeros((len(arms), count))
    products = np.zeros((len(arms), count, count))
    missing = np.zeros(len(arms), np.int64)
    missing[at] = _floats(found["missing"]).astype(np.int64)
    for i in range(count):
        sums[at, i] = _floats(found[f"sum {i}"])
    for i, j in itertools.combinations_with_replacement(range(count), 2):
        products[at, i, j] = products[at, j, i] = _floats(found[f"product {i} {j}"])
    said = {
        "event": asked.event,
        "value": asked.value,
        "weeks": count,
        "as_of": str(spec.data.as_of),
        "timezone": spec.data.timezone,
        ROWS: said_of(spec, frozenset({asked.event})),
    }
    return Weeks(arms, n, sums, products, missing, asked.event, json.dumps(said, sort_keys=True))


def _events(plan: Plan) -> Frame:
    """The events: whose and when, and their values; an event of many lines counts once."""
    spec, source = plan.spec, plan.source
    assert spec.incentive is not None
    assert spec.incentive.pull_forward is not None
    assert spec.design is not None
    assert spec.design.unit is not None
    asked = spec.incentive.pull_forward
    table = spec.data.events[asked.event]
    wanted = {UNIT: spec.design.unit, AT: table.at}
    if asked.value is not None:
        wanted[VALUE] = asked.value
    elif table.id is not None:
        wanted[ONCE] = ONCE
    rows = source.table(counted_rows(source, spec, asked.event), wanted, at=AT)
    return rows.filter(nw.col(ONCE)) if ONCE in wanted else rows


def _totals(events: Frame, units: Frame, count: int) -> Frame:
    """One row a unit with events: its arm, ``0``, ``1``, ... its weeks' totals, and ``lost``."""
    joined = events.join(units, on=UNIT, how="inner")
    since = nw.col(AT) - nw.col(EXPOSED)
    inside = joined.filter(since > 0, since <= count * WEEK * HOUR)
    inside = inside.with_columns(**{NUMBER: (since - 1) // (WEEK * HOUR)})
    valued = VALUE in inside.columns
    one = nw.col(VALUE).cast(nw.Float64).fill_null(0.0) if valued else nw.lit(1.0)
    lost = nw.col(VALUE if valued else AT).is_null()  # an event without a time is not inside
    totals = {
        str(w): nw.when(nw.col(NUMBER) == w).then(one).otherwise(0.0).sum() for w in range(count)
    }
    totals["lost"] = lost.cast(nw.Int64).sum()
    return inside.group_by(UNIT, key(0)).agg(**totals)


def _summed(totals: Frame, count: int) -> Frame:
    """By arm the sums of each week and of the products of each two, over units with events."""
    sums = {f"sum {i}": nw.col(str(i)).sum() for i in range(count)}
    sums |= {
        f"product {i} {j}": (nw.col(str(i)) * nw.col(str(j))).sum()
        for i, j in itertools.combinations_with_replacement(range(count), 2)
    }
    return totals.group_by(key(0)).agg(missing=nw.col("lost").sum(), **sums)


def _place(rows: Mapping[str, Any], arms: tuple[str, ...]) -> npt.NDArray[np.intp]:
    return np.array([arms.index(str(a)) for a in rows[key(0)]], np.intp)


def _floats(values: Any) -> Floats:
    return np.asarray(np.ma.filled(np.ma.asarray(values, np.float64), 0.0), np.float64)
