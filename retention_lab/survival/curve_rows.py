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
from retention_lab.survival.views import (
    Group,
    Span,
    View,
    at_risk_on,
    followed_on,
    span,
)

MILESTONES = (30, 60, 90, 180, 365)
QUANTILES = (0.25, 0.5, 0.75)
BINS = 60  # hazards are by day where the horizon is no longer than this many, else by week
WEEKS = (0, 7, 14, 21)  # begin in each 30 days; the fourth has nine, to end on day 30, 60, 90 ...

KM = "Kaplan-Meier, log-log interval"
AREA = "area under Kaplan-Meier"
WILSON = "events per customer at risk and day, Wilson interval"
NOTHING_YET = "no_event_yet: in one of the groups nothing has happened, so there is no error"
NOBODY_YET = "no_event_so_far: the interval is that of a count of none"
NOBODY_LIMIT = "; of a count of none Clopper-Pearson's"
COVERED = "covered: hidden so that a small group beside it cannot be worked out"
INCIDENCE = "Aalen-Johansen, log-log interval"
CENSORED = ", competing events censored"
NOT_SEEN = "not_seen_from_origin: customers were followed from day {day} on only"


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What the file fixes beforehand: the event's name, days, alpha and the least group shown.

    `start` is the first day on which the event can happen: 0 where one on the origin's own day
    counts.
    """

    event: str
    causes: tuple[str, ...]
    horizon: int
    tau: int
    alpha: float
    min_cell: int
    start: int = 1

    @property
    def milestones(self) -> tuple[int, ...]:
        """The milestones within the horizon."""
        return tuple(d for d in MILESTONES if d <= self.horizon)

    @property
    def days(self) -> tuple[int, ...]:
        """Days at which groups are compared: the milestones and `tau`."""
        return tuple(sorted({*self.milestones, self.tau}))

    @property
    def competes(self) -> bool:
        """Whether something else may come first, so that shares are cumulative incidences."""
        return len(self.causes) > 1

    @property
    def suppressed(self) -> str:
        return f"suppressed: fewer than {self.min_cell} customers"

    def ended(self, days: Span) -> str:
        """Why a curve is not told beyond `days`."""
        if days.covered:
            return COVERED
        return f"few_left: fewer than {self.min_cell} customers are followed for so long"

    def km(self, method: str) -> str:
        """`method`, with what Kaplan and Meier's curve makes of competing events."""
        return method + CENSORED if self.competes else method

    def name(self, cause: str) -> str:
        """The name of a cause as the file has it."""
        return self.event if cause == EVENT else cause

    def row(self, estimand: str, **more: Any) -> Row:
        return Row(analysis="survival", metric=self.event, estimand=estimand, **more)


def group_rows(asked: Asked, group: Group) -> Iterator[Row]:
    """All that is said of one group: its size, curve, quantiles, hazard, mean and causes."""
    n = group.life.size
    if n < asked.min_cell:
        note = asked.suppressed
        if not n and group.arm is not None:
            note = "absent: no customer of this arm was followed"
        yield asked.row("customers", **group.place, note=note)
        return
    yield asked.row("customers", **group.place, estimate=float(n), n=n)
    found, days = steps(group.life), span_of(asked, group)
    if days.late:
        yield from _late(asked, group, days, n)
        yield from _hazard(asked, found, group)
        return
    curve = kaplan_meier(found, alpha=asked.alpha)
    here = {**group.place, "method": asked.km(KM)}
    told = _days(asked, group, found, 1, days)
    yield from _points(asked, "survival", curve.at(told), here)
    yield from _quantiles(asked, _up_to(found, days.last), days, group, n)
    yield from _hazard(asked, found, group)
    yield _mean(asked, found, days, group)
    if len(group.life.causes) > 1:
        for k, cause in enumerate(group.life.causes, 1):
            share = competing.cumulative_incidence(found, k, alpha=asked.alpha)
            here = {**group.place, "method": INCIDENCE, "term": asked.name(cause)}
            points = share.at(_days(asked, group, found, k, days))
            yield from _points(asked, "cumulative_incidence", points, here)


