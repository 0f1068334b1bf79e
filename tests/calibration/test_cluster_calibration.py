"""Whole clusters randomised: size and coverage with twenty of unequal sizes, even and uneven arms.

Sizes are gamma, cv 0.6 about a mean of 50; units of one cluster correlate by 0.1; a cluster's mean
depends on its own pre-period. The truth is the mean of a unit, over clusters of all sizes. A share
of S simulations may differ from its nominal value by `SIGMAS` Monte-Carlo errors and `SMALL`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.ab.cluster import THIN
from retention_lab.ab.margin import Margin
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
    pairs = need.pairs
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
                assert found.difference.note == THIN
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
