"""A plan, or a lazy frame of one row a unit, in; its `Moments` by one query out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from retention_lab.data.ages import reduce_ages
from retention_lab.data.look import UnitLook
from retention_lab.data.moments import Floats, Moments, Pair, merge
from retention_lab.data.source import Frame, Source
from retention_lab.data.units import (
    BUCKET,
    BUCKETS,
    DAY,
    beside,
    cell_keys,
    joint,
    key,
    unit_frame,
    with_caps,
)
from retention_lab.errors import DataError
from retention_lab.experiment.needs import Column, all_columns, all_pairs

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan

LOOK = 10_000
SAMPLE = 1_000_000  # of more units than this, about as many are put into buckets
FAR = 1.0  # a column is shifted where its mean lies further from 0 than this many ranges
LOST = 1e4  # a cell is reduced again where n (mean - shift)^2 exceeds this many times its moment


def reduce(plan: Plan) -> Moments:
    """The reduction of the plan's rows by arm and segments, or of its saved reductions, merged.

    Raises DataError where a table cannot be read, or saved reductions do not fit together or fit
    the file.
    """
    if plan.spec.data.moments:
        return _saved(plan)
    if plan.spec.design is None or not plan.needed:
        raise DataError("the file has no metrics; reduce_cohorts reduces its survival section")
    columns, pairs = all_columns(dict(plan.needed)), all_pairs(dict(plan.needed))
    rows = plan.look.rows if plan.look is not None else 0
    spread = max(1, rows // SAMPLE)
    frame = _units(plan, columns, BUCKETS * spread)
    caps = _caps(plan.source, frame, columns)
    keys = cell_keys(plan.spec)
    definition = json.dumps({**json.loads(plan.definition), "caps": caps}, sort_keys=True)
    own = [c for c in columns if c.how == "value"]
    shifts = look(plan.source, unit_frame(plan.source, plan.spec, plan.arms, own), own)
    frame = beside(with_caps(frame, caps), columns)
    alike = _alike(plan, columns)
    whole = {c.name for c in columns if c.binary or c.how not in ("value", "sum")}
    said: dict[str, Any] = {"definition": definition, "alike": alike, "whole": whole}
    moments = reduce_frame(plan.source, frame, keys, pairs, shifts, **said)
    if BUCKET in frame.columns:
        some = frame
        if spread > 1:
            some = _units(plan, columns, BUCKETS * spread, sampled=plan.look)
            some = beside(with_caps(some, caps), columns)
        buckets = reduce_frame(plan.source, some, (BUCKET,), pairs, shifts, by=(BUCKET,), **said)
        moments = dataclasses.replace(moments, buckets=buckets)
    quantiles = [m.name for m in plan.spec.metrics if m.kind == "quantile"]
    if quantiles:
        from retention_lab.data.values import count_values

        shown = (plan.spec.design.arm, *plan.spec.segments)
        content = json.loads(definition)
        counted = {
            q: count_values(plan.source, frame, shown, q, json.dumps(content[q], sort_keys=True))
            for q in quantiles
        }
        moments = dataclasses.replace(moments, values=counted)
    nobody = plan.look.by_arm.get(None, 0) if plan.look is not None else 0
    found: dict[str, Any] = {"faults": dict(plan.faults), "without_arm": nobody}
    return dataclasses.replace(moments, ages=reduce_ages(plan), **found)


def _units(
    plan: Plan, columns: Sequence[Column], buckets: int, sampled: UnitLook | None = None
) -> Frame:
    """One row a unit, before caps; the two columns of a ratio are missing together."""
    frame = unit_frame(plan.source, plan.spec, plan.arms, columns, buckets, sampled)
    apart = [n for n in plan.needed.values() if n.apart]
    return joint(frame, [(n.numerator, n.denominator) for n in apart if n.denominator])


def _alike(plan: Plan, columns: Sequence[Column]) -> dict[str, object]:
    """By column, what its known rows depend on: its maturity alone, where no value is missing."""

    faulty = {c.name for metric in plan.faults for c in plan.needed[metric].columns}

    def whole(c: Column) -> bool:
        if c.missing == "drop" and c.how == "value":
            return plan.look is not None and plan.look.values[c.name].missing == 0
        return (
            c.how not in ("value", "sum")
            or c.missing == "zero"
            or (c.missing == "error" and c.name not in faulty)
        )

    found: dict[str, object] = {
        c.name: ("matures", c.matures) if whole(c) else ("known", c.name)
        for c in columns
        if c.beside is None
    }
    for need in plan.needed.values():
        if need.apart and need.denominator is not None:
            found[need.denominator.name] = found[need.numerator.name]
    return found | {c.name: found[c.beside] for c in columns if c.beside is not None}


def _same_arm(plan: Plan, whole: Moments) -> None:
    """Refuse clusters that are in one arm here and in another there."""
    assert plan.spec.design is not None
    name = plan.spec.design.randomised
    if name is None:
        return
    found = [cell[1] for cell in whole.roll_up(plan.spec.design.arm, name).cells]
    crossed = len(found) - len(set(found))
    if crossed:
        raise DataError(f"{crossed:,} clusters by {name!r} are in two arms of the reductions")


def _saved(plan: Plan) -> Moments:
    """The saved reductions of the file, merged; each says the same of what its columns are."""
    held = [Moments.load(path) for table in plan.inputs for path in table.paths]
    if len({(m.cells, m.size.tobytes(), m.comoment.tobytes()) for m in held}) < len(held):
        raise DataError("data.moments names the same reduction twice: its units would count twice")
    whole = merge(*held)
    _same_arm(plan, whole)
    said, wanted = json.loads(whole.definition), json.loads(plan.definition)
    differ = [k for k in wanted if said.get(k) != wanted[k]]
    if differ:
        detail = "; ".join(f"{k}: {said.get(k)} there, {wanted[k]} in the file" for k in differ)
        raise DataError(f"the saved reductions do not fit the file: {detail}")
    return whole


def _caps(source: Source, frame: Frame, columns: Sequence[Column]) -> dict[str, float]:
    """The cap of every capped column; a quantile is taken over all its units, arms pooled."""
    caps = {c.name: c.cap.value for c in columns if c.cap is not None and c.cap.value is not None}
    by_rank = {
        c.name: nw.col(c.name).quantile(c.cap.quantile, interpolation="linear")
        for c in columns
        if c.cap is not None and c.cap.quantile is not None
    }
    if by_rank:
        caps |= {k: v for k, v in source.rows(frame.select(**by_rank))[0].items() if v is not None}
    return caps


def reduce_frame(
    source: Source,
    frame: Frame,
    keys: Sequence[str],
    pairs: Sequence[Pair],
    shifts: Mapping[str, float] | None = None,
    definition: str = "",
    alike: Mapping[str, object] | None = None,
    whole: Collection[str] = (),
    by: Sequence[str] = (),
) -> Moments:
    """Reduce `frame` to counts, means and co-moments of `pairs` by the levels of `keys`.

    These are the frame's columns `by`; where that is empty, ``key 0``, ``key 1`` and so on.

    Products are summed around the constants `shifts` near the columns' means (default 0): raw
    sums of squares lose every digit from means of 1e8 on. Where a cell's mean turns out far from
    its constant, all is reduced once more around each cell's own mean (two passes, exact).
    Columns of the same value in `alike` are known in the same rows, so that their pair needs no
    counts of its own. Columns in `whole` hold whole numbers, whose sums are exact.
    """
    alike = alike or {}
    columns = list(dict.fromkeys(c for p in pairs for c in p))
    shifts = {**dict.fromkeys(columns, 0.0), **(shifts or {})}
    apart = [p for p in pairs if p[0] != p[1] and not _same_rows(p, alike)]
    by = tuple(by) or tuple(key(i) for i in range(len(keys)))
    rows = _query(source, frame, by, pairs, apart, {c: nw.lit(s) for c, s in shifts.items() if s})
    moments = _moments(rows, keys, by, pairs, shifts, definition)
    if not _cancelled(moments, whole):
        return moments
    means = frame.group_by(*by).agg(**{f"centre {c}": nw.col(c).mean() for c in columns})
    centred = frame.join(means, on=list(by), how="left")
    centres = {c: nw.col(f"centre {c}") for c in columns}
    rows = _query(source, centred, by, pairs, apart, centres, by_cell=True)
    return _moments(rows, keys, by, pairs, None, definition)


def _same_rows(pair: Pair, alike: Mapping[str, object]) -> bool:
    x, y = pair
    return alike.get(x) is not None and alike.get(x) == alike.get(y)


def look(source: Source, frame: Frame, columns: Sequence[Column]) -> dict[str, float]:
    """A constant near the mean of each column, from the first rows; 0 where it is not far off."""
    if not columns:
        return {}
    wanted: dict[str, nw.Expr] = {}
    for c in (c.name for c in columns):
        known = nw.when(nw.col(c).is_finite()).then(nw.col(c))
        wanted |= {f"mean {c}": known.mean(), f"low {c}": known.min(), f"high {c}": known.max()}
    found = source.rows(frame.select(*(c.name for c in columns)).head(LOOK).select(**wanted))[0]
    shifts = {}
    for c in (c.name for c in columns):
        mean, low, high = (found[f"{what} {c}"] for what in ("mean", "low", "high"))
        far = mean is not None and np.isfinite(mean) and abs(mean) > FAR * (high - low)
        shifts[c] = float(mean) if far else 0.0
    return shifts


def _query(
    source: Source,
    frame: Frame,
    by: Sequence[str],
    pairs: Sequence[Pair],
    apart: Sequence[Pair],
    shifts: Mapping[str, nw.Expr],
    *,
    by_cell: bool = False,
) -> dict[str, Any]:
    """The one grouped query: row counts, and for each pair n, the shifted sums and products.

    Pairs in `apart` may be known in other rows than their columns, and are counted by themselves.
    """
    sums: dict[str, nw.Expr] = {"size": nw.len()}

    def shifted(c: str) -> nw.Expr:
        return nw.col(c) - shifts[c] if c in shifts else nw.col(c)

    for x, y in pairs:
        if x == y:
            sums[f"n {x}"] = nw.col(x).count()
            sums[f"sum {x}"] = shifted(x).sum()
            sums[f"square {x}"] = (shifted(x) * shifted(x)).sum()
            if by_cell:
                sums[f"centre {x}"] = nw.col(f"centre {x}").max()
        else:
            product = shifted(x) * shifted(y)
            sums[f"product {x}|{y}"] = product.sum()
        if (x, y) in apart:
            sums[f"n {x}|{y}"] = product.count()
            sums[f"x {x}|{y}"] = nw.when(~nw.col(y).is_null()).then(shifted(x)).sum()
            sums[f"y {x}|{y}"] = nw.when(~nw.col(x).is_null()).then(shifted(y)).sum()
    return source.arrays(frame.group_by(*by).agg(**sums))


@np.errstate(over="ignore", invalid="ignore")  # what is not finite stays so, and is seen later
def _moments(
    rows: Mapping[str, Any],
    keys: Sequence[str],
    by: Sequence[str],
    pairs: Sequence[Pair],
    shifts: Mapping[str, float] | None,
    definition: str,
) -> Moments:
    """Counts and shifted sums to means and co-moments.

    Sums are around `shifts`, or where that is None around each cell's own centre; then the means
    are counted from the centre of the largest cell.
    """
    count = len(rows["size"])
    shape = (count, len(pairs))
    n = np.zeros(shape, np.int64)
    mean_x, mean_y, comoment = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    columns = dict.fromkeys(c for p in pairs for c in p)
    centres = {c: _floats(rows[f"centre {c}"]) for c in columns} if shifts is None else {}
    largest = int(np.argmax(rows["size"])) if count else 0
    origin = (
        dict(shifts)
        if shifts is not None
        else {c: float(centres[c][largest]) if count else 0.0 for c in columns}
    )

    def beyond(c: str) -> Floats | float:
        """What the sums' centre lies beyond the origin."""
        return centres[c] - origin[c] if shifts is None else 0.0

    for i, (x, y) in enumerate(pairs):
        if x == y:
            n[:, i] = rows[f"n {x}"]
            sum_x = sum_y = _floats(rows[f"sum {x}"])
            product = _floats(rows[f"square {x}"])
        else:
            own = f"n {x}|{y}" in rows
            n[:, i] = rows[f"n {x}|{y}" if own else f"n {x}"]
            sum_x = _floats(rows[f"x {x}|{y}" if own else f"sum {x}"])
            sum_y = _floats(rows[f"y {x}|{y}" if own else f"sum {y}"])
            product = _floats(rows[f"product {x}|{y}"])
        some = np.maximum(n[:, i], 1)
        mean_x[:, i] = np.where(n[:, i] > 0, beyond(x) + sum_x / some, 0.0)
        mean_y[:, i] = np.where(n[:, i] > 0, beyond(y) + sum_y / some, 0.0)
        comoment[:, i] = product - sum_x * sum_y / some
    squares = [i for i, (x, y) in enumerate(pairs) if x == y]
    comoment[:, squares] = np.maximum(comoment[:, squares], 0.0)
    levels = [_levels(name, rows[k]) for name, k in zip(keys, by, strict=True)]
    cells = list(zip(*levels, strict=True))
    order = sorted(range(count), key=cells.__getitem__)
    return Moments(
        keys=tuple(keys),
        pairs=tuple(pairs),
        cells=tuple(cells[r] for r in order),
        size=np.asarray(rows["size"], np.int64)[order],
        n=n[order],
        mean_x=mean_x[order],
        mean_y=mean_y[order],
        comoment=comoment[order],
        origin=origin,
        definition=definition,
    )


def _levels(name: str, values: Any) -> list[str]:
    if name == DAY:
        return [str(d) for d in np.asarray(values, np.int64).astype("datetime64[D]")]
    return [str(v) for v in values]


def _floats(values: Any) -> Floats:
    filled = np.ma.filled(np.ma.asarray(values, np.float64), 0.0)
    return np.asarray(filled, np.float64)


@np.errstate(over="ignore", invalid="ignore")
def _cancelled(m: Moments, whole: Collection[str]) -> bool:
    """Whether a cell's mean lies so far from the shift that its co-moment lost digits.

    Sums of `whole` numbers below 2^53 are exact, however far the mean lies.
    """
    for i, (x, y) in enumerate(m.pairs):
        if x != y:
            continue
        n, spread = m.n[:, i], m.comoment[:, i]
        distance = n * m.mean_x[:, i] ** 2
        exact = (x in whole) & (spread + distance < 2.0**53)
        if np.any((distance > LOST * spread) & ~exact & (n > 1)):
            return True
    return False