def span_of(asked: Asked, group: Group) -> Span:
    """The days of a group's curve."""
    days = np.arange(asked.start, asked.horizon + 2)
    followed = followed_on(group.life, days)
    at_risk = at_risk_on(group.life, days)
    return span(at_risk, asked.start, asked.min_cell, group.hidden, followed)


def _late(asked: Asked, group: Group, days: Span, n: int) -> Iterator[Row]:
    """What cannot be told of a group that was not followed from the origin, with the reason."""
    where: dict[str, Any] = {**group.place, "n": n, "note": NOT_SEEN.format(day=days.first)}
    yield asked.row("survival", method=asked.km(KM), **where)
    for p in QUANTILES:
        yield asked.row("survival_quantile", term=f"{p:g}", method=_quantile_method(asked), **where)
    yield asked.row("rmst", at=str(asked.tau), method=asked.km(AREA), **where)
    if asked.competes:
        for cause in group.life.causes:
            said = {"term": asked.name(cause), "method": INCIDENCE}
            yield asked.row("cumulative_incidence", **said, **where)


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


def _days(asked: Asked, group: Group, found: Steps, cause: int, seen: Span) -> np.ndarray[Any, Any]:
    """The days of a curve: those with an event, and those compared, while enough are at risk."""
    own = found.time[found.happened(cause) > 0]
    days = np.union1d(own, np.array(asked.days, np.float64))
    days = days[(days <= min(asked.horizon, seen.last))]
    days = days[followed_on(group.life, days.astype(np.int64)) >= asked.min_cell]
    return days[[int(d) not in group.hidden for d in days]]


def _up_to(found: Steps, last: float) -> Steps:
    """The steps up to day `last`: of what comes later nothing can follow from them."""
    kept = found.time <= last
    return Steps(found.time[kept], found.at_risk[kept], found.events[kept], found.censored[kept])


def _points(asked: Asked, estimand: str, points: Points, here: dict[str, Any]) -> Iterator[Row]:
    none = 1.0 if estimand == "survival" else 0.0  # what it is where nothing has happened
    for i, day in enumerate(points.time):
        numbers = {
            "estimate": _number(points.estimate[i]),
            "std_error": _number(points.std_error[i]),
            "ci_low": _number(points.low[i]),
            "ci_high": _number(points.high[i]),
        }
        at_risk, note, said = int(points.at_risk[i]), points.notes[i], here
        n = at_risk if at_risk >= asked.min_cell else None
        if points.estimate[i] == none and at_risk:
            numbers |= _nobody_yet(at_risk, none, asked.alpha)
            note, said = NOBODY_YET, {**here, "method": f"{here['method']}{NOBODY_LIMIT}"}
        yield asked.row(estimand, at=f"{day:g}", n=n, **numbers, note=note, **said)


def _nobody_yet(n: int, none: float, alpha: float) -> dict[str, float | None]:
    """The interval where none of the `n` who were followed for so long has had the event.

    Greenwood's error is 0 there, which is no interval. That of a count of 0 in n is: with the share
    1 - (alpha / 2) ^ (1 / n) a count of 0 has the chance alpha / 2. Source: Clopper and Pearson
    (1934), Biometrika 26(4), 404-413.
    """
    limit = 1.0 - (alpha / 2.0) ** (1.0 / n)
    low, high = (1.0 - limit, 1.0) if none else (0.0, limit)
    return {"std_error": None, "ci_low": low, "ci_high": high}


