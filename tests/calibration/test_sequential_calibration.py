"""Error, coverage and power of sequential bounds under daily peeking at skewed revenue.

95% of units buy nothing and the rest spend a log-normal amount; the arms are 1 to 3. Per day and
arm only the count, the sum and the sum of squares are kept, as in the reduction. A share of S
simulations may differ from its nominal value by `SIGMAS` Monte-Carlo errors.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from table import record

from retention_lab.ab.sequential import (
    KINDS,
    MIN_UNITS,
    boundaries,
    confidence_sequence,
    crossing,
)

SIGMAS = 3.5
ALPHA = 0.05
AT_MOST, AT_LEAST = f"at most {ALPHA}", f"at least {1 - ALPHA}"
DAYS = 60
BUYERS = 0.05  # the share of units that buy
SHARE = 0.25  # the share of units in the treated arm
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


@dataclasses.dataclass(frozen=True)
class Paths:
    """S experiments by DAYS cumulative looks: the difference, its standard error, the units."""

    estimate: np.ndarray
    std_error: np.ndarray
    n: np.ndarray

    @property
    def z(self):
        return np.abs(self.estimate) / self.std_error


def simulate(count, per_day, *, sigma=1.0, more_buyers=1.0, share=SHARE, seed=0):
    """Daily looks at `count` experiments of `per_day` units; `more_buyers` is the treated lift."""
    rng = np.random.default_rng(seed)
    treated = rng.binomial(per_day, share, size=(count, DAYS))
    means, variances = [], []
    for units, buyers in ((treated, BUYERS * more_buyers), (per_day - treated, BUYERS)):
        bought = rng.binomial(units, buyers)
        spent = rng.lognormal(0.0, sigma, size=bought.sum())
        day = np.repeat(np.arange(count * DAYS), bought.ravel())
        total, squares = (
            np.bincount(day, v, count * DAYS).reshape(count, DAYS).cumsum(axis=1)
            for v in (spent, spent * spent)
        )
        n = np.maximum(units.cumsum(axis=1), 2)
        mean = total / n
        means.append(mean)
        variances.append(np.maximum(squares - n * mean * mean, 0.0) / (n - 1) / n)
    error = np.sqrt(variances[0] + variances[1])
    error[error == 0.0] = np.nan
    return Paths(means[0] - means[1], error, per_day * np.arange(1, DAYS + 1))


def truth(sigma=1.0, more_buyers=1.0):
    """The true difference of mean revenue."""
    return BUYERS * (more_buyers - 1.0) * math.exp(sigma * sigma / 2)


def sequences(paths, target):
    """The confidence sequence of every experiment."""
    rows = zip(paths.estimate, paths.std_error, strict=True)
    return [confidence_sequence(e, s, paths.n, ALPHA, target) for e, s in rows]


def monte_carlo(share, count, estimator, scenario, what, nominal=None):
    """Record the share of `count` simulations; the Monte-Carlo error of its nominal."""
    return record(estimator, scenario, what, nominal, share, count)


@pytest.fixture(params=[300, pytest.param(10_000, marks=SLOW)])
def count(request):
    return request.param


# Daily traffic from what barely reaches MIN_UNITS in time to many times that, log-normals of
# skewness 6 and 33, and targets at the end, at a quarter of it, and at the very first bound.
@pytest.mark.parametrize("sigma", [1.0, 1.5])
@pytest.mark.parametrize("per_day", [25, 100, 200, pytest.param(500, marks=SLOW)])
def test_a_confidence_sequence_errs_at_most_at_five_per_cent(count, per_day, sigma):
    paths = simulate(count, per_day, sigma=sigma, seed=per_day)
    total = per_day * DAYS
    for target in (total, max(total // 4, MIN_UNITS), MIN_UNITS):
        wrong = np.mean([np.nanmin(b.p_value) <= ALPHA for b in sequences(paths, target)])
        where = f"60 daily looks, {per_day} units a day, sigma {sigma}, tightest at {target}"
        error = monte_carlo(wrong, count, "confidence sequence", where, "size", AT_MOST)
        assert wrong <= ALPHA + SIGMAS * error
    assert np.mean((paths.z > stats.norm.isf(ALPHA / 2)).any(axis=1)) > 3 * ALPHA


def test_naive_peeking_errs_far_above_five_per_cent(count):
    paths = simulate(count, 200, seed=1)
    late = paths.n >= MIN_UNITS
    wrong = np.mean((paths.z[:, late] > stats.norm.isf(ALPHA / 2)).any(axis=1))
    monte_carlo(wrong, count, "t test at every look", "60 daily looks, 200 units a day", "size")
    assert wrong > 4 * ALPHA


@pytest.mark.parametrize("more_buyers", [1.0, 1.3])
def test_a_confidence_sequence_covers_the_truth_at_all_looks_together(count, more_buyers):
    paths = simulate(count, 200, more_buyers=more_buyers, seed=2)
    true, total = truth(more_buyers=more_buyers), 200 * DAYS
    found = sequences(paths, total)
    covered = np.mean([b.low_so_far[-1] <= true <= b.high_so_far[-1] for b in found])
    scenario = f"60 daily looks, buyers x {more_buyers}"
    what = "coverage at all looks"
    error = monte_carlo(covered, count, "confidence sequence", scenario, what, AT_LEAST)
    assert covered >= 1 - ALPHA - SIGMAS * error
    assert not np.isnan(found[0].low[-1])


FIVE = np.arange(1, 6) / 5


def at_five_looks(paths):
    """z and its parts at days 12, 24, ... 60."""
    looks = (FIVE * DAYS).astype(int) - 1
    return paths.estimate[:, looks], paths.std_error[:, looks]


# One look at the end errs at 5.3% itself, with revenue this skewed in arms of 1 to 3 (printed
# beside): the normal limit, not the looks. Exactness for normal data is tested below.
SKEW = 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_sequential_test_errs_at_five_per_cent(count, kind):
    paths = simulate(count, 1000, seed=3)
    estimate, error = at_five_looks(paths)
    z = np.abs(estimate / error)
    wrong = np.mean((z >= boundaries(FIVE, ALPHA, kind).critical).any(axis=1))
    fixed = np.mean(z[:, -1] >= stats.norm.isf(ALPHA / 2))
    naive = np.mean((z >= stats.norm.isf(ALPHA / 2)).any(axis=1))
    mc = monte_carlo(wrong, count, kind, "five looks", "size", ALPHA)
    monte_carlo(fixed, count, "t test", "one look, the same experiments", "size", ALPHA)
    monte_carlo(naive, count, "t test at every look", "five looks, the same experiments", "size")
    assert abs(wrong - ALPHA) <= SIGMAS * mc + SKEW
    assert naive > 2 * ALPHA


@pytest.mark.parametrize("kind", KINDS)
def test_the_recursion_is_exact_for_normal_data(count, kind):
    many = 50 * count
    t = np.array([0.1, 0.35, 0.4, 0.85, 1.2])
    rng = np.random.default_rng(4)
    steps = np.diff(t, prepend=0.0)
    critical = boundaries(t, ALPHA, kind, over_running=True).critical
    for drift in (0.0, 2.5):
        walk = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), size=(many, 5)), axis=1)
        out = np.mean((np.abs(walk / np.sqrt(t)) >= critical).any(axis=1))
        expected = crossing(t, critical, drift).sum()
        where = f"five uneven looks, normal, drift {drift}"
        error = monte_carlo(out, many, kind, where, "bounds crossed", float(expected))
        assert abs(out - expected) <= SIGMAS * error


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_intervals_cover_the_truth_at_all_looks_together(count, kind):
    paths = simulate(count, 1000, more_buyers=1.15, seed=5)
    estimate, error = at_five_looks(paths)
    off = np.abs(estimate - truth(more_buyers=1.15)) / error
    covered = np.mean((off <= boundaries(FIVE, ALPHA, kind).critical).all(axis=1))
    what = "coverage at all looks"
    mc = monte_carlo(covered, count, kind, "five repeated intervals", what, 1 - ALPHA)
    assert abs(covered - (1 - ALPHA)) <= SIGMAS * mc + SKEW


def test_power_at_the_end_against_the_fixed_horizon(count):
    """The price of looking: none of the designs beats one look, O'Brien-Fleming is close to it."""
    paths = simulate(count, 1000, more_buyers=1.15, seed=6)
    estimate, error = at_five_looks(paths)
    z = np.abs(estimate / error)
    fixed = np.mean(z[:, -1] >= stats.norm.isf(ALPHA / 2))
    power = {
        kind: np.mean((z >= boundaries(FIVE, ALPHA, kind).critical).any(axis=1)) for kind in KINDS
    }
    found = sequences(paths, 1000 * DAYS)
    always = np.mean([b.p_value[-1] <= ALPHA for b in found])
    days = [int(np.argmax(b.p_value <= ALPHA)) + 1 for b in found if b.p_value[-1] <= ALPHA]
    monte_carlo(fixed, count, "t test", "one look after 60 days", "power")
    for kind, share in power.items():
        monte_carlo(share, count, kind, "five looks in 60 days", "power")
    mc = monte_carlo(always, count, "confidence sequence", "60 daily looks", "power")
    print(f"median day of the confidence sequence's decision: {np.median(days):.0f}")
    # Against the same experiments the loss is far less noisy than each share by itself.
    assert -0.02 <= fixed - power["obrien_fleming"] <= 0.05
    assert power["obrien_fleming"] >= power["pocock"] - SIGMAS * mc
    assert 0.0 < always < fixed
