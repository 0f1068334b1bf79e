"""Power that is stated is power that is had: simulated experiments of the planned size.

The tests are scipy's, on moments of the simulated arms; a share of S simulations may differ from
the stated power by `SIGMAS` Monte-Carlo errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from table import record

from retention_lab.ab.power import (
    Clusters,
    Design,
    Outcome,
    Sequential,
    bounds,
    power,
    sample_size,
)

SIGMAS = 3.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]
BATCH = 250


@pytest.fixture(params=[1000, pytest.param(10_000, marks=SLOW)])
def count(request):
    return request.param


def assert_power(hits, stated, what):
    hits = np.asarray(hits, bool)
    error = record("planned size", what, "power", float(stated), hits.mean(), hits.size)
    assert abs(hits.mean() - stated) <= SIGMAS * error, f"{what}: {hits.mean():.4f} not {stated}"


def welch(a, b, alternative="two-sided"):
    """p-values from (mean, sd, n) of both arms."""
    return stats.ttest_ind_from_stats(*a, *b, equal_var=False, alternative=alternative).pvalue


def batches(count):
    return [min(BATCH, count - start) for start in range(0, count, BATCH)]


def shares_of(rng, p, n, count):
    mean = rng.binomial(n, p, count) / n
    return mean, np.sqrt(mean * (1 - mean) * n / (n - 1)), n


@pytest.mark.parametrize("shares", [(1, 1), (4, 1)], ids=str)
def test_a_share_of_five_per_cent(count, shares):
    design = Design(shares=shares, relative=True)
    size = sample_size(0.1, Outcome.of_share(0.05), design)
    rng = np.random.default_rng(1)
    base, arm = (shares_of(rng, p, n, count) for p, n in zip((0.05, 0.055), size.arms, strict=True))
    assert_power(welch(arm, base) < 0.05, 0.8, f"share 5%, lift 10%, split {shares}")


def test_non_inferiority_of_a_share(count):
    size = sample_size(0.0, Outcome.of_share(0.05), Design(margin=0.005, power=0.9))
    rng = np.random.default_rng(2)
    base, arm = (shares_of(rng, 0.05, n, count) for n in size.arms)
    p = welch((arm[0] + 0.005, *arm[1:]), base, "greater")
    assert_power(p < 0.025, 0.9, "share 5%, margin 0.5 points")


def revenue(rng, shape):
    """Four of five buy nothing; the others spend log-normally."""
    return (rng.random(shape) < 0.2) * rng.lognormal(3, 1, shape)


def test_skewed_revenue(count):
    mean = 0.2 * math.exp(3.5)
    outcome = Outcome(mean, 0.2 * math.exp(8) - mean**2)
    design = Design(relative=True)
    size = sample_size(0.25, outcome, design)
    rng, hits = np.random.default_rng(3), []
    for sims in batches(count):
        base, arm = (revenue(rng, (sims, n)) for n in size.arms)
        arm += 0.25 * mean
        hits += list(stats.ttest_ind(arm, base, axis=1, equal_var=False).pvalue < 0.05)
    assert size.arms[0] > 3000
    assert_power(hits, 0.8, f"skewed revenue, {size.arms[0]} an arm")


def test_three_arms_each_at_holms_first_step(count):
    design = Design(shares=(2, 1, 1), power=0.85)
    size = sample_size(0.4, Outcome(0.0, 1.0), design)
    rng, hits = np.random.default_rng(4), {1: [], 2: []}
    for sims in batches(count):
        base, *arms = (rng.normal(size=(sims, n)) for n in size.arms)
        for k, arm in enumerate(arms, start=1):
            p = stats.ttest_ind(arm + 0.4, base, axis=1, equal_var=False).pvalue
            hits[k] += list(p < 0.025)
    stated = power(size.total, 0.4, Outcome(0.0, 1.0), design)
    for k, found in hits.items():
        assert_power(found, stated, f"arm {k} of three, {size.arms} units")


def test_adjustment(count):
    """The covariate explains half of the variance; slopes of each arm's own."""
    design = Design(r2=0.5)
    size = sample_size(0.5, Outcome(0.0, 1.0), design)
    stated = power(size.total, 0.5, Outcome(0.0, 1.0), design)
    rng = np.random.default_rng(5)
    levels = []
    for n, effect in zip(size.arms, (0.0, 0.5), strict=True):
        z = rng.normal(size=(count, n))
        y = math.sqrt(0.5) * (z + rng.normal(size=(count, n))) + effect
        dz, dy = z - z.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        slope = (dz * dy).sum(1) / (dz * dz).sum(1)
        left = ((dy - slope[:, None] * dz) ** 2).sum(1) / (n - 2)
        levels.append((y.mean(1) - slope * z.mean(1), np.sqrt(left), n))
    base, arm = levels
    assert_power(welch(arm, base) < 0.05, stated, f"r2 = 0.5, {size.arms[0]} an arm")


