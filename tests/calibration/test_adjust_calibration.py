"""Lin's adjustment: size and coverage with skewed revenue, slopes that differ, missing outcomes.

Half of the customers had bought before; what they spend grows with it, in the treated arm half as
much again. A share of S simulations may differ from its nominal value by `SIGMAS` Monte-Carlo
errors; where the unadjusted t test is off by itself (few units, skewed), by as much as that.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.ab.margin import Margin
from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import Column, Needs

SIGMAS = 3.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
BATCH = 200
LIFT = 0.2
MEAN = 1.0 * 0.5 * math.exp(0.5) + 0.3 * math.exp(0.5)  # slope x pre-period, and what is new
Y, X, D = (Column(name=c, how="value") for c in "yxd")
NEEDS = {"mean": Needs("y", Y, covariates=(X,)), "ratio": Needs("y", Y, D, covariates=(X,))}


@pytest.fixture(params=[60, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def arm_of(rng, shape, treated, effect, missing):
    """Revenue y, orders d and pre-period revenue x of (simulations, units)."""
    x = (rng.random(shape) < 0.5) * rng.lognormal(size=shape)
    noise = (rng.random(shape) < 0.3) * rng.lognormal(size=shape)
    y = (1.5 * x - 0.25 * math.exp(0.5) if treated else x) + noise + effect
    d = rng.poisson(0.5 + 0.5 * (x > 0), shape) + 1.0
    y[rng.random(shape) < missing] = np.nan
    return {"y": y, "x": x, "d": d}


def reduced(arms, need):
    """Moments by arm and simulation; what is not there counts in no column."""
    cells, parts = [], []
    for name, columns in arms.items():
        known = np.isfinite(columns["y"])
        n = known.sum(axis=1)
        mean = {c: np.where(known, v, 0.0).sum(axis=1) / n for c, v in columns.items()}
        off = {c: np.where(known, v - mean[c][:, None], 0.0) for c, v in columns.items()}
        cells += [(name, str(i)) for i in range(len(n))]
        parts.append(
            (
                np.full(len(n), known.shape[1]),
                np.stack([n for _ in need.pairs], axis=1),
                np.stack([mean[a] for a, _ in need.pairs], axis=1),
                np.stack([mean[b] for _, b in need.pairs], axis=1),
                np.stack([(off[a] * off[b]).sum(axis=1) for a, b in need.pairs], axis=1),
            )
        )
    arrays = [np.concatenate(p) for p in zip(*parts, strict=True)]
    return Moments(("arm", "sim"), need.pairs, tuple(cells), *arrays)


def comparisons(kind, sizes, missing, effect, count, seed):
    rng, need = np.random.default_rng(seed), NEEDS[kind]
    for start in range(0, count, BATCH):
        sims = min(BATCH, count - start)
        arms = {
            name: arm_of(rng, (sims, n), name == "b", effect * (name == "b"), missing)
            for name, n in zip("ab", sizes, strict=True)
        }
        m = Margin(reduced(arms, need), need, None, ("arm", "sim"), 0.05)
        yield from (m.compare(("b", str(i)), ("a", str(i))) for i in range(sims))


CASES = [
    ("mean", (100, 100), 0.0),
    ("mean", (160, 40), 0.0),
    ("mean", (100, 100), 0.5),
    ("mean", (2500, 2500), 0.5),
    ("mean", (4000, 1000), 0.0),
    ("mean", (4000, 1000), 0.5),
    ("ratio", (400, 400), 0.0),
    ("ratio", (4000, 1000), 0.0),
]


@pytest.mark.parametrize(("kind", "sizes", "missing"), CASES, ids=str)
def test_lins_adjustment_is_calibrated(kind, sizes, missing, count):
    base = MEAN if kind == "mean" else MEAN / 1.75
    effect = LIFT * MEAN
    scenario = f"{kind} of skewed revenue, arms {sizes[0]}/{sizes[1]}, slopes differ"
    scenario += f", {missing:.0%} missing" if missing else ""
    nothing = list(comparisons(kind, sizes, missing, 0.0, count, seed=1))
    some = list(comparisons(kind, sizes, missing, effect, count, seed=2))
    truth = LIFT * base
    found = {
        ("difference after Lin", "size", 0.05): [c.difference.p_value < 0.05 for c in nothing],
        ("difference after Lin", "coverage", 0.95): [
            c.difference.low <= truth <= c.difference.high for c in some
        ],
        ("lift after Lin", "coverage", 0.95): [
            c.lift.low <= LIFT <= c.lift.high for c in some if c.lift.low is not None
        ],
    }
    plain = np.mean([c.plain.low <= truth <= c.plain.high for c in some])
    record("difference, unadjusted", scenario, "coverage", None, plain, count)
    assert np.mean([c.reduction for c in some]) > 0.1
    for (estimator, what, nominal), hits in found.items():
        assert len(hits) > 0.99 * count
        error = record(estimator, scenario, what, nominal, np.mean(hits), len(hits))
        assert abs(np.mean(hits) - nominal) <= SIGMAS * error + max(0.95 - plain, 0.0)
