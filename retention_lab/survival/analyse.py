"""A plan with a survival section and its reductions in; the tidy rows and the model out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from retention_lab.data.cohorts import Cohorts
from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.spec import Spec, hours
from retention_lab.multiplicity import holm
from retention_lab.results import Results, Row
from retention_lab.survival.curve_rows import Asked, compared, group_rows, group_tests
from retention_lab.survival.model_rows import Fitted, fitted, model_rows, refused
from retention_lab.survival.return_rows import repeat_rows, retention_rows, revenue_rows
from retention_lab.survival.views import Group, Small, pooled, small_levels, views

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
    rows = [*_left_out(asked, cohorts), *group_rows(asked, Group(life))]
    if life.size < spec.privacy.min_cell:
        return Results.of(rows)
    for view in seen:
        for group in view.groups:
            rows += group_rows(asked, group)
    strata = [k for k in spec.survival.by if k in life.keys]
    for view in seen:
        rows += compared(asked, view)
        rows += group_tests(asked, view, life, [s for s in strata if s != view.key] if arm else ())
    try:
        model = model or fitted(asked, plan, life)
    except DataError as error:
        rows.append(refused(asked, error))
    if model is not None:
        rows += model_rows(asked, plan, life, model)
    if cohorts.repeats is not None:
        rows += repeat_rows(asked, pooled(cohorts.repeats, small), seen)
    if cohorts.activity is not None:
        active = pooled(cohorts.activity, small)
        rows += retention_rows(asked, active, seen, spec.survival.rolling)
    if cohorts.revenue is not None:
        rows += revenue_rows(asked, cohorts.revenue)
    return Results.of(_adjusted(spec, rows))


def _pooled(plan: Plan, cohorts: Cohorts) -> tuple[LifeTable, Small]:
    """The life table with its small levels as one, and which these are."""
    spec = plan.spec
    arm = spec.design.arm if spec.design is not None else None
    small = small_levels(cohorts.life, spec.privacy.min_cell, keep=arm)
    return pooled(cohorts.life, small), small


def _left_out(asked: Asked, cohorts: Cohorts) -> Iterator[Row]:
    for code, count in cohorts.life.notes.items():
        if code.startswith(OTHER_ROWS):
            continue
        yield asked.row("left_out", term=code, estimate=float(count), n=count)


def _adjusted(spec: Spec, rows: list[Row]) -> list[Row]:
    """Fill `p_adjusted` by Holm: comparisons of one estimand and day among the groups of a key."""
    if spec.inference.correction == "none":
        return rows
    families: dict[tuple[str | None, ...], list[int]] = {}
    for i, r in enumerate(rows):
        if r.baseline is not None:
            families.setdefault((r.estimand, r.segment, r.at, r.term), []).append(i)
    out = list(rows)
    for members in families.values():
        for i, p in zip(members, holm([rows[i].p_value for i in members]), strict=True):
            out[i] = dataclasses.replace(rows[i], p_adjusted=p)
    return out
