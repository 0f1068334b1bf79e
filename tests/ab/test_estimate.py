"""Differences and lifts: against scipy, by Fieller's definition, and on nasty numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from retention_lab.ab import estimate as est
from retention_lab.ab.estimate import Level, difference, relative_lift
from retention_lab.ab.few import POOLED
from retention_lab.data.moments import Moments

ALPHA = 0.05


def level(x):
    x = np.asarray(x, float)
    return Level(float(x.mean()), float(x.var(ddof=1)) / len(x), len(x))


def cell(x, y):
    """Moments of one cell with columns x and y."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    pairs = (("x", "x"), ("y", "y"), ("x", "y"))
    values = {"x": x, "y": y}
    return Moments(
        keys=("arm",),
        pairs=pairs,
        cells=(("a",),),
        size=np.array([len(x)]),
        n=np.full((1, 3), len(x)),
        mean_x=np.array([[values[p].mean() for p, _ in pairs]]),
        mean_y=np.array([[values[q].mean() for _, q in pairs]]),
        comoment=np.array(
            [[((values[p] - values[p].mean()) * (values[q] - values[q].mean())).sum()
              for p, q in pairs]]
        ),
    )  # fmt: skip


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 200),
    m=st.integers(2, 200),
    scale=st.sampled_from([1e-3, 1.0, 1e6]),
)
@settings(max_examples=100, deadline=None)
def test_the_difference_is_scipys_welch_test(seed, n, m, scale):
    rng = np.random.default_rng(seed)
    x, y = scale * rng.lognormal(size=n), scale * (0.2 + rng.exponential(size=m))
    ours = difference(level(x), level(y), ALPHA)
    theirs = stats.ttest_ind(x, y, equal_var=False)
    if ours.note == POOLED:  # few events in the smaller arm
        assert max(n, m) > 5 * min(n, m)
        assert ours.p_value > theirs.pvalue
        return
    low, high = theirs.confidence_interval(1 - ALPHA)
    assert ours.estimate == pytest.approx(x.mean() - y.mean(), rel=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9)


def test_a_levels_interval_is_scipys():
    x = np.random.default_rng(1).lognormal(size=50)
    ours = est.level_interval(level(x), ALPHA)
    theirs = stats.ttest_1samp(x, 0.0).confidence_interval(1 - ALPHA)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), rel=1e-9)


def test_a_shares_interval_is_wilsons_and_stays_within_0_and_1():
    for k, n in ((498, 500), (0, 40), (7, 30)):
        x = np.arange(n) < k
        found = est.share_interval(level(x), ALPHA)
        theirs = stats.binomtest(k, n).proportion_ci(1 - ALPHA, method="wilson")
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


levels = st.builds(
    Level,
    st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3),
    st.floats(1e-6, 10),
    st.integers(2, 5000),
)


