"""Coverage and size of quantile differences and lifts: skew, ties, atoms, small and unequal arms.

An interval may cover more often than it says (ties, atoms, few units beyond the quantile make it
wider than needed), but not less often, by more than `SIGMAS` Monte-Carlo errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from table import record

from retention_lab.ab import quantile as module
from retention_lab.ab.quantile import quantile_difference, quantile_lift
from retention_lab.data.values import Distribution

SIGMAS = 3.5
TIMES = 1.3  # the arm's values are the base's law times this
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


def dist(x, times=1.0):
    values, counts = np.unique(x, return_counts=True)
    return Distribution(values * times, values * times, np.cumsum(counts))


def days(u):
    """Delivery days, 1 to 30."""
    return np.minimum(1.0 + stats.nbinom.ppf(u, 4, 0.4), 30.0)


def revenue(u):
    """Half of the customers spend nothing, the others cents of a lognormal."""
    bought = np.clip(2.0 * u - 1.0, 1e-300, None)
    return np.where(u <= 0.5, 0.0, np.round(np.exp(3.6 + stats.norm.ppf(bought)), 2))


def order_value(u):
    return np.exp(3.6 + 1.2 * stats.norm.ppf(u))


def edge(u):
    """The median may be any number from 11 to 12: the least is taken to be the truth."""
    return np.where(u <= 0.5, 11.0, 12.0)


DAYS = days(np.arange(1, 2**16) / 2**16)  # a table to look up: its inverse is slow


def draws(law, rng, n):
    if law is days:
        return DAYS[rng.integers(0, len(DAYS), n)]
    return law(rng.random(n))


def truth(law, q):
    return float(np.quantile(DAYS, q, method="inverted_cdf") if law is days else law(np.array(q)))


FEW = [
    (order_value, 0.5, 400, 400),
    (order_value, 0.9, 50, 200),
    (revenue, 0.5, 400, 400),
    (revenue, 0.9, 2000, 500),
    (days, 0.9, 50, 50),
    (days, 0.5, 400, 400),
    (edge, 0.5, 400, 400),
]
SIZES = [(50, 50), (50, 200), (400, 400), (2000, 500)]
ALL = [(f, q, *n) for f in (order_value, revenue, days) for q in (0.5, 0.9, 0.99) for n in SIZES]
ALL += [(edge, 0.5, *n) for n in SIZES]
ALL += [(f, 0.9, 100_000, 100_000) for f in (order_value, days)]


def enough(q, *sizes):
    return 2 * max(q, 1 - q) ** min(sizes) <= 0.05


def report(estimator, scenario, what, share, nominal, count):
    return record(estimator, scenario, what, nominal, share, count)


@pytest.mark.parametrize(
    ("cases", "count"), [(FEW, 120), pytest.param([*FEW, *ALL], 2000, marks=SLOW)]
)
def test_intervals_cover_the_truth(monkeypatch, cases, count):
    monkeypatch.setattr(module, "_p_value", lambda *_: math.nan)  # as slow as all else together
    rng = np.random.default_rng(11)
    for law, q, n_base, n_arm in dict.fromkeys(cases):
        if not enough(q, n_base, n_arm):
            continue
        known = truth(law, q)
        difference = known * TIMES - known
        hits, lifts, below, above = 0, [], 0, 0
        for _ in range(count):
            base = dist(draws(law, rng, n_base))
            arm = dist(draws(law, rng, n_arm), TIMES)
            e = quantile_difference(arm, base, q, 0.05)
            slack = 1e-9 * known
            below += e.high < difference - slack
            above += e.low > difference + slack
            hits += e.low - slack <= difference <= e.high + slack
            lift = quantile_lift(arm, base, q, 0.05)
            if known > 0 and lift.low is not None:
                lifts.append(lift.low - 1e-9 <= TIMES - 1 <= lift.high + 1e-9)
        what = f"{law.__name__} q {q} n {n_arm}/{n_base}"
        error = report("quantile difference", what, "coverage", hits / count, 0.95, count)
        assert hits / count >= 0.95 - SIGMAS * error
        for side, missed in (("below", below), ("above", above)):
            assert missed / count <= 0.025 + SIGMAS * error, f"{what}: {side}"
        if law is order_value and min(n_base, n_arm) * (1 - q) >= 40:
            assert hits / count <= 0.97 + SIGMAS * error, f"{what}: wider than needed"
        if known > 0 and (law is not revenue or q > 0.5):
            error = report("quantile lift", what, "coverage", np.mean(lifts), 0.95, len(lifts))
            assert len(lifts) == count
            assert np.mean(lifts) >= 0.95 - SIGMAS * error


@pytest.mark.parametrize(
    ("cases", "count"), [(FEW[:3], 80), pytest.param([*FEW, *ALL[:12]], 2000, marks=SLOW)]
)
def test_p_values_of_equal_arms_are_at_most_uniform(cases, count):
    rng = np.random.default_rng(12)
    for law, q, n_base, n_arm in dict.fromkeys(cases):
        if not enough(q, n_base, n_arm):
            continue
        found = [
            quantile_difference(
                dist(draws(law, rng, n_arm)), dist(draws(law, rng, n_base)), q, 0.05
            )
            for _ in range(count)
        ]
        p_values = np.array([e.p_value for e in found])
        rejected = np.array([e.low > 0 or e.high < 0 for e in found])
        assert np.array_equal(p_values < 0.05, rejected)
        for level in (0.05, 0.2):
            share = float(np.mean(p_values < level))
            what = f"{law.__name__} q {q} n {n_arm}/{n_base}"
            error = report("quantile difference", what, f"size at {level:.0%}", share, level, count)
            assert share <= level + SIGMAS * error
        if law is order_value and min(n_base, n_arm) * (1 - q) >= 40:
            assert np.mean(p_values < 0.2) >= 0.14 - SIGMAS * error
