"""A plan and its evidence in; the tidy rows of an incentive's effects and costs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

from retention_lab.data.evidence import Evidence
from retention_lab.errors import PlanError
from retention_lab.experiment.plan import Plan
from retention_lab.multiplicity import holm
from retention_lab.results import Results, Row

Strategy = Callable[[Plan, Evidence], Iterator[Row]]

# A new strategy is a file of strategies/ and an entry here.
STRATEGIES: Mapping[str, str] = {
    name: f"retention_lab.incentives.strategies.{name}"
    for name in ("randomised", "encouragement", "observational", "rollout", "threshold", "dose")
}
# What counts as the effect of a strategy: one family of tests a file.
EFFECTS = ("late", "average_effect", "threshold_effect")


def analyse_incentive(plan: Plan, evidence: Evidence) -> Results:
    """Effects and ledger of the plan's incentive, by its strategy.

    Rows of analysis ``incentive``; a number that cannot be had is None, with the reason in `note`.
    Raises PlanError where the file has no incentive section.
    """
    said = plan.spec.incentive
    if said is None:
        raise PlanError("the file has no incentive section")
    strategy: Strategy = import_module(STRATEGIES[said.strategy]).rows
    rows = list(strategy(plan, evidence))
    if evidence.weeks is not None:
        from retention_lab.incentives.pullforward import pull_forward_rows

        rows += pull_forward_rows(plan, evidence.weeks)
    return Results.of(_adjusted(plan, rows))


def _adjusted(plan: Plan, rows: list[Row]) -> list[Row]:
    """With `p_adjusted` (Holm) over the arms and primary metrics of the effects."""
    if plan.spec.inference.correction == "none":
        return rows
    family = [
        i
        for i, r in enumerate(rows)
        if r.estimand in EFFECTS and r.term is None and r.p_value is not None
        and r.metric in plan.spec.primary
    ]  # fmt: skip
    out = list(rows)
    for i, p in zip(family, holm([rows[i].p_value for i in family]), strict=True):
        out[i] = dataclasses.replace(rows[i], p_adjusted=p)
    return out
