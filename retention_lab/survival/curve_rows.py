"""A group's life table, or two, in; rows of curves, means and tests for the result table out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from retention_lab.data.lifetable import LifeTable
from retention_lab.experiment.sections import EVENT
from retention_lab.results import Row
from retention_lab.survival import competing, curves, rmst
from retention_lab.survival.curves import Points, kaplan_meier
from retention_lab.survival.gray import gray
from retention_lab.survival.intervals import Estimate, wilson
from retention_lab.survival.logrank import GroupTest, logrank
from retention_lab.survival.steps import Steps, steps
from retention_lab.survival.views import Group, View, at_risk_on

MILESTONES = (30, 60, 90, 180, 365)
QUANTILES = (0.25, 0.5, 0.75)
BINS = 60  # hazards are by day where the horizon is no longer than this many, else by week

KM = "Kaplan-Meier, log-log interval"
AREA = "area under Kaplan-Meier"
WILSON = "events per customer at risk and day, Wilson interval"
NOTHING_YET = "no_event_yet: in one of the groups nothing has happened, so there is no error"
INCIDENCE = "Aalen-Johansen, log-log interval"


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What the file fixes beforehand: the event's name, days, alpha and the least group shown."""

    event: str
    causes: tuple[str, ...]
    horizon: int
    tau: int
    alpha: float
    min_cell: int

    @property
    def milestones(self) -> tuple[int, ...]:
        """Days at which groups are compared."""
        return tuple(d for d in MILESTONES if d <= self.horizon)

    def name(self, cause: str) -> str:
        """The name of a cause as the file has it."""
        return self.event if cause == EVENT else cause

    def row(self, estimand: str, **more: Any) -> Row:
        return Row(analysis="survival", metric=self.event, estimand=estimand, **more)


def group_rows(asked: Asked, group: Group) -> Iterator[Row]:
    """All that is said of one group: its size, curve, quantiles, hazard, mean and causes."""
    n = group.life.size
    if n < asked.min_cell:
        note = f"suppressed: fewer than {asked.min_cell} customers"
        if not n and group.arm is not None:
            note = "absent: no customer of this arm was followed"
        yield asked.row("customers", **group.place, note=note)
        return
    yield asked.row("customers", **group.place, estimate=float(n), n=n)
    found = steps(group.life)
    curve = kaplan_meier(found, alpha=asked.alpha)
    here = {**group.place, "method": KM}
    yield from _points(asked, "survival", curve.at(_days(asked, group, found, 1)), here)
    yield from _quantiles(asked, curve, group, n)
    yield from _hazard(asked, found, group)
    yield _mean(asked, found, group)
    if len(group.life.causes) > 1:
        for k, cause in enumerate(group.life.causes, 1):
            share = competing.cumulative_incidence(found, k, alpha=asked.alpha)
            here = {**group.place, "method": INCIDENCE, "term": asked.name(cause)}
            points = share.at(_days(asked, group, found, k))
            yield from _points(asked, "cumulative_incidence", points, here)


def compared(asked: Asked, view: View) -> Iterator[Row]:
    """Each group of a view against its reference, and tests of all of its groups together."""
    shown = [g for g in view.groups if g.life.size >= asked.min_cell]
    if view.reference is not None and view.reference in shown:
        base = steps(view.reference.life)
        for group in shown:
            if group is not view.reference:
                yield from _against(asked, group, view.reference, steps(group.life), base)


def group_tests(
    asked: Asked, view: View, life: LifeTable, strata: Sequence[str] = ()
) -> Iterator[Row]:
    """Log-rank tests, plain and stratified, and Gray's for each cause, over the levels of a key."""
    if len(view.groups) < 2:
        return
    place = {"segment": None if view.groups[0].arm is not None else view.key}
    plain = logrank(life, view.key)
    yield _test(asked, "log_rank", plain, place, "plain", "log-rank")
    if strata:
        said = f"stratified by {', '.join(strata)}"
        found = logrank(life, view.key, strata=strata)
        yield _test(asked, "log_rank", found, place, said, f"log-rank, {said}")
    if len(life.causes) > 1:
        for k, cause in enumerate(life.causes, 1):
            found = gray(life, view.key, cause=k)
            yield _test(asked, "gray", found, place, asked.name(cause), "Gray's test")


def _days(asked: Asked, group: Group, found: Steps, cause: int) -> np.ndarray[Any, Any]:
    """The days of a curve: those with an event, and milestones, while enough are at risk."""
    own = found.time[found.happened(cause) > 0]
    days = np.union1d(own, np.array(asked.milestones, np.float64))
    days = days[(days <= asked.horizon) & (found.at_risk_at(days) >= asked.min_cell)]
    return days[[int(d) not in group.hidden for d in days]]


def _points(asked: Asked, estimand: str, points: Points, here: dict[str, Any]) -> Iterator[Row]:
    for i, day in enumerate(points.time):
        numbers = {
            "estimate": _number(points.estimate[i]),
            "std_error": _number(points.std_error[i]),
            "ci_low": _number(points.low[i]),
            "ci_high": _number(points.high[i]),
        }
        n = int(points.at_risk[i])
        yield asked.row(estimand, at=f"{day:g}", n=n, **numbers, note=points.notes[i], **here)


def _quantiles(asked: Asked, curve: curves.Curve, group: Group, n: int) -> Iterator[Row]:
    found = curve.quantiles(QUANTILES)
    for p, time, low, high in zip(found.p, found.time, found.low, found.high, strict=True):
        value = _number(time) if time <= asked.horizon else None
        note = None if value is not None else "not_reached: fewer had the event by the horizon"
        ends = {"ci_low": _number(low), "ci_high": _number(high)} if value is not None else {}
        said = "Kaplan-Meier, Brookmeyer-Crowley interval"
        where: dict[str, Any] = {**group.place, "term": f"{p:g}", "n": n, "method": said}
        yield asked.row("survival_quantile", estimate=value, **ends, note=note, **where)