def _quantiles(asked: Asked, found: Steps, days: Span, group: Group, n: int) -> Iterator[Row]:
    """Days until a share has had the event, of the steps `found` that may be shown."""
    curve = kaplan_meier(found, alpha=asked.alpha)
    if asked.competes:
        share = competing.cumulative_incidence(found, 1, alpha=asked.alpha)
        ends = (1.0 - share.high, 1.0 - share.low)
        parts = (1.0 - share.incidence, share.std_error, *ends)
        curve = curves.Curve(found, *parts, share.kind, asked.alpha)
    at = curve.quantiles(QUANTILES)
    short = days.last < asked.horizon
    none = asked.ended(days) if short else "not_reached: fewer had the event by the horizon"
    for p, time, low, high in zip(at.p, at.time, at.low, at.high, strict=True):
        where: dict[str, Any] = {**group.place, "n": n, "method": _quantile_method(asked)}
        where["term"] = f"{p:g}"
        value = _number(time) if time <= asked.horizon else None
        if value is None:
            yield asked.row("survival_quantile", note=none, **where)
            continue
        limits = {"ci_low": _number(low), "ci_high": _number(high)}
        yield asked.row("survival_quantile", estimate=value, **limits, **where)


def _quantile_method(asked: Asked) -> str:
    if asked.competes:
        return "Aalen-Johansen, day by which the share had the event first, interval by inversion"
    return "Kaplan-Meier, Brookmeyer-Crowley interval"


def _hazard(asked: Asked, found: Steps, group: Group) -> Iterator[Row]:
    """Events per customer and day, by day up to a horizon of `BINS`, else by week."""
    every = np.arange(asked.start, asked.horizon + 1)
    weeks = every[(every == asked.start) | np.isin((every - 1) % 30, WEEKS) & (every > 1)]
    begin = every if asked.horizon <= BINS else weeks
    if len(begin) > 1 and asked.horizon > BINS and asked.horizon - begin[-1] < 3:
        begin = begin[:-1]  # a rest of a few days belongs to the span before it
    end = np.append(begin[1:] - 1, asked.horizon)
    at_risk = at_risk_on(group.life, every)
    before = np.append(0, np.cumsum(found.happened(1)))
    until = before[np.searchsorted(found.time, np.append(begin, asked.horizon + 1))]
    events, days = np.diff(until), np.add.reduceat(at_risk, begin - asked.start)
    few = (at_risk < asked.min_cell) | np.isin(every, list(group.waiting))
    few = np.logical_or.reduceat(few, begin - asked.start)
    low, high = wilson(events, days, asked.alpha)
    for i in np.flatnonzero(~few):
        first, last = int(begin[i]), int(end[i])
        numbers = {
            "estimate": float(events[i] / days[i]),
            "ci_low": float(low[i]),
            "ci_high": float(high[i]),
            "n": int(at_risk[first - asked.start]),
        }
        at = f"{first}-{last}"
        yield asked.row("hazard", at=at, **numbers, method=WILSON, **group.place)


def _mean(asked: Asked, found: Steps, days: Span, group: Group) -> Row:
    n, where = group.life.size, {"at": str(asked.tau), "method": asked.km(AREA), **group.place}
    none = _no_mean(asked, rmst.largest_tau({"": found}), days)
    if none is not None:
        return asked.row("rmst", n=n, note=none, **where)
    return asked.row("rmst", n=n, **_numbers(rmst.rmst(found, asked.tau, asked.alpha)), **where)


def _against(asked: Asked, group: Group, reference: Group, one: Steps, two: Steps) -> Iterator[Row]:
    """A group against its reference; where events compete, the event's incidence by tau first."""
    where: dict[str, Any] = {**group.place, "baseline": reference.name}
    where |= {"n": group.life.size, "n_baseline": reference.life.size}
    spans = [span_of(asked, g) for g in (group, reference)]
    if any(s.late for s in spans):
        yield from _late_against(asked, group.life.causes, spans, where)
        return
    hidden, last = group.hidden | reference.hidden, min(s.last for s in spans)
    seen = [d for d in asked.days if d not in hidden and d <= last]
    days = [d for d in seen if _enough(asked, d, group, reference)]
    if asked.competes:
        yield from _incidences(asked, group.life.causes, days, (one, two), where)
    at = {"at": str(asked.tau), "method": asked.km(AREA)}
    shorter = min(spans, key=lambda s: s.last)
    none = _no_mean(asked, rmst.largest_tau({"one": one, "two": two}), shorter)
    if none is not None:
        for estimand in ("rmst_difference", "rmst_ratio"):
            yield asked.row(estimand, note=none, **at, **where)
    else:
        arm, base = (rmst.rmst(s, asked.tau, asked.alpha) for s in (one, two))
        gap = sound(rmst.difference(arm, base, asked.alpha), arm.std_error, base.std_error)
        over = sound(rmst.ratio(arm, base, asked.alpha), arm.std_error, base.std_error)
        yield asked.row("rmst_difference", **_numbers(gap), **at, **where)
        yield asked.row("rmst_ratio", **_numbers(over), **at, **where)
    first, second = (kaplan_meier(s, alpha=asked.alpha) for s in (one, two))
    gaps = curves.difference_at(first, second, days, asked.alpha)
    u, v = (c.at(days).std_error for c in (first, second))
    for i, day in enumerate(days):
        numbers = _numbers(sound(gaps[i], u[i], v[i]))
        said = {"at": str(day), "method": asked.km("Kaplan-Meier, Greenwood")}
        yield asked.row("survival_difference", **numbers, **said, **where)