@given(arm=levels, base=levels)
@settings(max_examples=300, deadline=None)
def test_lift_and_difference_agree(arm, base):
    diff, lift = difference(arm, base, ALPHA), relative_lift(arm, base, ALPHA)
    assume(lift.estimate is not None)
    assert lift.p_value == diff.p_value
    assert lift.low <= lift.estimate <= lift.high
    assert math.copysign(1, lift.estimate) == math.copysign(1, diff.estimate)
    if abs(diff.p_value - ALPHA) > 1e-9:
        excluded = lift.low > 0 or lift.high < 0
        assert excluded == (diff.p_value < ALPHA) == (diff.low > 0 or diff.high < 0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_fieller_ends_are_where_the_test_just_rejects(sign):
    """Each end rho of the interval of m1/m0 solves |m1 - rho m0| = t sqrt(v1 + rho^2 v0)."""
    arm, base = Level(sign * 12.0, 0.8, 300), Level(sign * 10.0, 0.5, 400)
    found = relative_lift(arm, base, ALPHA)
    t = est.critical(est.welch_df(arm, base), ALPHA)

    def excess(lift):
        rho = 1 + sign * lift
        gap = abs(arm.estimate - rho * base.estimate)
        return gap - t * math.sqrt(arm.variance + rho**2 * base.variance)

    middle = found.estimate
    assert found.low == pytest.approx(optimize.brentq(excess, middle - 2, middle), rel=1e-9)
    assert found.high == pytest.approx(optimize.brentq(excess, middle, middle + 2), rel=1e-9)


def test_a_negative_baseline_has_the_right_sign_and_ends_in_order():
    """From -10 to -8 is a rise by 20% of the baseline's size."""
    found = relative_lift(Level(-8.0, 0.1, 500), Level(-10.0, 0.1, 500), ALPHA)
    assert found.estimate == pytest.approx(0.2)
    assert 0 < found.low < 0.2 < found.high
    mirror = relative_lift(Level(8.0, 0.1, 500), Level(10.0, 0.1, 500), ALPHA)
    assert (found.low, found.high) == pytest.approx((-mirror.high, -mirror.low), rel=1e-12)


@pytest.mark.parametrize("mean", [0.0, 1e-9, -1e-9, 1e-300, 5e-324, 0.0195])
def test_a_baseline_near_zero_has_no_bounded_lift(mean):
    found = relative_lift(Level(0.5, 1e-4, 1000), Level(mean, 1e-4, 1000), ALPHA)
    assert found.estimate is found.low is found.high is found.p_value is None
    assert found.note.startswith("unbounded: ")
    assert difference(Level(0.5, 1e-4, 1000), Level(mean, 1e-4, 1000), ALPHA).p_value < 1e-9


@pytest.mark.parametrize(
    ("arm", "base", "code"),
    [
        (Level(math.nan, math.nan, 0), Level(1.0, 0.1, 50), "empty_arm"),
        (Level(1.0, 0.1, 50), Level(math.nan, math.nan, 0), "empty_arm"),
        (Level(3.0, math.nan, 1), Level(1.0, 0.1, 50), "too_few_units"),
        (Level(3.0, math.nan, 1), Level(1.0, math.nan, 1), "too_few_units"),
        (Level(3.0, 0.0, 50), Level(3.0, 0.0, 50), "zero_variance"),
        (Level(4.0, 0.0, 50), Level(3.0, 0.0, 50), "zero_variance"),
        (Level(math.inf, math.nan, 50), Level(3.0, 0.1, 50), "not_finite"),
        (Level(math.nan, math.nan, 50), Level(3.0, 0.1, 50), "not_finite"),
        (Level(1e308, 1e300, 50), Level(-1e308, 1e300, 50), "not_finite"),
        (Level(1.0, 1e308, 50), Level(2.0, 1e308, 50), "not_finite"),
    ],
)
def test_what_cannot_be_tested_says_why(arm, base, code):
    for found in (difference(arm, base, ALPHA), relative_lift(arm, base, ALPHA)):
        assert found.p_value is found.low is found.high is found.std_error is None
        assert found.note.startswith(code + ": ")


@given(
    st.builds(Level, st.floats(-1e308, 1e308), st.floats(0, 1e308), st.integers(0, 10)),
    st.builds(Level, st.floats(-1e308, 1e308), st.floats(0, 1e308), st.integers(0, 10)),
)
@settings(max_examples=500, deadline=None)
def test_nothing_overflows_and_nothing_is_half_there(arm, base):
    for found in (difference(arm, base, ALPHA), relative_lift(arm, base, ALPHA)):
        ends = (found.std_error, found.low, found.high, found.p_value)
        assert all(e is None for e in ends) or all(math.isfinite(e) for e in ends)
        assert found.note is not None or found.low <= found.estimate <= found.high


def test_the_ratio_is_the_mean_of_its_linearisation():
    """The delta method's variance is the sample variance of (x - R y) / mean(y)."""
    rng = np.random.default_rng(3)
    y = rng.poisson(3, 400) + 1.0
    x = y * rng.lognormal(size=400)
    found = est.ratio_level(cell(x, y), 0, "x", "y")
    ratio = x.mean() / y.mean()
    linear = (x - ratio * y) / y.mean()
    assert found.estimate == pytest.approx(ratio, rel=1e-12)
    assert found.variance == pytest.approx(linear.var(ddof=1) / 400, rel=1e-9)


def test_a_ratio_that_is_the_same_for_everyone_has_no_variance():
    y = np.random.default_rng(4).poisson(3, 400) + 1.0
    assert est.ratio_level(cell(0.1 * y, y), 0, "x", "y").variance == 0.0


def test_a_ratio_to_nothing_is_no_number():
    found = est.ratio_level(cell([1.0, 2.0], [0.0, 0.0]), 0, "x", "y")
    assert math.isnan(found.estimate)
    assert difference(found, found, ALPHA).note.startswith("zero_denominator")
