"""Adjustments against statsmodels; intervals that agree with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from retention_lab.multiplicity import benjamini_hochberg, holm, simultaneous_alpha


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
