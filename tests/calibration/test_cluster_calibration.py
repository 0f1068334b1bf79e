"""Whole clusters randomised: size and coverage with twenty of unequal sizes, even and uneven arms.

Sizes are gamma, cv 0.6 about a mean of 50; units of one cluster correlate by 0.1; a cluster's mean
depends on its own pre-period. The truth is the mean of a unit, over clusters of all sizes. Or
sizes are 100 and, of 15%, 2,000, and the outcome grows with them: an arm may have no large cluster.
A share of S simulations may differ from its nominal value by `SIGMAS` Monte-Carlo errors and
`SMALL`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.ab.estimate import equal_variances_too
from retention_lab.ab.margin import Margin
from retention_lab.clusters import THIN, UNLIKE
from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import Column, Needs

SIGMAS = 3.5
SMALL = 0.01
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
ICC, CV, UNITS, BASE, LIFT = 0.1, 0.6, 50.0, 2.0, 0.25
Y, X, D = (Column(name=c, how="value") for c in "yxd")
NEEDS = {
    "mean": Needs("y", Y),
    "ratio": Needs("y", Y, D),
    "mean, a covariate": Needs("y", Y, covariates=(X,)),
    "ratio, a covariate": Needs("y", Y, D, covariates=(X,)),
}


@pytest.fixture(params=[40, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def drawn(rng, sizes, effect, need):
    """Moments by arm and cluster: means of normal values, whose spread within does not matter."""
    arm = np.repeat(list("ab"), sizes)
    n = np.maximum(np.rint(rng.gamma(1 / CV**2, UNITS * CV**2, len(arm))), 2).astype(int)
    own = rng.normal(size=len(arm))
    noise = rng.normal(0, math.sqrt(ICC / 2), len(arm)) + rng.normal(size=len(arm)) * np.sqrt(
        (1 - ICC) / n
    )
    pre = own + rng.normal(size=len(arm)) / np.sqrt(n)
    mean = {"y": BASE + math.sqrt(ICC / 2) * own + noise + effect * (arm == "b")}
    # A denominator that varies between clusters; the ratio's truth is then y's over 2.
    mean |= {"x": pre, "d": 2.0 + 0.3 * rng.normal(size=len(arm))}
    if need.denominator is not None:
        mean["y"] = mean["y"] * mean["d"] / 2.0
    return by_shop(arm, n, mean, need.pairs)


def by_shop(arm, n, mean, pairs):
    """Moments of `n` units in each cluster, whose columns' means are given."""
    return Moments(
        ("arm", "shop"),
        pairs,
        tuple((a, str(i)) for i, a in enumerate(arm)),
        n,
        np.tile(n[:, None], (1, len(pairs))),
        np.stack([mean[a] for a, _ in pairs], axis=1),
        np.stack([mean[b] for _, b in pairs], axis=1),
        np.ones((len(n), len(pairs))),
    )


@pytest.mark.parametrize("sizes", [(10, 10), (6, 14), (40, 40)], ids=str)
@pytest.mark.parametrize("kind", NEEDS)
def test_clusters_are_calibrated(kind, sizes, count):
    need, rng = NEEDS[kind], np.random.default_rng(1)
    truth = BASE * LIFT / (2.0 if need.denominator else 1.0)
    size, inside, lifts = [], [], []
    for _ in range(count):
        for effect in (0.0, BASE * LIFT):
            m = Margin(drawn(rng, sizes, effect, need), need, "shop", ("arm",), 0.05)
            found = m.compare(("b",), ("a",))
            if found.difference.low is None:
                assert found.difference.note in (THIN, UNLIKE)
            elif effect:
                inside.append(found.difference.low <= truth <= found.difference.high)
                lifts.append(found.lift.low is None or found.lift.low <= LIFT <= found.lift.high)
            else:
                size.append(found.difference.p_value < 0.05)
    assert len(inside) > (0.5 if min(sizes) == 6 else 0.99) * count
    scenario = f"{kind}, {sizes[0]}/{sizes[1]} clusters, cv {CV}, ICC {ICC}"
    for what, hits, nominal in (
        ("size", size, 0.05),
        ("coverage of the difference", inside, 0.95),
        ("coverage of the lift", lifts, 0.95),
    ):
        error = record("clusters", scenario, what, nominal, np.mean(hits), len(hits))
        assert abs(np.mean(hits) - nominal) <= SIGMAS * error + SMALL


@pytest.mark.parametrize("sizes", [(10, 40), (20, 20)], ids=str)
def test_an_arm_without_large_clusters_does_not_find_an_effect(sizes, count):
    need, rng = NEEDS["mean"], np.random.default_rng(2)
    arm, found = np.repeat(list("ab"), sizes), []
    for _ in range(5 * count):
        n = np.where(rng.random(len(arm)) < 0.15, 2000, 100)
        mean = {"y": BASE + 0.5 * np.log(n) + rng.normal(0, 0.3, len(arm))}
        m = Margin(by_shop(arm, n, mean, need.pairs), need, "shop", ("arm",), 0.05)
        found.append(m.compare(("b",), ("a",)).difference)
    known = [f.p_value < 0.05 for f in found if f.p_value is not None]
    assert {f.note for f in found if f.p_value is None} <= {THIN, UNLIKE}
    assert all(f.estimate is not None for f in found)
    assert sum(f.note == UNLIKE for f in found) > 0.01 * len(found)
    scenario = f"mean that grows with the size, {sizes[0]}/{sizes[1]} clusters of two sizes"
    error = record("clusters", scenario, "size", 0.05, np.mean(known), len(known))
    assert np.mean(known) <= 0.05 + SIGMAS * error + SMALL


@pytest.mark.parametrize("sizes", [(10, 40), (20, 20)], ids=str)
@pytest.mark.parametrize("kind", ["normal", "log-normal", "by size"])
def test_a_covariate_of_clusters_differs_as_seldom_as_it_says(kind, sizes, count):
    """By the larger of Welch's and Student's p-value; a test is invalid below 0.001."""
    need, rng = NEEDS["mean"], np.random.default_rng(3)
    arm, p = np.repeat(list("ab"), sizes), []
    for _ in range(15 * count):
        n = np.maximum(np.rint(rng.lognormal(5.0, 1.0, len(arm))), 20).astype(int)
        own = np.exp(1.2 * rng.normal(size=len(arm))) if kind == "log-normal" else (
            0.3 * rng.normal(size=len(arm)) + (0.5 * np.log(n) if kind == "by size" else 0.0)
        )  # fmt: skip
        m = Margin(by_shop(arm, n, {"y": own}, need.pairs), need, "shop", ("arm",), 0.05)
        found = m.compare(("b",), ("a",)).difference
        found = equal_variances_too(found, m.level("b"), m.level("a"))
        p += [] if found.p_value is None else [found.p_value]
    scenario = f"{kind}, {sizes[0]}/{sizes[1]} clusters, sizes log-normal (1)"
    for level in (0.05, 0.001):
        share = np.mean(np.array(p) < level)
        error = record(
            "covariate difference, clusters", scenario, "size", f"at most {level}", share, len(p)
        )
        assert share <= level + SIGMAS * error + level / 2
