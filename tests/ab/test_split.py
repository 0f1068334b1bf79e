"""Sample ratio and levels by arm: against scipy, and with an arm that is not there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from retention_lab.ab.split import same_levels, sample_ratio


def test_sample_ratio_is_scipys_chi_square():
    counts = {"a": 5021, "b": 4890, "c": 2405}
    shares = {"a": 2, "b": 2, "c": 1}
    awaited = np.array([2, 2, 1]) / 5 * sum(counts.values())
    chi2, p = stats.chisquare(list(counts.values()), awaited)
    found = sample_ratio(counts, shares)
    assert (found.chi2, found.p_value, found.df) == (pytest.approx(chi2), pytest.approx(p), 2)


def test_hillstroms_sample_ratio(golden):
    counts = golden["hillstrom_arm_means"]["n"]
    found = sample_ratio(counts, dict.fromkeys(counts, 1.0))
    assert found.chi2 == pytest.approx(golden["hillstrom_srm"]["chi2"], rel=1e-12)
    assert found.p_value == pytest.approx(golden["hillstrom_srm"]["p"], rel=1e-12)


def test_an_absent_arm_counts_as_zero_units():
    found = sample_ratio({"a": 1000, "b": 1000}, {"a": 1, "b": 1, "c": 1})
    assert found.chi2 == pytest.approx(1000.0)
    assert found.p_value < 1e-200


def test_a_split_without_units_is_refused():
    with pytest.raises(ValueError, match="two arms and one unit"):
        sample_ratio({}, {"a": 1, "b": 1})


def test_levels_by_arm_are_scipys_contingency_test():
    table = [[120, 80, 40], [90, 130, 35]]
    chi2, p, df, _ = stats.chi2_contingency(table, correction=False)
    found = same_levels(table)
    assert (found.chi2, found.p_value, found.df) == (pytest.approx(chi2), pytest.approx(p), df)


def test_levels_without_units_do_not_count():
    assert same_levels([[10, 0, 5], [8, 0, 6]]).df == 1
    assert same_levels([[10, 0], [8, 0]]) is None
    assert same_levels([[10, 3], [0, 0]]) is None
    assert same_levels([]) is None
