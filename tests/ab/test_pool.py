"""The pooled mean against statsmodels, the prediction by its formula, and few experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from retention_lab.ab.pool import ONE, TWO, discounted, pool
from retention_lab.ab.shrink import NOT_SHRUNK, NOTHING, shrink

sets = st.lists(
    st.tuples(st.floats(-10, 10), st.floats(0.05, 5)),
    min_size=1,
    max_size=10,
)


@pytest.mark.parametrize("seed", range(8))
def test_mean_and_interval_are_those_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.3, 2.0, 3 + seed)
    effects = rng.normal(1.0, np.hypot(2.0, errors))
    golden = combine_effects(effects, errors**2, method_re="iterated", atol=1e-11, use_t=True)
    found = pool(effects, errors)
    assert golden.tau2 > 0
    assert found.mean == pytest.approx(golden.mean_effect_re, rel=1e-9)
    assert found.std_error == pytest.approx(golden.sd_eff_w_re, rel=1e-9)
    low, high = golden.conf_int(alpha=0.05, use_t=True)[3]  # random effects, HKSJ
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    p = 2 * stats.t.sf(abs(golden.mean_effect_re) / golden.sd_eff_w_re_hksj, len(errors) - 1)
    assert found.p_value == pytest.approx(p, rel=1e-9)
    reach = stats.t.isf(0.025, len(errors) - 2) * math.sqrt(golden.tau2 + golden.sd_eff_w_re**2)
    assert found.predict_high - found.mean == pytest.approx(reach, rel=1e-9)
    assert found.mean - found.predict_low == pytest.approx(reach, rel=1e-9)


def test_effects_that_agree_have_an_error_all_the_same():
    errors = np.array([1.0, 2.0, 1.5, 0.7])
    effects = np.array([1.0, 1.01, 0.99, 1.0])
    golden = combine_effects(effects, errors**2, method_re="iterated")
    found = pool(effects, errors)
    assert found.tau2 == 0.0
    low, high = golden.conf_int(use_t=True)[1]  # t on the errors alone
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    same = pool([2.0, 2.0], [1.0, 1.0])
    assert same.high - same.low == pytest.approx(2 * stats.t.isf(0.025, 1) / math.sqrt(2))


@settings(deadline=None)
@given(sets, st.sampled_from([0.01, 0.05, 0.2]))
def test_interval_and_p_value_agree(pairs, alpha):
    y, e = np.array(pairs).T
    found = pool(y, e, alpha)
    if abs(found.p_value - alpha) > 1e-9:
        assert (found.p_value < alpha) == (not found.low <= 0.0 <= found.high)
    assert found.low <= found.mean <= found.high


def test_few_experiments_have_defined_answers():
    assert pool([], []).note == NOTHING
    assert pool([math.nan, 1.0], [1.0, 0.0]).mean is None
    one = pool([3.0, None], [1.5, 1.0])
    assert (one.k, one.note, one.mean, one.std_error) == (1, ONE, 3.0, 1.5)
    assert one.high == pytest.approx(3.0 + 1.959963984540054 * 1.5)
    assert one.p_value == pytest.approx(2 * stats.norm.sf(2.0))
    assert one.tau2 is None
    two = pool([3.0, 1.0], [1.0, 1.0])
    assert (two.k, two.note, two.predict_low) == (2, TWO, None)
    assert two.high == pytest.approx(2.0 + stats.t.isf(0.025, 1) * 1.0)
    assert pool([3.0, 1.0, 2.0], [1.0, 1.0, 1.0]).note is None


def test_scale_does_not_matter():
    y, e = np.array([1.0, 4.0, -2.0, 3.0]), np.array([1.0, 0.5, 2.0, 1.0])
    one = pool(y, e)
    for scale in (1e-140, 1e-9, 1e9, 1e140):
        found = pool(scale * y, scale * e)
        for name in ("mean", "std_error", "low", "high", "predict_low", "predict_high"):
            assert getattr(found, name) == pytest.approx(scale * getattr(one, name), rel=1e-9)
        assert found.p_value == pytest.approx(one.p_value, rel=1e-9)


def test_discounts():
    y, e = np.array([4.0, 1.0, -1.0, 0.5, math.nan]), np.array([1.0, 1.0, 0.5, 1.0, 1.0])
    found, same = discounted(y, e, 0.1), shrink(y, e, 0.1)
    assert found.estimate == pytest.approx(same.estimate, nan_ok=True)
    assert found.mean < found.estimate[0] < 4.0
    for k in (1, 2):
        few = discounted(y[:k], e[:k])
        assert few.note == NOT_SHRUNK
        assert few.estimate == pytest.approx(y[:k])
        assert few.high == pytest.approx(y[:k] + 1.959963984540054 * e[:k])
    assert discounted([], []).note == NOTHING


def test_wrong_arguments():
    with pytest.raises(ValueError, match="equal rows"):
        pool([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="alpha"):
        pool([1.0], [1.0], alpha=1.0)