def _incidences(
    asked: Asked,
    causes: Sequence[str],
    days: Sequence[int],
    both: tuple[Steps, Steps],
    where: dict[str, Any],
) -> Iterator[Row]:
    """Differences in the share for whom each cause came first; day tau before the others."""
    order = sorted(days, key=lambda d: (d != asked.tau, d))
    for k, cause in enumerate(causes, 1):
        ours, theirs = (competing.cumulative_incidence(s, k, alpha=asked.alpha) for s in both)
        gaps = competing.difference_at(ours, theirs, order, asked.alpha)
        u, v = (c.at(order).std_error for c in (ours, theirs))
        for i, day in enumerate(order):
            numbers = _numbers(sound(gaps[i], u[i], v[i]))
            said = {"at": str(day), "method": "Aalen-Johansen", "term": asked.name(cause)}
            yield asked.row("incidence_difference", **numbers, **said, **where)


def _late_against(
    asked: Asked, causes: Sequence[str], spans: Sequence[Span], where: dict[str, Any]
) -> Iterator[Row]:
    """The comparisons that cannot be had where a group was not followed from the origin."""
    here = {**where, "note": NOT_SEEN.format(day=max(s.first for s in spans if s.late))}
    for estimand in ("rmst_difference", "rmst_ratio"):
        yield asked.row(estimand, at=str(asked.tau), method=asked.km(AREA), **here)
    for day in asked.days:
        said = {"at": str(day), "method": asked.km("Kaplan-Meier, Greenwood")}
        yield asked.row("survival_difference", **said, **here)
        for cause in causes if asked.competes else ():
            said = {"at": str(day), "method": "Aalen-Johansen", "term": asked.name(cause)}
            yield asked.row("incidence_difference", **said, **here)


def sound(found: Estimate, one: float | None, two: float | None) -> Estimate:
    """A comparison without its error, where only one of the groups has one.

    A group in which nothing has happened has an error of 0 by every formula here: it is unknown,
    and the other's alone would make a handful of customers differ beyond doubt.
    """
    if found.std_error is None or bool(one) == bool(two):
        return found
    return Estimate(found.estimate, note=NOTHING_YET)


def _enough(asked: Asked, day: int, *groups: Group) -> bool:
    return all(followed_on(g.life, np.array([day]))[0] >= asked.min_cell for g in groups)


def _test(
    asked: Asked, estimand: str, found: GroupTest, place: dict[str, Any], term: str, method: str
) -> Row:
    said = f"{method}, {found.df} df"
    value = {"estimate": found.chi2, "p_value": found.p_value, "note": found.note}
    return asked.row(estimand, **value, term=term, method=said, **place)


def _no_mean(asked: Asked, limit: float, days: Span) -> str | None:
    """Why there is no mean up to tau, where follow-up ends at `limit` and is shown for `days`."""
    if asked.tau > limit:
        return (
            f"tau_beyond_follow_up: nobody was seen for {asked.tau} days; "
            f"the largest tau that can be had is {min(limit, days.last):g}"
        )
    return asked.ended(days) if asked.tau > days.last else None


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
