"""Contrasts of arms: factors, non-inferiority and families of intervals, on skewed revenue.

Levels are made from counts, means and variances of simulated arms. A share of S simulations may
differ from its nominal value by `SIGMAS` Monte-Carlo errors, and by what is said where it is used.
"""

from __future__ import annotations

import types

import numpy as np
import pytest
from table import record

from retention_lab.ab.estimate import Level, contrast, difference
from retention_lab.ab.further import Further, effects
from retention_lab.multiplicity import simultaneous_alpha

SIGMAS = 3.5
SKEW = 0.01  # gamma values of skewness 2 in arms of 60 to 400: the normal limit is not reached
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]
ARMS = ("none", "coupon", "free", "both")
SIZES = (400, 200, 200, 60)
FACTORS = {
    "coupon": {"none": "0", "coupon": "1", "free": "0", "both": "1"},
    "shipping": {"none": "paid", "coupon": "paid", "free": "free", "both": "free"},
}


@pytest.fixture(params=[200, pytest.param(10_000, marks=SLOW)])
def count(request):
    return request.param


def levels_of(rng, count, means, spreads=(1.0, 1.0, 2.0, 3.0)):
    """By simulation, the levels of arms whose values are gamma (skewness 2) and unequally wide."""
    arms = []
    for n, mean, spread in zip(SIZES, means, spreads, strict=False):
        x = np.concatenate(
            [
                np.stack([v.mean(axis=1), v.var(axis=1, ddof=1) / n], axis=1)
                for v in (
                    rng.exponential(spread, (min(500, count - i), n)) - spread + mean
                    for i in range(0, count, 500)
                )
            ]
        )
        arms.append([Level(float(m), float(s), n) for m, s in x])
    return list(zip(*arms, strict=True))


def checked(hits, nominal, estimator, scenario, what, slack=SKEW):
    error = record(estimator, scenario, what, nominal, np.mean(hits), len(hits))
    assert abs(np.mean(hits) - nominal) <= SIGMAS * error + slack


@pytest.mark.parametrize("term", ["coupon: 1", "shipping: free", "coupon: 1, shipping: free"])
def test_factors_are_calibrated(term, count):
    weights = dict(effects(FACTORS, "none"))[term]
    used = [weights.get(a, 0.0) for a in ARMS]
    rng = np.random.default_rng(1)
    means = (1.0, 1.4, 1.1, 1.9)
    truth = float(np.dot(used, means))
    kind = "interaction" if "," in term else "main effect"
    scenario = f"{term}, arms {'/'.join(map(str, SIZES))}, spread 1 to 3, skewness 2"
    found = [contrast(v, used, 0.05) for v in levels_of(rng, count, means)]
    checked([e.low <= truth <= e.high for e in found], 0.95, kind, scenario, "coverage")
    null = [contrast(v, used, 0.05) for v in levels_of(rng, count, (1.0,) * 4)]
    checked([e.p_value < 0.05 for e in null], 0.05, kind, scenario, "size")


def guardrail(levels, **margin):
    """The rows of non-inferiority of two arms with these levels."""
    metric = types.SimpleNamespace(
        name="x", role="guardrail", direction="increase", margin=None, relative_margin=None
    )
    vars(metric).update(margin)
    views = object.__new__(Further)
    views.metric = types.SimpleNamespace(metric=metric, test="Welch t")
    views.arms, views.levels, views.alpha = ("a", "b"), list(levels), 0.05
    views.adjusted, views.after, views.silent = None, "", False
    return next(iter(views.non_inferiority("a")))


@pytest.mark.parametrize("margin", [{"margin": 0.3}, {"relative_margin": 0.1}], ids=str)
@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_non_inferiority_at_the_margin_errs_at_one_side_of_alpha(margin, direction, count):
    """At the margin itself the arm is not kept: 2.5% of intervals of 95% lie beyond 0."""
    rng, sign = np.random.default_rng(2), 1.0 if direction == "increase" else -1.0
    worse = margin.get("margin", margin.get("relative_margin", 0.0) * 3.0)
    levels = levels_of(rng, count, (3.0, 3.0 - sign * worse), (1.0, 1.0))
    rows = [guardrail(v, direction=direction, **margin) for v in levels]
    hits = [r.p_value < 0.025 for r in rows]
    assert hits == [r.ci_low > 0 for r in rows]
    name, value = next(iter(margin.items()))
    scenario = f"{name} {value}, {direction}, arms 400/200, skewness 2"
    checked(hits, 0.025, "non-inferiority", scenario, "size, one-sided, at the margin")


def test_simultaneous_intervals_cover_together(count):
    """Two metrics correlate; three arms share one control: six intervals at alpha / 6."""
    rng = np.random.default_rng(3)
    alpha, sets = simultaneous_alpha(0.05, 6), []
    for start in range(0, count, 200):
        sims = min(200, count - start)
        arms = []
        for n, mean in zip(SIZES, (1.0, 1.2, 1.0, 0.7), strict=True):
            one = rng.exponential(1.0, (sims, n))
            two = 0.7 * one + 0.3 * rng.exponential(1.0, (sims, n))
            arms.append((n, mean - 1.0, one, two))
        for i in range(sims):
            inside = True
            for k in (2, 3):
                of = [
                    Level(float(a[k][i].mean() + a[1]), float(a[k][i].var(ddof=1) / a[0]), a[0])
                    for a in arms
                ]
                for arm, (_, mean, *_rest) in zip(of[1:], arms[1:], strict=True):
                    e = difference(arm, of[0], alpha)
                    inside &= e.low <= mean <= e.high
            sets.append(inside)
    scenario = "2 metrics (correlation 0.9) x 3 arms of 200/200/60 against 400"
    share = float(np.mean(sets))
    what = "intervals that all cover"
    error = record("simultaneous intervals", scenario, what, "at least 0.95", share, len(sets))
    assert share >= 0.95 - SIGMAS * error - SKEW
