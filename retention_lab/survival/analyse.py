"""A plan with a survival section and its reductions in; the tidy rows and the model out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from retention_lab.data.activity import LATE
from retention_lab.data.cohorts import Cohorts
from retention_lab.data.lifetable import LifeTable
from retention_lab.data.repeats import Repeats
from retention_lab.errors import DataError
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.sections import EVENT
from retention_lab.experiment.spec import Spec, hours
from retention_lab.multiplicity import SIMULTANEOUS, holm, simultaneous_alpha
from retention_lab.results import Results, Row
from retention_lab.survival.curve_rows import Asked, compared, group_rows, group_tests
from retention_lab.survival.intervals import critical
from retention_lab.survival.model_rows import Fitted, fitted, model_rows, refused
from retention_lab.survival.return_rows import repeat_rows, retention_rows, revenue_rows
from retention_lab.survival.views import OTHER, Group, Small, among, pooled, small_levels, views

RATIOS = (
    "log_hazard_ratio",
    "discrete_log_hazard_ratio",
    "log_subdistribution_hazard_ratio",
)
LOGARITHMS = ("rmst_ratio",)  # whose interval is that of the logarithm
HOLM_FINDS_MORE = (
    "holm_finds_more: the test rejects after Holm's correction, the interval, which holds together "
    "with those of the other comparisons, does not exclude no difference"
)
POOLED = "pooled"
OTHER_ROWS = "rows_not_counted"  # by the file's own `where`: nothing that is missing


def asked_of(spec: Spec) -> Asked:
    """What the survival section of the file fixes beforehand."""
    survival = spec.survival
    assert survival is not None
    tau = hours(survival.tau) // 24 if survival.tau is not None else survival.days
    return Asked(
        event=survival.waits_for,
        causes=survival.kinds,
        horizon=survival.days,
        tau=tau,
        alpha=spec.inference.alpha,
        min_cell=spec.privacy.min_cell,
        start=0 if survival.own_day == EVENT else 1,
    )


def fit_model(plan: Plan, cohorts: Cohorts) -> Fitted | None:
    """Cox's model of the file's covariates, arms and promotions.

    None where there are none, or they cannot be used: `analyse_cohorts` then says why in a note.
    """
    try:
        return fitted(asked_of(plan.spec), plan, _pooled(plan, cohorts)[0])
    except DataError:
        return None


def analyse_cohorts(plan: Plan, cohorts: Cohorts, model: Fitted | None = None) -> Results:
    """Every estimate of when customers come back, from the reductions alone.

    Rows, in this order: what was left out; for everyone and every group its curve, hazard, mean
    time and causes; groups compared; tests over all groups; the model; further events; retention
    by age; revenue. Levels with few customers are pooled as one before anything is estimated. A
    number that cannot be had is None, with the reason in `note`. `model` is what `fit_model` gave,
    where it was fitted already.
    """
    spec = plan.spec
    assert spec.survival is not None
    asked = asked_of(spec)
    arm = spec.design.arm if spec.design is not None else None
    life, small = _pooled(plan, cohorts)
    seen = views(plan, life)
    rows = [*_left_out(asked, plan, cohorts), *group_rows(asked, Group(life))]
    if life.size < spec.privacy.min_cell:
        return Results.of(rows)
    for view in seen:
        for group in view.groups:
            rows += _named(group_rows(asked, group), small.get(view.key, frozenset()))
    strata = [k for k in spec.survival.by if k in life.keys]
    for view in seen:
        rows += compared(asked, view)
        strata_of = [s for s in strata if s != view.key] if arm else ()
        rows += group_tests(asked, view, among(life, view), strata_of)
    try:
        model = model or fitted(asked, plan, life)
    except DataError as error:
        rows.append(refused(asked, error))
    if model is not None:
        rows += model_rows(asked, plan, life, model)
    again = cohorts.repeats
    if again is not None and not (spec.survival.event_is == "loss" and _once(again)):
        rows += repeat_rows(asked, pooled(again, small), seen)
    if cohorts.activity is not None:
        active = pooled(cohorts.activity, small)
        rows += retention_rows(asked, active, seen, spec.survival.rolling)
    if cohorts.revenue is not None:
        rows += revenue_rows(asked, cohorts.revenue)
    return Results.of(_adjusted(spec, rows))


def _family(row: Row) -> tuple[str | None, ...] | None:
    """What a row's test is adjusted with; None where it is no test of a difference.

    Comparisons of one estimand and day among the groups of a key; ratios of one model among the
    levels of a covariate, or the groups of a key; tests over all groups among the keys.
    """
    if row.estimand in RATIOS and row.term is not None:
        return row.estimand, row.term.partition("=")[0]
    if row.estimand == "log_rate_ratio":
        return row.estimand, row.segment
    if row.estimand in ("log_rank", "gray"):
        return row.estimand, row.term
    if row.estimand == "equal_means":
        return (row.estimand,)
    return None if row.baseline is None else (row.estimand, row.segment, row.at, row.term)


def _pooled(plan: Plan, cohorts: Cohorts) -> tuple[LifeTable, Small]:
    """The life table with its small levels as one, and which these are."""
    spec = plan.spec
    arm = spec.design.arm if spec.design is not None else None
    small = small_levels(cohorts.life, spec.privacy.min_cell, keep=arm)
    return pooled(cohorts.life, small), small


def _once(repeats: Repeats) -> bool:
    """Whether no customer had the event twice.

    Of a loss (an account closed) there is no second one to wait for. The mean number is then the
    share that the curve shows, with another error: two numbers for one thing.
    """
    events = repeats.rows("event")[3].sum()
    _, first, second, pairs = repeats.rows("event event")
    return not (first < second).any() and bool(pairs.sum() == events)


def _named(rows: Iterable[Row], small: Collection[Any]) -> Iterator[Row]:
    """The rows of a group; where it is that of pooled levels, its size says which these are."""
    for r in rows:
        if r.estimand == "customers" and r.level == OTHER and small and r.note is None:
            names = sorted("(missing)" if v is None else str(v) for v in small)
            note = f"{POOLED}: {len(names)} groups count as one: {'; '.join(names)}"
            r = dataclasses.replace(r, note=note)
        yield r


def _left_out(asked: Asked, plan: Plan, cohorts: Cohorts) -> Iterator[Row]:
    for code, count in (plan.cohort.tables if plan.cohort is not None else {}).items():
        yield asked.row("left_out", term=code, estimate=float(count), n=count)
    for code, count in cohorts.life.notes.items():
        if code.startswith(OTHER_ROWS):
            continue
        yield asked.row("left_out", term=code, estimate=float(count), n=count)
    late = cohorts.activity.rows(LATE)[3].sum() if cohorts.activity is not None else 0
    if late:
        # They count in curves, but in no triangle: see `Triangle.left_out`.
        yield asked.row("left_out", term=LATE, estimate=float(late), n=int(late))


def _adjusted(spec: Spec, rows: list[Row]) -> list[Row]:
    """Fill `p_adjusted` by Holm within each family of tests, whose intervals hold together."""
    if spec.inference.correction == "none":
        return rows
    families: dict[tuple[str | None, ...], list[int]] = {}
    for i, r in enumerate(rows):
        if (family := _family(r)) is not None:
            families.setdefault(family, []).append(i)
    out = list(rows)
    for members in families.values():
        own = [rows[i] for i in members]
        adjusted = holm([r.p_value for r in own])
        for i, r, p in zip(members, together(own, spec.inference.alpha), adjusted, strict=True):
            missed = p is not None and p < spec.inference.alpha and _covers_none(r)
            more = HOLM_FINDS_MORE if missed and r.note is None else r.note
            out[i] = dataclasses.replace(r, p_adjusted=p, note=more)
    return out


def together(rows: Sequence[Row], alpha: float) -> list[Row]:
    """The rows of one family with intervals that all cover together with 1 - alpha or more.

    Each is at `simultaneous_alpha` for as many comparisons as have a p-value. Intervals are those
    of Wald, of the estimate itself or (`LOGARITHMS`) of its logarithm, and are stretched there. A
    row without an interval, and a family of one, stay as they are.
    The interval with the least p-value excludes no difference exactly where Holm rejects it, and
    one that excludes it belongs to a rejected test. Holm may reject more: no intervals with two
    ends can both cover together and agree with it in all. (With one effect beyond doubt, the last
    test is at alpha itself: its interval misses as often as all of them may, so that the other one
    could never miss.)
    """
    m = sum(r.p_value is not None for r in rows)
    if m < 2:
        return list(rows)
    stretch = critical(simultaneous_alpha(alpha, m)) / critical(alpha)
    return [_stretched(r, stretch, m) for r in rows]


def _stretched(row: Row, by: float, of: int) -> Row:
    if row.estimate is None or row.ci_low is None or row.ci_high is None or row.p_value is None:
        return row
    if SIMULTANEOUS in (row.method or ""):  # of a profile: at its alpha already
        return row
    if row.estimand in LOGARITHMS:
        low, high = (row.estimate * (end / row.estimate) ** by for end in (row.ci_low, row.ci_high))
    else:
        low, high = (row.estimate + (end - row.estimate) * by for end in (row.ci_low, row.ci_high))
    method = f"{row.method}; {SIMULTANEOUS}, {of} comparisons"
    return dataclasses.replace(row, ci_low=low, ci_high=high, method=method)


def _covers_none(row: Row) -> bool:
    """Whether the interval holds the value of no difference."""
    if row.ci_low is None or row.ci_high is None:
        return False
    return row.ci_low <= (1.0 if row.estimand in LOGARITHMS else 0.0) <= row.ci_high
