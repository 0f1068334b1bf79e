"""A scenario in; what its incentive truly does to redeemers, by dose and by week, out.

All follows in closed form from the numbers of truth.py: the share of redeemers that an arm makes
is known, customers who redeem in every arm are the same in every arm, and counts add up over weeks.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from retention_lab.twin.model import WINDOW, interpolate, solve
from retention_lab.twin.scenario import Scenario
from retention_lab.twin.truth import truth_of

WEEKS = 12


def incentive_of(scenario: Scenario) -> dict[str, Any]:
    """The parts of ``truth.json`` that say so; only those that the scenario has."""
    found: dict[str, Any] = {}
    if scenario.redeems:
        found["late"] = late_of(scenario)
    if scenario.response is not None:
        found["dose"] = dose_of(scenario)
    if any(a.forward for a in scenario.arms):
        found["weekly_orders"] = weekly_of(scenario)
    return found


def late_of(scenario: Scenario, within: int = WINDOW) -> dict[str, dict[str, float]]:
    """By arm and metric, the effect of redeeming on those whom the arm makes redeem."""
    truth, found = truth_of(scenario, within), {}
    for arm in scenario.arms:
        if arm.uptake is not None:
            found[arm.name] = {
                m: truth.difference(m, arm.name) / arm.uptake
                for m in truth.metrics
                if m.startswith(("repurchase", "orders", "revenue"))
            }
    return found


def profit_of(
    scenario: Scenario, arm: str, within: int = WINDOW, contact: float = 0.0
) -> dict[str, float]:
    """The ledger of an arm against the first, a customer: revenue, margin, cost and profit.

    Costs are coupons used on orders, credit that was redeemed, and `contact` USD a customer.
    """
    truth, one = truth_of(scenario, within), scenario.arm(arm)
    revenue = truth.difference(f"revenue_{within}d", arm)
    paid = one.coupon * truth.difference(f"coupons_{within}d", arm)
    cost = contact + paid + one.credit * (one.uptake or 0.0)
    margin = scenario.margin * revenue
    return {"revenue": revenue, "margin": margin, "cost": cost, "profit": margin - cost}


def dose_of(scenario: Scenario, within: int = WINDOW) -> dict[str, Any]:
    """Repurchase and profit by dose (USD), and the dose of the greatest profit.

    `best` is over all doses from none to the greatest of the arms, `best_arm` among the arms.
    Raises ValueError where the scenario does not say how customers respond to a dose.
    """
    response = scenario.response
    if response is None:
        raise ValueError(f"scenario {scenario.name!r} has no response to doses")
    most = max(a.coupon for a in scenario.arms)

    def at(dollars: float) -> tuple[float, float]:
        """Repurchase, and the profit a customer beyond that without a coupon."""
        arms = (scenario.arms[0], dataclasses.replace(response.arm(dollars), name="dose"))
        only = dataclasses.replace(scenario, arms=arms)
        truth = truth_of(only, within)
        repurchase = truth.mean(f"repurchase_{within}d", "dose")
        return repurchase, profit_of(only, "dose", within)["profit"]

    low, high = 0.0, most
    while high - low > 1e-6:  # profit rises, then falls
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if at(a)[1] < at(b)[1] else (low, b)
    doses = {f"{a.coupon:g}": at(a.coupon) for a in scenario.arms}
    return {
        "repurchase": {d: r for d, (r, _) in doses.items()},
        "profit": {d: p for d, (_, p) in doses.items()},
        "best": (low + high) / 2,
        "best_arm": max(doses, key=lambda d: doses[d][1]),
    }


def weekly_of(scenario: Scenario, weeks: int = WEEKS) -> dict[str, list[float]]:
    """By arm, orders a customer in week 1, 2, ... after the exposure, less those of the first arm.

    ValueError where the scenario does not simulate so many weeks.
    """
    model, first = solve(scenario), scenario.arms[0].name
    found = {}
    for i, arm in enumerate(scenario.arms[1:], 1):
        rate = sum(c.weight * c.moved[i] * scenario.evenness * c.scale for c in model.cells)
        more = [
            interpolate(7 * w, *model.paths[arm.name]) - interpolate(7 * w, *model.paths[first])
            for w in range(weeks + 1)
        ]
        found[arm.name] = [rate * (b - a) for a, b in itertools.pairwise(more)]
    return found
