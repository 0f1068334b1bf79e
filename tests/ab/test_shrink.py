"""Between-variance and Q against statsmodels; Morris's formulas; nasty numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from retention_lab.ab.shrink import (
    NOT_SHRUNK,
    NOTHING,
    TOO_FEW,
    heterogeneity,
    paule_mandel,
    shrink,
)

number = st.floats(-10, 10)
positive = st.floats(0.05, 5)
sets = st.lists(st.tuples(number, positive), min_size=2, max_size=10)


def drawn(seed, k, tau):
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.3, 2.0, k)
    return rng.normal(3.0, np.hypot(tau, errors)), errors


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("seed", range(5))
def test_between_variance_and_q_are_those_of_statsmodels(seed, scale):
    effects, errors = drawn(seed, 3 + seed, tau=3.0)
    golden = combine_effects(effects, errors**2, method_re="iterated", atol=1e-11)
    found = heterogeneity(scale * effects, scale * errors)
    assert golden.tau2 > 0
    assert found.tau2 == pytest.approx(scale**2 * golden.tau2, rel=1e-9)
    assert paule_mandel(scale * effects, scale * errors) == found.tau2
    assert found.q == pytest.approx(golden.q, rel=1e-9)
    assert found.p_value == pytest.approx(golden.test_homogeneity().pvalue, rel=1e-9)
    assert found.i2 == pytest.approx(max(golden.i2, 0.0), rel=1e-9)
    assert found.df == len(effects) - 1


@settings(deadline=None)
@given(sets)
def test_the_between_variance_solves_its_equation(pairs):
    y, e = np.array(pairs).T
    tau2 = paule_mandel(y, e)
    w = 1 / (e**2 + tau2)
    q = w @ (y - w @ y / w.sum()) ** 2
    if tau2 > 0:
        assert q == pytest.approx(len(y) - 1, rel=1e-7)
    else:
        assert q <= (len(y) - 1) * (1 + 1e-9)


def test_equal_errors_have_a_closed_form():
    effects = np.array([1.0, 2.0, 4.0, 9.0]) + 1e9
    assert paule_mandel(effects, np.full(4, 0.5)) == pytest.approx(effects.var(ddof=1) - 0.25)


@pytest.mark.parametrize("error", [1e-40, 1e-9, 1e-3])
def test_errors_far_below_the_spread_leave_the_sample_variance(error):
    assert paule_mandel([0.0, 1.0, 5.0], [error] * 3) == pytest.approx(7.0, rel=1e-5)


def test_shrunken_effects_by_morris_formulas():
    effects, errors = drawn(1, 6, tau=1.0)
    tau2 = combine_effects(effects, errors**2, method_re="iterated", atol=1e-11).tau2
    found = shrink(effects, errors, alpha=0.1)
    v = errors**2
    total = sum(1 / (x + tau2) for x in v)
    mean = sum(y / (x + tau2) for y, x in zip(effects, v, strict=True)) / total
    average = sum(x / (x + tau2) for x in v) / total
    assert found.mean == pytest.approx(mean, rel=1e-9)
    assert found.tau2 == pytest.approx(tau2, rel=1e-9)
    for i, (y, x) in enumerate(zip(effects, v, strict=True)):
        b = 3 / 5 * x / (x + tau2)
        own = 1 / (x + tau2) / total
        doubt = 2 / 3 * b**2 * (average + tau2) / (x + tau2)
        sd = math.sqrt(x * (1 - (1 - own) * b) + doubt * (y - mean) ** 2)
        assert found.estimate[i] == pytest.approx((1 - b) * y + b * mean, rel=1e-9)
        assert found.std_error[i] == pytest.approx(sd, rel=1e-9)
        assert found.high[i] - found.estimate[i] == pytest.approx(
            stats.norm.isf(0.05) * sd, rel=1e-9
        )
        assert found.low[i] + found.high[i] == pytest.approx(2 * found.estimate[i])


@settings(deadline=None)
@given(
    st.lists(st.tuples(number, positive), min_size=4, max_size=10),
    st.sampled_from([1e-6, 1.0, 1e6]),
    st.floats(-100, 100),
)
def test_effects_move_towards_the_mean_and_follow_unit_and_origin(pairs, scale, origin):
    y, e = np.array(pairs).T
    found = shrink(y, e)
    to = np.sign(found.mean - y)
    assert np.all(to * (found.estimate - y) >= -1e-9)
    assert np.all(to * (found.mean - found.estimate) >= -1e-9)
    moved = shrink(scale * (y + origin), scale * e)
    assert moved.estimate / scale - origin == pytest.approx(found.estimate, abs=1e-7)
    assert moved.std_error / scale == pytest.approx(found.std_error, rel=1e-6)


def test_unknown_levels_are_left_out_and_come_back_nan():
    y, e = [1.0, math.nan, 2.0, 0.5, 7.0, None, 3.0, 1.0], [1, 1, 1, 2, 0.0, 1, math.inf, 0.7]
    found = shrink(y, e)
    kept = [0, 2, 3, 7]
    only = shrink([y[i] for i in kept], [e[i] for i in kept])
    for name in ("estimate", "std_error", "low", "high"):
        values = getattr(found, name)
        assert values[kept] == pytest.approx(getattr(only, name))
        assert np.isnan(np.delete(values, kept)).all()
    assert (found.mean, found.tau2) == (only.mean, only.tau2)
    assert heterogeneity(y, e) == heterogeneity([y[i] for i in kept], [e[i] for i in kept])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_few_levels_are_not_shrunk(k):
    y, e = [1.0, 5.0, 2.0][:k], [1.0, 0.5, 2.0][:k]
    found = shrink(y, e)
    assert found.note == NOT_SHRUNK
    assert found.estimate == pytest.approx(y)
    assert found.std_error == pytest.approx(e)


def test_nothing_known_is_no_error():
    for y in ([], [math.nan, math.inf]):
        found = shrink(y, y)
        assert found.note == NOTHING
        assert len(found.estimate) == len(y)
        assert np.isnan(found.estimate).all()
        assert paule_mandel(y, y) == 0.0
        assert heterogeneity(y, y).note == TOO_FEW
    assert heterogeneity([1.0], [1.0]).note == TOO_FEW


def test_equal_effects_and_huge_numbers_stay_finite():
    same = heterogeneity([2.0] * 5, [0.1] * 5)
    assert (same.q, same.tau2, same.i2, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    far = shrink([1e149, -1e149, 0.0, 5.0], [1e-149, 1.0, 1e140, 1e149])
    assert np.isfinite(far.estimate).all()
    assert np.isfinite(far.std_error).all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match="equal rows"):
        shrink([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="equal rows"):
        paule_mandel([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="alpha"):
        shrink([1.0], [1.0], alpha=0.0)
