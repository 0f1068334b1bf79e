"""Segments, past experiments and families of tests: size, coverage and squared error.

Levels' true effects scatter around 0.3 with sd tau, their estimates around them with known errors
whose mean square is 1. S sets are drawn; a share or a mean may be off by `SIGMAS` Monte-Carlo
errors, taken between sets, because the levels of a set share their estimated mean and tau.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from table import record

from retention_lab.ab.pool import discounted, pool
from retention_lab.ab.shrink import heterogeneity, shrink
from retention_lab.multiplicity import benjamini_hochberg, holm, simultaneous_alpha

SIGMAS = 3.5
MEAN = 0.3
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]
ERRORS = {
    "equal errors": lambda k: np.ones(k),
    "unequal errors": lambda k: np.linspace(0.4, 2.0, k),
    "one large level": lambda k: np.array([0.2, *[1.0] * (k - 1)]),
}


@pytest.fixture(params=[150, pytest.param(4000, marks=SLOW)])
def count(request):
    return request.param


def errors_of(shape, k):
    errors = ERRORS[shape](k)
    return errors / math.sqrt((errors**2).mean())


def drawn(count, errors, tau, seed=0):
    rng = np.random.default_rng(seed)
    truth = MEAN + tau * rng.standard_normal((count, len(errors)))
    return truth, truth + errors * rng.standard_normal(truth.shape)


def told(values, estimator, scenario, what, nominal=None):
    """Mean of one value a set, and its Monte-Carlo error; recorded."""
    values = np.asarray(values, float)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    record(estimator, scenario, what, nominal, mean, len(values), error)
    return mean, error


@pytest.mark.parametrize("k", [2, 4, 10])
@pytest.mark.parametrize("shape", ERRORS)
def test_size_of_the_heterogeneity_test(shape, k, count):
    errors = errors_of(shape, k)
    _, effects = drawn(4 * count, errors, tau=0.0)
    hits = [heterogeneity(y, errors).p_value < 0.05 for y in effects]
    share, _ = told(hits, "heterogeneity", f"k = {k}, {shape}", "size", 0.05)
    assert abs(share - 0.05) <= SIGMAS * math.sqrt(0.05 * 0.95 / len(hits))


@pytest.mark.slow
@pytest.mark.parametrize(("units", "most"), [(20, 0.075), (100, 0.06)])
def test_size_of_the_heterogeneity_test_where_errors_are_estimated(units, most):
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(4000):
        y = rng.standard_normal((2, 6, units))
        errors = np.sqrt(y.var(axis=2, ddof=1).sum(axis=0) / units)
        hits.append(heterogeneity(y[1].mean(axis=1) - y[0].mean(axis=1), errors).p_value < 0.05)
    share, error = told(hits, "heterogeneity", f"k = 6, {units} units an arm", "size", 0.05)
    assert 0.04 <= share <= most + SIGMAS * error


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("k", [4, 6, 10])
@pytest.mark.parametrize("shape", ERRORS)
def test_shrinkage_lowers_squared_error_and_covers(shape, k, tau, count):
    errors = errors_of(shape, k)
    truth, effects = drawn(count, errors, tau)
    found = [shrink(y, errors) for y in effects]
    estimate = np.array([f.estimate for f in found])
    inside = [np.mean((f.low <= t) & (t <= f.high)) for f, t in zip(found, truth, strict=True)]
    where = "shrinkage", f"k = {k}, tau = {tau} SE, {shape}"
    raw, ours = ((x - truth) ** 2 for x in (effects, estimate))
    ratio = float(ours.mean() / raw.mean())
    gained = (ours - raw).mean(axis=1)
    error = float(gained.std(ddof=1)) / math.sqrt(count)
    what = "squared error / that of raw levels"
    record(*where, what, "below 1", ratio, count, error / float(raw.mean()))
    assert gained.mean() < SIGMAS * error
    if count >= 1000 or tau <= 1.0:
        assert ratio < 1.0
    share, error = told(inside, *where, "coverage", "at least 0.95")
    assert share >= 0.945 - SIGMAS * error


@pytest.mark.parametrize("k", [4, 10])
def test_discounts_undo_the_winners_curse(k, count):
    errors = errors_of("unequal errors", k)
    truth, effects = drawn(count, errors, tau=1.0, seed=3)
    raw, ours, inside = [], [], []
    for t, y in zip(truth, effects, strict=True):
        best = int(np.argmax(y))
        found = discounted(y, errors)
        raw.append(y[best] - t[best])
        ours.append(found.estimate[best] - t[best])
        inside.append(found.low[best] <= t[best] <= found.high[best])
    where = ("winner, as it is", f"of {k}"), ("winner, discounted", f"of {k}")
    cursed, _ = told(raw, *where[0], "excess over the truth in SE")
    excess, error = told(ours, *where[1], "excess over the truth in SE", 0.0)
    told(np.abs(raw) <= 1.96 * errors[np.argmax(effects, axis=1)], *where[0], "coverage")
    share, share_error = told(inside, *where[1], "coverage", 0.95)
    assert abs(excess) < 0.6 * cursed + SIGMAS * error
    assert share >= 0.92 - SIGMAS * share_error


@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("k", [2, 3, 5, 10])
@pytest.mark.parametrize("shape", ERRORS)
def test_the_pooled_interval_covers(shape, k, tau, count):
    errors = errors_of(shape, k)
    _, effects = drawn(count, errors, tau, seed=5)
    following = MEAN + tau * np.random.default_rng(6).standard_normal(count)
    found = [pool(y, errors) for y in effects]
    where = "pooled effect", f"k = {k}, tau = {tau} SE, {shape}"
    told([f.high - f.low for f in found], *where, "width of the interval")
    share, error = told([f.low <= MEAN <= f.high for f in found], *where, "coverage", 0.95)
    # Few experiments of unlike size tell too little of tau: the docstring of `pool` says so.
    least = {"equal errors": 0.95, "unequal errors": 0.93, "one large level": 0.89}[shape]
    assert share >= least - SIGMAS * max(error, math.sqrt(0.05 * 0.95 / count))
    if k > 2:
        inside = [
            f.predict_low <= t <= f.predict_high for f, t in zip(found, following, strict=True)
        ]
        share, error = told(inside, *where, "coverage of the prediction", 0.95)
        assert share >= 0.80 - SIGMAS * error


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("size", [2, 5, 20])
def test_bonferroni_intervals_cover_together(size, correlation, count):
    rng = np.random.default_rng(7)
    sets, df = 20 * count, 12
    common = rng.standard_normal((sets, 1))
    own = rng.standard_normal((sets, size))
    noise = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
    t = noise / np.sqrt(rng.chisquare(df, (sets, 1)) / df)
    reach = stats.t.isf(simultaneous_alpha(0.05, size) / 2, df)
    together = (np.abs(t) <= reach).all(axis=1)
    share, _ = told(
        together,
        "Bonferroni-t",
        f"{size} intervals, correlation {correlation}",
        "intervals that all cover",
        "at least 0.95",
    )
    error = math.sqrt(0.05 * 0.95 / sets)
    assert 0.95 - SIGMAS * error <= share
    if correlation == 0.0:
        assert share <= 0.965 + SIGMAS * error


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("true", [0, 5, 15])
def test_false_discoveries_and_family_errors(true, correlation, count):
    """Of 20 tests `true` have an effect of 3 SE: FDR of Benjamini-Hochberg, FWER of Holm."""
    rng, sets, size = np.random.default_rng(8), 4 * count, 20
    noise = math.sqrt(correlation) * rng.standard_normal((sets, 1))
    noise = noise + math.sqrt(1 - correlation) * rng.standard_normal((sets, size))
    p_values = 2 * stats.norm.sf(np.abs(noise + 3.0 * (np.arange(size) < true)))
    found = np.array([benjamini_hochberg(p) for p in p_values.tolist()]) <= 0.05
    false = found[:, true:].sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    what = f"{true} of 20 effects, correlation {correlation}"
    nominal = 0.05 * (size - true) / size
    share, _ = told(false, "Benjamini-Hochberg", what, "false discovery rate", nominal)
    error = float(false.std(ddof=1)) / math.sqrt(sets)
    assert share <= nominal + SIGMAS * error
    if correlation == 0.0:
        assert share >= nominal - SIGMAS * error
    wrong = np.array([holm(p) for p in p_values.tolist()])[:, true:].min(axis=1) <= 0.05
    share, _ = told(wrong, "Holm", what, "families with an error", "at most 0.05")
    assert share <= 0.05 + SIGMAS * math.sqrt(0.05 * 0.95 / sets)
