"""A plan and an arm in; what the file says that the arm earns and costs out."""

from __future__ import annotations

from retention_lab.experiment.incentive import price_of_control
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms.ledger import Terms


def terms_of(plan: Plan, arm: str) -> Terms:
    """The terms of an arm's ledger; the file has a margin."""
    said = plan.spec.incentive
    assert said is not None
    assert said.margin is not None
    own, theirs = said.redemption(arm), price_of_control(said, plan.arms[0], arm)
    return Terms(said.margin, said.cost.contact, own, said.min_roi, theirs)
