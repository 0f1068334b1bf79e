"""Outcomes of each customer, counted from a shop's tables in numpy, apart from the lab's code."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from retention_lab.twin import Scenario, Shop, Truth, simulate, truth_of

SECOND = 1_000_000


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """One entry a customer: the arm, whether the window has elapsed, the values by metric."""

    arm: np.ndarray
    mature: np.ndarray
    region: np.ndarray
    acquired: np.ndarray
    values: dict[str, np.ndarray]


def outcomes(shop: Shop, within: int = 30) -> Outcomes:
    assigned = shop.tables["assignments"]
    ids = words(assigned["customer_id"])
    exposed = micros(assigned["assigned_at"])
    window = within * 86_400 * SECOND
    order = np.argsort(ids)

    def inside(table: pa.Table, at: str) -> tuple[np.ndarray, np.ndarray]:
        who = order[np.searchsorted(ids[order], words(table["customer_id"]))]
        elapsed = micros(table[at]) - exposed[who]
        kept = (elapsed > 0) & (elapsed <= window)
        return who[kept], kept

    orders = shop.tables["orders"]
    who, kept = inside(orders, "ordered_at")
    gone, _ = inside(shop.tables["unsubscribes"], "at")

    def total(column: str) -> np.ndarray:
        values = orders[column].to_numpy()[kept].astype(float)
        return np.bincount(who, values, minlength=len(ids))

    count = np.bincount(who, minlength=len(ids)).astype(float)
    end = np.datetime64(shop.scenario.end, "us").astype(np.int64)
    return Outcomes(
        arm=words(assigned["arm"]),
        mature=exposed + window <= end,
        region=words(assigned["region"]),
        acquired=assigned["promotion_acquired"].to_numpy(),
        values={
            f"repurchase_{within}d": (count > 0).astype(float),
            f"orders_{within}d": count,
            f"revenue_{within}d": total("revenue"),
            f"margin_{within}d": total("margin"),
            f"coupons_{within}d": total("coupon_used"),
            f"unsubscribed_{within}d": np.bincount(gone, minlength=len(ids)).astype(float),
        },
    )


def z_scores(scenario: Scenario, seed: int, within: int = 30) -> dict[tuple[str, str], float]:
    """(estimate - truth) / standard error, for the mean of every metric and arm."""
    truth = truth_of(scenario, within)
    found = outcomes(simulate(scenario, seed), within)
    scores = {}
    for arm in truth.arms:
        mine = found.mature & (found.arm == arm)
        for metric, values in found.values.items():
            if values[mine].any():
                scores[arm, metric] = z(values[mine], truth.mean(metric, arm))
        scores[arm, "order_value"] = ratio_z(found, mine, truth, arm, within)
    return scores


def ratio_z(found: Outcomes, mine: np.ndarray, truth: Truth, arm: str, within: int) -> float:
    revenue = found.values[f"revenue_{within}d"][mine]
    orders = found.values[f"orders_{within}d"][mine]
    expected = truth.mean("order_value", arm)
    return z((revenue - expected * orders) / orders.mean(), 0.0)


def z(values: np.ndarray, expected: float) -> float:
    """(mean - expected) in standard errors of the mean."""
    return float((values.mean() - expected) / (values.std(ddof=1) / np.sqrt(len(values))))


def words(column: Any) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False).astype(str)


def micros(column: Any) -> np.ndarray:
    return column.to_numpy().astype("datetime64[us]").astype(np.int64)
