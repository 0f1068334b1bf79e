"""The share of revenue from returning customers has the error of its linearisation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from retention_lab.data.moments import Moments
from retention_lab.survival.revenue import revenue_share


def month(x, y):
    rows = np.array([x, y], float)
    mean, off = rows.mean(axis=1), rows - rows.mean(axis=1, keepdims=True)
    n = np.full((1, 3), len(x))
    pairs = (("returning", "returning"), ("revenue", "revenue"), ("returning", "revenue"))
    co = [off[0] @ off[0], off[1] @ off[1], off[0] @ off[1]]
    means = np.array([[mean[0], mean[1], mean[0]]]), np.array([[mean[0], mean[1], mean[1]]])
    return Moments(("month",), pairs, (("2026-01",),), n[:, 0], n, *means, np.array([co]))


def test_the_revenue_share_has_the_delta_methods_error():
    rng = np.random.default_rng(4)
    y = rng.lognormal(size=200)
    x = y * (rng.random(200) < 0.4)
    (found,) = revenue_share(month(x, y))
    share = x.sum() / y.sum()
    error = math.sqrt(((x - share * y) ** 2).sum() * 200 / 199) / y.sum()
    assert (found.share, found.std_error) == pytest.approx((share, error))
    assert (found.low, found.high) == pytest.approx(
        (share - 1.959964 * error, share + 1.959964 * error)
    )
    assert (found.customers, found.revenue, found.returning) == (
        200,
        *map(pytest.approx, (y.sum(), x.sum())),
    )


def test_revenue_shares_without_a_number_say_why():
    (none,) = revenue_share(month([0.0, 0.0], [1.0, -1.0]))
    assert (none.share, none.note[:16]) == (None, "zero_denominator")
    few = np.append(np.ones(99), 1e4)
    (thin,) = revenue_share(month(0.5 * few, few))
    assert (thin.share, thin.low) == (0.5, None)
    assert thin.note.startswith("few_customers")
    (all_new,) = revenue_share(month(np.zeros(100), np.ones(100)))
    assert (all_new.share, all_new.std_error) == (0.0, 0.0)
