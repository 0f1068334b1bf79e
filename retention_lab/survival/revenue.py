"""Moments of customers' revenue by month in; the share of returning customers out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import special

from retention_lab.data.activity import RETURNING, REVENUE
from retention_lab.data.moments import Moments

FEW = 20
EPS = float(np.finfo(np.float64).eps)
NO_REVENUE = "zero_denominator: the revenue of the month adds up to 0"
THIN = "few_customers: the month's revenue rests on fewer than 20 customers in effect"


@dataclasses.dataclass(frozen=True, slots=True)
class RevenueShare:
    """Share of a month's revenue from customers who had ordered on an earlier day."""

    levels: tuple[str, ...]  # the month first
    share: float | None
    std_error: float | None
    low: float | None
    high: float | None
    customers: int
    revenue: float
    returning: float
    note: str | None = None


def revenue_share(moments: Moments, alpha: float = 0.05) -> list[RevenueShare]:
    """Share of revenue from returning customers, by cell of what `returning_revenue` gave.

    R = sum x / sum y over customers, with the delta method's error over customers: variance
    sum (x - R y)^2 n / (n - 1) / (sum y)^2. No error where the revenue rests on few customers.
    Source: Deng, Knoblich and Lu (2018), KDD '18, section 2.
    """
    xx, yy, xy = (
        moments.pair(RETURNING),
        moments.pair(REVENUE),
        moments.pair(RETURNING, REVENUE),
    )
    z = float(special.ndtri(1.0 - alpha / 2.0))
    found = []
    for i, levels in enumerate(moments.cells):
        n = int(moments.n[i, xy])
        x, y = n * moments.mean(i, RETURNING), n * moments.mean(i, REVENUE)
        if y == 0.0 or n == 0:
            found.append(RevenueShare(levels, None, None, None, None, n, y, x, NO_REVENUE))
            continue
        share = x / y
        parts = (
            float(moments.comoment[i, xx]),
            -2.0 * share * float(moments.comoment[i, xy]),
            share * share * float(moments.comoment[i, yy]),
        )
        effective = y * y / (float(moments.comoment[i, yy]) + y * y / n)
        if effective < FEW:
            found.append(RevenueShare(levels, share, None, None, None, n, y, x, THIN))
            continue
        spread = max(sum(parts), 0.0)
        if spread <= 64 * EPS * sum(map(abs, parts)):
            spread = 0.0
        error = math.sqrt(spread * n / (n - 1)) / abs(y)
        low, high = share - z * error, share + z * error
        if 0.0 <= share <= 1.0:
            low, high = max(low, 0.0), min(high, 1.0)
        found.append(RevenueShare(levels, share, error, low, high, n, y, x))
    return found
