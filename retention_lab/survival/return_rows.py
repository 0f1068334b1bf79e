"""The reductions of returns and activity in; rows of orders, retention and revenue out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from retention_lab.data.activity import Activity
from retention_lab.data.moments import Moments
from retention_lab.data.repeats import Repeats
from retention_lab.experiment.sections import COHORT
from retention_lab.results import Row
from retention_lab.survival.curve_rows import COVERED, NOT_SEEN, NOTHING_YET, Asked
from retention_lab.survival.rates import rates
from retention_lab.survival.recurrent import Process, Value, mean_cumulative, process
from retention_lab.survival.recurrent_groups import differences, equal_means
from retention_lab.survival.revenue import revenue_share
from retention_lab.survival.triangle import (
    Average,
    Triangle,
    average,
    from_day,
    in_brackets,
    on_day,
    rolling,
)
from retention_lab.survival.views import Group, Span, View, among, shown, span

AGES = (1, 7, 14, 30, 60, 90, 180, 365)
LWYY = "Andersen-Gill, Efron, errors of Lin, Wei, Yang and Ying"
MEAN = "mean cumulative function, Lawless-Nadeau"
FOLLOW_UP = (
    "follow_up_differs: later cohorts were seen for less long, so that fewer of their customers "
    "have had the time to come back"
)
Place = dict[str, Any]


def repeat_rows(asked: Asked, repeats: Repeats, views: Sequence[View]) -> Iterator[Row]:
    """Mean number of further events per customer by day: everyone's, and of each group.

    With the log ratio of the groups' rates, one key at a time.
    """
    if int(repeats.customers.sum()) < asked.min_cell:
        return
    yield from _course(asked, process(repeats), {})
    for view in views:
        if view.key in repeats.keys:
            yield from _groups(asked, repeats, view)


def _groups(asked: Asked, repeats: Repeats, view: View) -> Iterator[Row]:
    parts = {str(label[0]): part for label, part in repeats.parts(view.key)}
    every = {name: process(part) for name, part in parts.items()}
    ages = range(asked.horizon + 1)
    at_risk = np.array([p.at_risk_at(ages) for p in every.values()])
    lasting = not (np.diff(at_risk, axis=1) > 0).any()  # numbers at risk grow with late entry only
    new = np.array([name not in view.apart for name in every])
    may = _both(at_risk, new, asked.min_cell, lasting)
    seen = {
        name: frozenset(np.flatnonzero(row).tolist()) for name, row in zip(every, may, strict=True)
    }
    held = {n: p for n, p in every.items() if p.customers >= asked.min_cell and n not in view.apart}
    for group in view.groups:
        if (name := str(group.name)) in held:
            yield from _course(asked, held[name], group.place, seen[name])
    reference = view.reference
    base = held.get(str(reference.name)) if reference is not None else None
    if reference is None or base is None:
        return
    for group in view.groups:
        arm = held.get(str(group.name))
        if arm is None or group is reference:
            continue
        both = seen[str(group.name)] & seen[str(reference.name)]
        days = [d for d in asked.days if d in both]
        where: Place = {**group.place, "baseline": reference.name, "method": MEAN}
        where |= {"n": arm.customers, "n_baseline": base.customers}
        late = [s.first for s in (_span(asked, p) for p in (arm, base)) if s.late]
        if late:
            note = NOT_SEEN.format(day=max(late))
            for day in asked.days:
                yield asked.row("mean_cumulative_difference", at=str(day), note=note, **where)
            continue
        one, two = (mean_cumulative(p, asked.alpha).at(days) for p in (arm, base))
        for found, a, b in zip(differences(arm, base, days, asked.alpha), one, two, strict=True):
            value = _value(found)
            if bool(a.std_error) != bool(b.std_error):
                value = {"estimate": found.estimate, "note": found.note or NOTHING_YET}
            at = f"{found.day:g}"
            yield asked.row("mean_cumulative_difference", at=at, **value, **where)
    if len(held) > 1:
        yield _test(asked, held, seen, view, reference)
        yield from _ratios(asked, among(repeats, view), view, reference)


def _both(
    at_risk: npt.NDArray[Any], new: npt.NDArray[np.bool_], min_cell: int, lasting: bool
) -> npt.NDArray[np.bool_]:
    """`shown` among all groups [groups, days], and among the groups `new`, which add up as well."""
    may = shown(at_risk, min_cell, lasting)
    if not new.all():
        may[new] &= shown(at_risk[new], min_cell, lasting)
    return may


def _test(
    asked: Asked,
    held: Mapping[str, Process],
    seen: Mapping[str, Collection[int]],
    view: View,
    reference: Group,
) -> Row:
    """The test of equal means by tau, or by the last milestone on which all groups are shown."""
    place = {"segment": view.groups[0].segment and view.key, "baseline": reference.name}
    days = [d for d in asked.days if all(d in seen[name] for name in held)]
    if not days:
        return asked.row("equal_means", at=str(asked.tau), note=_few_left(asked), **place)
    day = asked.tau if asked.tau in days else days[-1]
    test = equal_means(held, day)
    said = {"at": str(day), "note": test.note, "method": f"{MEAN}, {test.df} df"}
    value = {"estimate": test.statistic, "p_value": test.p_value}
    return asked.row("equal_means", **value, **said, **place)


def _few_left(asked: Asked) -> str:
    return asked.ended(Span(asked.start, 0.0))


def _span(asked: Asked, p: Process) -> Span:
    return span(p.at_risk_at(range(asked.start, asked.horizon + 2)), asked.start, asked.min_cell)


def _ratios(asked: Asked, repeats: Repeats, view: View, reference: Group) -> Iterator[Row]:
    found = rates(
        repeats, [view.key], alpha=asked.alpha, references={view.key: str(reference.name)}
    )
    for i, term in enumerate(found.names):
        numbers = {
            "estimate": _number(found.estimate[i]),
            "std_error": _number(found.std_error[i]),
            "ci_low": _number(found.low[i]),
            "ci_high": _number(found.high[i]),
            "p_value": _number(found.p_value[i]),
        }
        said = {"term": term, "n": found.customers, "method": LWYY, "note": found.note}
        level = term.removeprefix(f"{view.key}=")
        place: Place = {"arm": level} if reference.arm is not None else {"level": level}
        place |= {"segment": reference.segment, "baseline": reference.name}
        yield asked.row("log_rate_ratio", **numbers, **said, **place)


def _course(
    asked: Asked, p: Process, place: Place, seen: Collection[int] | None = None
) -> Iterator[Row]:
    """The course of one group, on the days `seen` (None: wherever enough are at risk)."""
    if (days := _span(asked, p)).late:
        note = NOT_SEEN.format(day=days.first)
        yield asked.row("mean_cumulative", n=p.customers, note=note, method=MEAN, **place)
        return
    found = mean_cumulative(p, asked.alpha)
    known = {*p.time.tolist(), *map(float, asked.days)}
    enough = [d for d in sorted(known) if p.at_risk_at([d])[0] >= asked.min_cell]
    kept = [d for d in enough if d <= asked.horizon and (seen is None or int(d) in seen)]
    at_risk = p.at_risk_at(kept)
    for value, n in zip(found.at(kept), at_risk, strict=True):
        numbers = _value(value) | {"p_value": None, "n": int(n)}
        yield asked.row("mean_cumulative", at=f"{value.day:g}", **numbers, method=MEAN, **place)


def retention_rows(
    asked: Asked, activity: Activity, views: Sequence[View], window: int
) -> Iterator[Row]:
    """Retention by age: N-day, unbounded, bracket and rolling; everyone, and each view's groups.

    Everyone's error is that between cohorts. Unbounded retention by cohort only: customers of one
    cohort were seen for the same time, so that it is a share of something.
    """
    ages = [a for a in AGES if a <= asked.horizon]
    for view in (None, *(v for v in views if v.key in activity.keys)):
        table = activity.by(COHORT if view is None else view.key)
        made = {
            "n_day": on_day(table, ages, asked.alpha),
            "unbounded": from_day(table, ages, asked.alpha),
            "bracket": in_brackets(table, asked.alpha),
            "rolling": rolling(table, [a for a in ages if a >= window], window, asked.alpha),
        }
        for term, triangle in made.items():
            if term == "unbounded" and (view is None or view.key != COHORT):
                continue
            if view is None:
                yield from _pooled(asked, average(triangle), term, int(triangle.size.sum()))
            else:
                yield from _cells(asked, triangle, term, view)


def _cells(asked: Asked, triangle: Triangle, term: str, view: View) -> Iterator[Row]:
    key, names = view.key, [str(levels[0]) for levels in triangle.cohorts]
    new = np.array([name not in view.apart for name in names])
    seen = _both(triangle.matured, new, asked.min_cell, lasting=False).ravel()
    for cell, may in zip(triangle.cells(), seen, strict=True):
        if str(cell.levels[0]) in view.apart:
            continue
        place: Place = {"segment": key, "level": str(cell.levels[0]), "term": term}
        place |= {"at": _age(term, cell.begin, cell.end), "method": f"{term}, Wilson interval"}
        if cell.matured and not may:
            few = cell.matured < asked.min_cell
            yield asked.row("retention", note=asked.suppressed if few else COVERED, **place)
            continue
        why = FOLLOW_UP if term == "unbounded" and cell.share is not None else cell.note
        n = _told(asked, cell.matured, cell.size)
        ends = {"ci_low": cell.low, "ci_high": cell.high, "n": n, "note": why}
        yield asked.row("retention", estimate=cell.share, **ends, **place)


def _told(asked: Asked, matured: int, size: int) -> int | None:
    """The matured customers, unless those who are not are few: both together would tell of them."""
    return None if 0 < size - matured < asked.min_cell else matured


def _pooled(asked: Asked, found: Average, term: str, size: int) -> Iterator[Row]:
    """Everyone's retention, of `size` customers."""
    for i in range(len(found.begin)):
        n = int(found.matured[i])
        at = _age(term, float(found.begin[i]), float(found.end[i]))
        place: Place = {"at": at, "term": term, "method": f"{term}, matured customers"}
        if n == 0:
            yield asked.row("retention", note=f"immature: nobody has reached day {at}", **place)
        elif n < asked.min_cell:
            yield asked.row("retention", note=asked.suppressed, **place)
        else:
            numbers = {
                "estimate": _number(found.share[i]),
                "std_error": _number(found.std_error[i]),
                "ci_low": _number(found.low[i]),
                "ci_high": _number(found.high[i]),
            }
            told = _told(asked, n, size)
            yield asked.row("retention", n=told, **numbers, note=found.notes[i], **place)


def _age(term: str, begin: float, end: float) -> str:
    """A bracket as its first and last day; else the day."""
    if term == "bracket":
        return f"{begin:g}-{end:g}"
    return f"{begin if math.isinf(end) else end:g}"


def revenue_rows(asked: Asked, revenue: Moments) -> Iterator[Row]:
    """The share of each month's revenue that comes from customers who had ordered before."""
    for found in revenue_share(revenue, asked.alpha):
        place: Place = {"at": found.levels[0], "method": "ratio of sums, delta method"}
        if found.customers < asked.min_cell:
            yield asked.row("returning_revenue_share", note=asked.suppressed, **place)
            continue
        ends = {"std_error": found.std_error, "ci_low": found.low, "ci_high": found.high}
        value = {"estimate": found.share, "n": found.customers, "note": found.note}
        yield asked.row("returning_revenue_share", **value, **ends, **place)


def _value(found: Value) -> dict[str, Any]:
    return {
        "estimate": found.estimate,
        "std_error": found.std_error,
        "ci_low": found.low,
        "ci_high": found.high,
        "p_value": found.p_value,
        "note": found.note,
    }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
