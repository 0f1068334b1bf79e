"""Adjustments against statsmodels; Dunnett's values against his tables and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from retention_lab.ab.multiplicity import (
    benjamini_hochberg,
    holm,
    many_to_one_critical,
    simultaneous_alpha,
)

EQUAL = math.sqrt(0.5)


@pytest.mark.parametrize(("adjust", "name"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
@settings(max_examples=30, deadline=None)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjustments_are_those_of_statsmodels(adjust, name, p_values):
    expected = multipletests(p_values, method=name)[1]
    assert adjust(p_values) == pytest.approx(list(expected), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@given(p_values=st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_missing_p_values_stay_missing_and_are_not_counted(adjust, p_values):
    adjusted = adjust(p_values)
    known = [p for p in p_values if p is not None]
    assert [p is None for p in adjusted] == [p is None for p in p_values]
    assert [p for p in adjusted if p is not None] == adjust(known)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_false_discovery_rate_asks_for_less_than_holm(p_values):
    for p, found, strict in zip(
        p_values, benjamini_hochberg(p_values), holm(p_values), strict=True
    ):
        assert p * (1 - 1e-12) <= found <= strict * (1 + 1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-6, 6), st.floats(0.1, 3)), min_size=1, max_size=12),
    st.floats(0.001, 0.5),
    st.floats(2, 500),
)
def test_a_simultaneous_interval_that_excludes_zero_is_a_rejection_by_holm(pairs, alpha, df):
    estimates, errors = np.array(pairs).T
    t = stats.t.isf(simultaneous_alpha(alpha, len(pairs)) / 2, df)
    adjusted = holm([float(p) for p in 2 * stats.t.sf(np.abs(estimates / errors), df)])
    for estimate, error, p in zip(estimates, errors, adjusted, strict=True):
        if abs(estimate) > t * error * (1 + 1e-9):
            assert p <= alpha


def test_the_alpha_of_a_family():
    assert simultaneous_alpha(0.05, 4) == 0.0125
    assert simultaneous_alpha(0.05, 1) == simultaneous_alpha(0.05, 0) == 0.05
    for alpha, size in ((0.0, 2), (1.0, 2), (0.05, -1)):
        with pytest.raises(ValueError, match="alpha"):
            simultaneous_alpha(alpha, size)


# Dunnett (1964), Biometrics 20(3), 482-491, two-sided 5% points, equal arms; columns k = 1 .. 5.
TABLE = {
    5: [2.57, 3.03, 3.29, 3.48, 3.62],
    10: [2.23, 2.57, 2.76, 2.89, 2.99],
    20: [2.09, 2.38, 2.54, 2.65, 2.73],
    60: [2.00, 2.27, 2.41, 2.51, 2.58],
    math.inf: [1.96, 2.21, 2.35, 2.44, 2.51],
}


@pytest.mark.parametrize("df", TABLE)
def test_critical_values_are_those_of_dunnetts_table(df):
    found = [many_to_one_critical(df, np.full(k, EQUAL), 0.05) for k in range(1, 6)]
    assert found == pytest.approx(TABLE[df], abs=0.0055)


@pytest.mark.parametrize("df", [3, 40, math.inf])
@pytest.mark.parametrize("rho", [[EQUAL] * 3, [0.2, 0.6, 0.9], [0.95, 0.95, 0.0, 0.4]])
def test_the_value_holds_the_family_at_alpha(df, rho):
    """Against a fine sum over the control's mean and the error, by other variables."""
    found = many_to_one_critical(df, rho, 0.05)
    z = np.linspace(-8.5, 8.5, 201)
    share = (np.arange(4000) + 0.5) / 4000  # quantiles of the error
    s = np.ones(1) if df == math.inf else np.sqrt(stats.chi2.ppf(share, df) / df)
    weight = stats.norm.pdf(z) * (z[1] - z[0])

    def held(c):
        inside = 1.0
        for r in rho:
            rest = math.sqrt(1 - r * r)
            low, high = ((sign * c * s[:, None] - r * z) / rest for sign in (-1, 1))
            inside = inside * (special.ndtr(high) - special.ndtr(low))
        return float((inside @ weight).mean())

    slope = (held(found * 1.01) - held(found)) / (0.01 * found)
    assert abs(held(found) - 0.95) / slope < 2e-4  # 1e-4, and as much for the sum itself


def test_rejections_are_those_of_scipy():
    rng = np.random.default_rng(2)
    groups = [rng.normal(m, 1.0, n) for m, n in ((0.0, 12), (1.2, 9), (0.3, 20), (1.0, 15))]
    golden = stats.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(0))
    interval = golden.confidence_interval(0.95)
    sizes = np.array([len(g) for g in groups])
    rho = np.sqrt((1 / sizes[0]) / (1 / sizes[0] + 1 / sizes[1:]))
    df = sizes.sum() - len(groups)
    pooled = math.sqrt(sum(((g - g.mean()) ** 2).sum() for g in groups) / df)
    difference = np.array([g.mean() for g in groups[1:]]) - groups[0].mean()
    error = pooled * np.sqrt(1 / sizes[0] + 1 / sizes[1:])
    half = many_to_one_critical(df, rho, 0.05) * error
    assert difference + half == pytest.approx(interval.high, abs=3e-3)
    assert difference - half == pytest.approx(interval.low, abs=3e-3)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
    st.floats(1, 1e7),
    st.floats(0.005, 0.3),
)
def test_the_value_lies_between_one_test_and_bonferroni(rho, df, alpha):
    found = many_to_one_critical(df, rho, alpha)
    one, all_of_them = stats.t.isf(np.array([alpha, alpha / len(rho)]) / 2, df)
    assert one - 1e-4 <= found <= all_of_them + 1e-4


def test_wrong_arguments():
    for df, rho, alpha in (
        (0.5, [0.5], 0.05),
        (9, [1.5], 0.05),
        (9, [math.nan], 0.05),
        (9, [0], 1),
    ):
        with pytest.raises(ValueError, match="alpha"):
            many_to_one_critical(df, rho, alpha)