@pytest.mark.parametrize("cv", [0.0, 0.6])
def test_clusters(count, cv):
    """Cluster sums by linearisation: the mean is sum y / sum n, errors from clusters."""
    groups = Clusters(size=40, icc=0.05, cv=cv)
    design = Design(clusters=groups)
    size = sample_size(0.25, Outcome(0.0, 1.0), design)
    stated = power(40 * sum(size.clusters), 0.25, Outcome(0.0, 1.0), design)
    rng, levels = np.random.default_rng(6), []
    for k, effect in zip(size.clusters, (0.0, 0.25), strict=True):
        n = np.full((count, k), 40.0)
        if cv:
            n = np.maximum(np.rint(rng.gamma(1 / cv**2, 40 * cv**2, (count, k))), 1)
        mean = rng.normal(0, math.sqrt(0.05), (count, k)) + rng.normal(size=(count, k)) * np.sqrt(
            0.95 / n
        )
        level = (n * mean).sum(1) / n.sum(1)
        parts = n * (mean - level[:, None]) / n.mean(1, keepdims=True)
        levels.append((level + effect, parts.std(axis=1, ddof=1), k))
    base, arm = levels
    # The linearised error of few uneven clusters is a little too small, so power a little high.
    assert size.clusters[0] >= 20
    assert_power(welch(arm, base) < 0.05, stated, f"{size.clusters[0]} clusters an arm, cv {cv}")


@pytest.mark.parametrize("kind", ["obrien_fleming", "pocock", "confidence_sequence"])
def test_looks(count, kind):
    """Units arrive in five equal parts; the test is looked at after each."""
    design = Design(sequential=Sequential(kind, 5))
    size = sample_size(0.2, Outcome(0.0, 1.0), design)
    at, critical = bounds(design)
    rng = np.random.default_rng(7)
    steps = rng.normal(0.2 / 5, math.sqrt(2 / (size.exact / 2) / 5), (count, 5)).cumsum(1)
    z = steps / at / np.sqrt(4 / (size.exact * at))
    assert_power((np.abs(z) > critical).any(1), 0.8, f"five looks, {kind}")
    null = rng.normal(0, math.sqrt(0.2), (count, 5)).cumsum(1) / np.sqrt(at)
    rate = (np.abs(null) > critical).any(1).mean()
    record("planned size", f"five looks, {kind}", "size", "at most 0.05", rate, count)
    assert rate <= 0.05 + SIGMAS * math.sqrt(0.05 * 0.95 / count)


def test_too_small_an_experiment_would_be_seen(count):
    """The simulation can fail: at 80% of the planned size power is clearly less."""
    size = sample_size(0.1, Outcome.of_share(0.05), Design(relative=True))
    rng = np.random.default_rng(8)
    less = [int(0.8 * n) for n in size.arms]
    base, arm = (shares_of(rng, p, n, count) for p, n in zip((0.05, 0.055), less, strict=True))
    found = (welch(arm, base) < 0.05).mean()
    assert found < 0.8 - SIGMAS * math.sqrt(0.16 / count)
    normal = special.ndtr(math.sqrt(0.8) * (1.959964 + 0.841621) - 1.959964)
    assert found == pytest.approx(normal, abs=SIGMAS * math.sqrt(0.21 / count))
