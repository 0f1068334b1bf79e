"""The plan and the moments of a randomised offer in; the effect on those who redeem it out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retention_lab.data.evidence import Evidence
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms.contrasts import ArmContrast, by_arm
from retention_lab.incentives.arms.fieller import critical
from retention_lab.incentives.arms.late import Late, full_uptake, late
from retention_lab.incentives.strategies import randomised
from retention_lab.results import Row

SETS = "two-stage least squares; interval and p-value by Anderson and Rubin"
BOUNDS = "bounds of Manski, interval of Imbens and Manski"


def rows(plan: Plan, evidence: Evidence) -> Iterator[Row]:
    """First stage, effect on redeemers and its bounds, by outcome and arm; then the ledger."""
    offer = plan.offer
    assert offer is not None
    assert evidence.moments is not None
    for metric in offer.outcomes:
        if metric in plan.faults:
            for arm in plan.arms[1:]:
                yield Row(analysis="incentive", metric=metric, estimand="late", arm=arm,
                          baseline=plan.arms[0], note=plan.faults[metric])  # fmt: skip
            continue
        columns = (plan.needed[metric].numerator.name, offer.redeemed[metric])
        for found in by_arm(plan, evidence.moments, metric, columns):
            why = found.hidden(plan)
            if why is not None:
                yield Row(analysis="incentive", metric=metric, estimand="late", arm=found.arm,
                          baseline=plan.arms[0], note=why)  # fmt: skip
                continue
            yield from _of_outcome(plan, metric, found)
            if _has_limits(plan, metric):
                # Of the arms as they are: what covariates explain is a part of what is bounded.
                for plain in by_arm(plan, evidence.moments, metric, columns, adjust=False):
                    if plain.arm == found.arm:
                        yield from _bounds(plan, metric, plain)
    yield from randomised.rows(plan, evidence)


def _of_outcome(plan: Plan, metric: str, found: ArmContrast) -> Iterator[Row]:
    alpha = plan.spec.inference.alpha
    one = late(found.contrast, alpha)
    same: dict[str, Any] = {
        "analysis": "incentive",
        "metric": metric,
        "arm": found.arm,
        "baseline": plan.arms[0],
        "n": found.contrast.arm.units,
        "n_baseline": found.contrast.base.units,
    }
    z = critical(alpha, found.contrast.df)
    error = one.first_stage_error
    yield Row(
        **same,
        estimand="first_stage",
        estimate=one.first_stage,
        std_error=error,
        ci_low=None if error is None else one.first_stage - z * error,
        ci_high=None if error is None else one.first_stage + z * error,
        method=found.method,
    )
    yield Row(**same, estimand="first_stage_f", estimate=one.strength, method=found.method)
    low, high = _ends(one)
    yield Row(
        **same,
        estimand="late",
        estimate=one.estimate,
        std_error=one.std_error,
        ci_low=low,
        ci_high=high,
        p_value=one.p_value,
        method=f"{SETS}; {found.method}",
        note=one.note,
    )


def _has_limits(plan: Plan, metric: str) -> bool:
    """Whether the outcome is 0 or 1."""
    column = plan.needed[metric].numerator
    return column.binary or column.how == "any"


def _bounds(plan: Plan, metric: str, found: ArmContrast) -> Iterator[Row]:
    """What the effect could be if everyone redeemed."""
    bounds = full_uptake(found.contrast, alpha=plan.spec.inference.alpha)
    if bounds is None:
        return
    ends: tuple[tuple[str, float, dict[str, Any]], ...] = (
        ("lower", bounds.low, {"ci_low": bounds.ci_low}),
        ("upper", bounds.high, {"ci_high": bounds.ci_high}),
    )
    for term, value, end in ends:
        yield Row(
            analysis="incentive",
            metric=metric,
            estimand="full_uptake_bound",
            arm=found.arm,
            baseline=plan.arms[0],
            term=term,
            estimate=value,
            n=found.contrast.arm.units,
            n_baseline=found.contrast.base.units,
            method=BOUNDS,
            **end,
        )


def _ends(one: Late) -> tuple[float | None, float | None]:
    """The ends of the confidence set, where it is an interval."""
    if one.region is None or one.region.shape != "interval":
        return None, None
    return one.region.low, one.region.high