def _hazard(asked: Asked, found: Steps, group: Group) -> Iterator[Row]:
    """Events per customer and day, by day up to a horizon of `BINS`, else by week."""
    width = 1 if asked.horizon <= BINS else 7
    every = np.arange(1, asked.horizon + 1)
    begin = every[::width]
    at_risk = at_risk_on(group.life, every)
    before = np.append(0, np.cumsum(found.happened(1)))
    until = before[np.searchsorted(found.time, np.append(begin, asked.horizon + 1))]
    events, days = np.diff(until), np.add.reduceat(at_risk, begin - 1)
    few = (at_risk < asked.min_cell) | np.isin(every, list(group.hidden))
    few = np.logical_or.reduceat(few, begin - 1)
    low, high = wilson(events, days, asked.alpha)
    for i in np.flatnonzero(~few):
        first, last = int(begin[i]), min(int(begin[i]) + width - 1, asked.horizon)
        numbers = {
            "estimate": float(events[i] / days[i]),
            "ci_low": float(low[i]),
            "ci_high": float(high[i]),
            "n": int(at_risk[first - 1]),
        }
        at = f"{first}-{last}"
        yield asked.row("hazard", at=at, **numbers, method=WILSON, **group.place)


def _mean(asked: Asked, found: Steps, group: Group) -> Row:
    n, where = group.life.size, {"at": str(asked.tau), "method": AREA, **group.place}
    limit = rmst.largest_tau({"": found})
    if asked.tau > limit:
        return asked.row("rmst", n=n, note=_beyond(asked, limit), **where)
    return asked.row("rmst", n=n, **_numbers(rmst.rmst(found, asked.tau, asked.alpha)), **where)


def _against(asked: Asked, group: Group, reference: Group, one: Steps, two: Steps) -> Iterator[Row]:
    where: dict[str, Any] = {**group.place, "baseline": reference.name}
    where |= {"n": group.life.size, "n_baseline": reference.life.size}
    at = {"at": str(asked.tau), "method": AREA}
    limit = rmst.largest_tau({"one": one, "two": two})
    if asked.tau > limit:
        for estimand in ("rmst_difference", "rmst_ratio"):
            yield asked.row(estimand, note=_beyond(asked, limit), **at, **where)
    else:
        arm, base = (rmst.rmst(s, asked.tau, asked.alpha) for s in (one, two))
        gap = sound(rmst.difference(arm, base, asked.alpha), arm.std_error, base.std_error)
        over = sound(rmst.ratio(arm, base, asked.alpha), arm.std_error, base.std_error)
        yield asked.row("rmst_difference", **_numbers(gap), **at, **where)
        yield asked.row("rmst_ratio", **_numbers(over), **at, **where)
    hidden = group.hidden | reference.hidden
    days = [d for d in asked.milestones if d not in hidden and _enough(asked, d, one, two)]
    first, second = (kaplan_meier(s, alpha=asked.alpha) for s in (one, two))
    gaps = curves.difference_at(first, second, days, asked.alpha)
    u, v = (c.at(days).std_error for c in (first, second))
    for i, day in enumerate(days):
        numbers = _numbers(sound(gaps[i], u[i], v[i]))
        said = {"at": str(day), "method": "Kaplan-Meier, Greenwood"}
        yield asked.row("survival_difference", **numbers, **said, **where)
    if len(group.life.causes) > 1:
        for k, cause in enumerate(group.life.causes, 1):
            ours, theirs = (
                competing.cumulative_incidence(s, k, alpha=asked.alpha) for s in (one, two)
            )
            gaps = competing.difference_at(ours, theirs, days, asked.alpha)
            u, v = (c.at(days).std_error for c in (ours, theirs))
            for i, day in enumerate(days):
                numbers = _numbers(sound(gaps[i], u[i], v[i]))
                said = {"at": str(day), "method": "Aalen-Johansen", "term": asked.name(cause)}
                yield asked.row("incidence_difference", **numbers, **said, **where)


def sound(found: Estimate, one: float | None, two: float | None) -> Estimate:
    """A comparison without its error, where only one of the groups has one.

    A group in which nothing has happened has an error of 0 by every formula here: it is unknown,
    and the other's alone would make a handful of customers differ beyond doubt.
    """
    if found.std_error is None or bool(one) == bool(two):
        return found
    return Estimate(found.estimate, note=NOTHING_YET)


def _enough(asked: Asked, day: int, *groups: Steps) -> bool:
    return all(g.at_risk_at([day])[0] >= asked.min_cell for g in groups)


def _test(
    asked: Asked, estimand: str, found: GroupTest, place: dict[str, Any], term: str, method: str
) -> Row:
    said = f"{method}, {found.df} df"
    value = {"estimate": found.chi2, "p_value": found.p_value, "note": found.note}
    return asked.row(estimand, **value, term=term, method=said, **place)


def _beyond(asked: Asked, limit: float) -> str:
    return (
        f"tau_beyond_follow_up: nobody was seen for {asked.tau} days; "
        f"the largest tau that can be had is {limit:g}"
    )


def _numbers(e: Estimate) -> dict[str, Any]:
    return {
        "estimate": e.estimate,
        "std_error": e.std_error,
        "ci_low": e.low,
        "ci_high": e.high,
        "p_value": e.p_value,
        "note": e.note,
    }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
