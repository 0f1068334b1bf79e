"""Posteriors over truths drawn from the prior: chances come true, intervals cover, losses agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.ab.bayes import compare

SIGMAS = 3.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]
VARIANCES = {
    "equal arms": np.ones(3),
    "large control": np.array([0.1, 1.0, 1.5, 2.0]),
    "small control": np.array([4.0, 0.5, 0.5]),
}


@pytest.fixture(params=[60, pytest.param(4000, marks=SLOW)])
def count(request):
    return request.param


def told(values, nominal, what):
    """The mean of `values` is `nominal` within its error (that of one hit a set at least)."""
    values = np.asarray(values, float)
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    error = max(spread, math.sqrt(nominal * (1 - nominal))) / math.sqrt(len(values))
    scenario, said = what.split(": ", 1)
    record("posterior", scenario, said, nominal, mean, len(values), error)
    assert abs(mean - nominal) <= SIGMAS * max(error, 1e-12), f"{what}: {mean:.4f} +- {error:.4f}"


@pytest.mark.parametrize("prior_sd", [0.3, 1.0])
@pytest.mark.parametrize("shape", VARIANCES)
def test_what_is_believed_comes_true(shape, prior_sd, count):
    rng, v = np.random.default_rng(11), VARIANCES[shape]
    truth = 50.0 + prior_sd * rng.standard_normal((count, len(v)))
    seen = truth + np.sqrt(v) * rng.standard_normal(truth.shape)
    chance, best, lost, expected, inside, apart, better, beats = ([] for _ in range(8))
    for t, y in zip(truth, seen, strict=True):
        found = compare(y, v, prior_sd)
        chance.append([p.prob_best for p in found])
        best.append(t == t.max())
        expected.append([p.expected_loss for p in found])
        lost.append(t.max() - t)
        inside.append(np.mean([p.low <= x <= p.high for p, x in zip(found, t, strict=True)]))
        rest = list(zip(found[1:], t[1:] - t[0], strict=True))
        apart.append(np.mean([p.difference_low <= d <= p.difference_high for p, d in rest]))
        better.append(rest[-1][0].prob_better)
        beats.append(rest[-1][1] > 0)
    what = f"{shape}, prior sd {prior_sd}"
    told(inside, 0.95, f"{what}: arms' credible intervals")
    told(apart, 0.95, f"{what}: differences' credible intervals")
    chance, best = np.array(chance), np.array(best)
    brier = ((chance - best) ** 2 - chance * (1 - chance)).sum(axis=1)
    told(brier, 0.0, f"{what}: Brier score less its expectation")
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.7), (0.7, 1.01)):
        said = (chance >= low) & (chance < high)
        if said.sum() < 30:
            continue
        gap = np.where(said, best - chance, 0.0).sum(axis=1)
        told(gap, 0.0, f"{what}: best, where said {low} to {min(high, 1.0)}, less what was said")
    told(np.array(beats) - np.array(better), 0.0, f"{what}: better than the baseline, less said")
    told((np.array(lost) - expected).sum(axis=1), 0.0, f"{what}: loss, less what was expected")


def test_flat_intervals_cover_whatever_the_truth(count):
    rng, v = np.random.default_rng(12), VARIANCES["large control"]
    truth = np.array([0.0, 0.5, -1.0, 3.0])
    inside = []
    for y in truth + np.sqrt(v) * rng.standard_normal((count, 4)):
        found = compare(y, v)
        inside.append(
            np.mean(
                [
                    p.difference_low <= t - truth[0] <= p.difference_high
                    for p, t in zip(found[1:], truth[1:], strict=True)
                ]
            )
        )
    told(inside, 0.95, "flat prior: differences' credible intervals")
