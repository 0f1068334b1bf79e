"""The plan and the moments of a randomised incentive in; its ledger by arm out."""

from __future__ import annotations

from collections.abc import Iterator

from retention_lab.data.evidence import Evidence
from retention_lab.experiment.incentive import BOUGHT, REDEEMED, RETURNS, REVENUE
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms.contrasts import ADJUSTED, ArmContrast, by_arm
from retention_lab.incentives.arms.ledger import Line, ledger
from retention_lab.incentives.strategies.terms import terms_of
from retention_lab.results import Row

ROLES = (REVENUE, RETURNS, REDEEMED, BOUGHT)
METHOD = "normal quantiles, of ratios Fieller's interval"
AGAIN = ("incremental_profit", "margin_per_dollar", "roi")
ADJUSTED_TERM = "adjusted"


def rows(plan: Plan, evidence: Evidence) -> Iterator[Row]:
    """The lines of the ledger, for every arm against the control.

    A ledger counts what was spent, so its means are not adjusted; where the revenue has covariates,
    profit and margin per dollar come once more, adjusted (`term`). The effects themselves
    (intention to treat) are those of an A/B test; see `rl.analyse`.
    """
    said, offer = plan.spec.incentive, plan.offer
    if said is None or offer is None or said.margin is None or said.revenue is None:
        return
    assert evidence.moments is not None
    if said.revenue in plan.faults:
        for arm in plan.arms[1:]:
            yield Row(analysis="incentive", metric=said.revenue, estimand="incremental_profit",
                      arm=arm, baseline=plan.arms[0], note=plan.faults[said.revenue])  # fmt: skip
        return
    roles = tuple(r for r in ROLES if r in offer.money)
    columns = [offer.money[r] for r in roles]
    covariates = bool(plan.needed[said.revenue].covariates)
    for adjust in (False, True) if covariates else (False,):
        for found in by_arm(plan, evidence.moments, said.revenue, columns, adjust=adjust):
            why = found.hidden(plan)
            if why is not None:
                if not adjust:
                    yield Row(analysis="incentive", metric=said.revenue, arm=found.arm, note=why,
                              estimand="incremental_profit", baseline=plan.arms[0])  # fmt: skip
                continue
            for line in ledger(
                roles, found.contrast, terms_of(plan, found.arm), plan.spec.inference.alpha
            ):
                if not adjust or (line.estimand in AGAIN and found.method == ADJUSTED):
                    yield _row(plan, said.revenue, found, line, ADJUSTED_TERM if adjust else None)


def _row(plan: Plan, metric: str, found: ArmContrast, line: Line, term: str | None) -> Row:
    """One line of a ledger as a row of the result table."""
    return Row(
        analysis="incentive",
        metric=metric,
        estimand=line.estimand,
        arm=found.arm,
        baseline=plan.arms[0],
        term=term,
        estimate=line.estimate,
        std_error=line.std_error,
        ci_low=line.low,
        ci_high=line.high,
        p_value=line.p_value,
        n=found.contrast.arm.units,
        n_baseline=found.contrast.base.units,
        method=f"{found.method}; {METHOD}",
        note=line.note,
    )
