"""A cohort study's plan and rows in; what it found, in the form of a verdict, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from retention_lab.experiment.plan import Plan
from retention_lab.experiment.sections import COHORT
from retention_lab.results import Reason, Results, Row, Verdict
from retention_lab.survival.analyse import asked_of
from retention_lab.survival.curve_rows import NOT_SEEN, Asked
from retention_lab.survival.views import OTHER

LAST = 90  # days: the last milestone up to here is told, where the file fixes no day
EARLY = 30  # days: most of those who come back at all do so by then


def describe(plan: Plan, results: Results) -> Verdict:
    """What a cohort study says; it compares customers that nobody randomised, so it ships nothing.

    The verdict is `keep_running`, the result table's word for "nothing is decided", or `invalid`
    where there is nothing to describe: too few customers, or none that came back.
    """
    asked = asked_of(plan.spec)
    size = results.where(estimand="customers", segment=None, arm=None).rows
    if not size or size[0].n is None:
        return Verdict("invalid", None, (Reason("no_customers", {"least": asked.min_cell}),))
    whole = _shares(results, asked)
    if any((r.note or "").startswith(NOT_SEEN.partition(":")[0]) for r in whole):
        return Verdict("invalid", None, (Reason("no_customers", {"least": asked.min_cell}),))
    by_day = {int(r.at): r for r in whole if r.estimate is not None and r.at is not None}
    if not any(r.estimate for r in by_day.values()):
        return Verdict("invalid", None, (Reason("no_events", {"event": asked.event}),))
    days = [d for d in asked.days if d in by_day]
    last = _told(plan, asked)
    day = max((d for d in days if d <= last), default=max(by_day))
    row = by_day[day]
    said = {"day": day, "share": row.estimate, "ci_low": row.ci_low, "ci_high": row.ci_high}
    reasons = [Reason("cohorts_described", {**said, "n": size[0].n, "event": asked.event})]
    reasons += _groups(results, asked, day)
    reasons += _early(by_day, [d for d in asked.milestones if d in by_day], asked.event)
    return Verdict("keep_running", None, tuple(reasons))


def _told(plan: Plan, asked: Asked) -> int:
    """The day by which shares are told: `survival.tau` where the file fixes it, else `LAST`."""
    survival = plan.spec.survival
    return asked.tau if survival is not None and survival.tau is not None else LAST


def _shares(results: Results, asked: Asked) -> list[Row]:
    """Everyone's rows, as shares that had the event: for whom it came first, where events compete.

    One less Kaplan and Meier's curve would be the share in a world without the other events.
    """
    place = {"segment": None, "arm": None}
    if asked.competes:
        return list(results.where(estimand="cumulative_incidence", term=asked.event, **place).rows)
    return [_turned(r, 1.0) for r in results.where(estimand="survival", **place).rows]


def _gaps(results: Results, asked: Asked) -> list[Row]:
    """Comparisons of groups, as differences in shares that had the event."""
    if asked.competes:
        return list(results.where(estimand="incidence_difference", term=asked.event).rows)
    return [_turned(r, 0.0) for r in results.where(estimand="survival_difference").rows]


def _turned(row: Row, whole: float) -> Row:
    """The same row of those who had the event: `whole` less each number."""
    turned = [None if x is None else whole - x for x in (row.estimate, row.ci_high, row.ci_low)]
    return dataclasses.replace(row, estimate=turned[0], ci_low=turned[1], ci_high=turned[2])


def _groups(results: Results, asked: Asked, last: int) -> Iterator[Reason]:
    """The clearest difference between each key's groups, in shares that came.

    By day `last`, or the latest day before it that groups of the key were followed for.
    """
    rows = _gaps(results, asked)
    for key in dict.fromkeys(r.segment for r in rows if r.segment not in (None, COHORT)):
        own = [r for r in rows if r.segment == key and _p(r) is not None]
        own = [r for r in own if OTHER not in (r.level, r.baseline)] or own
        day = max((d for d in (int(r.at or 0) for r in own) if d <= last), default=None)
        if day is None:
            continue
        known = [r for r in own if r.at == str(day)]
        row = min(known, key=lambda r: (_p(r), r.p_value, r.level))
        numbers = {
            "segment": key,
            "level": row.level,
            "baseline": row.baseline,
            "day": day,
            "difference": row.estimate,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "p": _p(row),
            "event": asked.event,
        }
        differs = (_p(row) or 0.0) < asked.alpha
        yield Reason("groups_differ" if differs else "groups_alike", numbers)


def _p(row: Row) -> float | None:
    """The p-value that counts: adjusted, unless the file asks for no correction."""
    return row.p_adjusted if row.p_adjusted is not None else row.p_value


def _early(by_day: dict[int, Row], days: list[int], event: str) -> Iterator[Reason]:
    """How many of those who came back by the last milestone had done so within `EARLY` days."""
    last = max(days, default=0)
    if EARLY not in by_day or last <= EARLY:
        return
    early, late = (by_day[d].estimate or 0.0 for d in (EARLY, last))
    if late > 0.0:
        numbers = {"day": EARLY, "last": last, "share": early / late, "event": event}
        yield Reason("most_leave_early", numbers)
