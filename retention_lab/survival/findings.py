"""A cohort study's plan and rows in; what it found, in the form of a verdict, out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retention_lab.experiment.plan import Plan
from retention_lab.experiment.sections import COHORT
from retention_lab.results import Reason, Results, Row, Verdict
from retention_lab.survival.analyse import asked_of

EARLY = 30  # days: most of those who come back at all do so by then


def describe(plan: Plan, results: Results) -> Verdict:
    """What a cohort study says; it compares customers that nobody randomised, so it ships nothing.

    The verdict is `keep_running`, the result table's word for "nothing is decided", or `invalid`
    where there is nothing to describe: too few customers, or none that came back.
    """
    asked = asked_of(plan.spec)
    whole = results.where(estimand="survival", segment=None, arm=None).rows
    size = results.where(estimand="customers", segment=None, arm=None).rows
    if not size or size[0].n is None:
        return Verdict("invalid", None, (Reason("no_customers", {"least": asked.min_cell}),))
    known = [r for r in whole if r.estimate is not None and r.at is not None]
    if not known or min(r.estimate or 0.0 for r in known) == 1.0:
        return Verdict("invalid", None, (Reason("no_events", {"event": asked.event}),))
    by_day = {int(r.at or 0): r for r in known}
    days = [d for d in asked.milestones if d in by_day]
    day = max((d for d in days if d <= 90), default=max(by_day))
    row = by_day[day]
    reasons = [Reason("cohorts_described", {**_share(row), "n": size[0].n, "event": asked.event})]
    reasons += _groups(results, asked.event, day, asked.alpha)
    reasons += _early(by_day, days, asked.event)
    return Verdict("keep_running", None, tuple(reasons))


def _share(row: Row) -> dict[str, Any]:
    """The share that has had the event by the day of a survival row."""
    assert row.estimate is not None
    low = 1.0 - row.ci_high if row.ci_high is not None else None
    high = 1.0 - row.ci_low if row.ci_low is not None else None
    day = int(row.at or 0)
    return {"day": day, "share": 1.0 - row.estimate, "ci_low": low, "ci_high": high}


def _groups(results: Results, event: str, last: int, alpha: float) -> Iterator[Reason]:
    """The clearest difference between each key's groups, in shares that came.

    By day `last`, or the latest milestone before it that groups of the key were followed for.
    """
    rows = results.where(estimand="survival_difference").rows
    for key in dict.fromkeys(r.segment for r in rows if r.segment not in (None, COHORT)):
        own = [r for r in rows if r.segment == key and _p(r) is not None]
        day = max((d for d in (int(r.at or 0) for r in own) if d <= last), default=None)
        if day is None:
            continue
        known = [r for r in own if r.at == str(day)]
        row = min(known, key=lambda r: (_p(r), r.level))
        low, high = (-x if x is not None else None for x in (row.ci_high, row.ci_low))
        numbers = {
            "segment": key,
            "level": row.level,
            "baseline": row.baseline,
            "day": day,
            "difference": -(row.estimate or 0.0),
            "ci_low": low,
            "ci_high": high,
            "p": _p(row),
            "event": event,
        }
        differs = (_p(row) or 0.0) < alpha
        yield Reason("groups_differ" if differs else "groups_alike", numbers)


def _p(row: Row) -> float | None:
    """The p-value that counts: adjusted, unless the file asks for no correction."""
    return row.p_adjusted if row.p_adjusted is not None else row.p_value


def _early(by_day: dict[int, Row], days: list[int], event: str) -> Iterator[Reason]:
    """How many of those who came back by the last milestone had done so within `EARLY` days."""
    last = max(days, default=0)
    if EARLY not in by_day or last <= EARLY:
        return
    early, late = (1.0 - (by_day[d].estimate or 0.0) for d in (EARLY, last))
    if late > 0.0:
        numbers = {"day": EARLY, "last": last, "share": early / late, "event": event}
        yield Reason("most_leave_early", numbers)
