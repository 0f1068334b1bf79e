"""Holm against statsmodels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from retention_lab.ab.multiplicity import holm


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected), rel=1e-12, abs=1e-300)


@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_missing_p_values_stay_missing_and_are_not_counted(p_values):
    adjusted = holm(p_values)
    known = [p for p in p_values if p is not None]
    assert [p is None for p in adjusted] == [p is None for p in p_values]
    assert [p for p in adjusted if p is not None] == holm(known)
