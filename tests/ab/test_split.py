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


def test_a_rare_level_of_a_small_arm_has_fishers_p():
    """Chi-square says 1e-8 of one missing value that happens to be in the arm of 1%."""
    table = [[9898, 2], [99, 1]]
    found = same_levels(table)
    assert found.p_value == pytest.approx(stats.fisher_exact(table)[1], rel=1e-9)
    assert stats.chi2_contingency(table, correction=False)[1] < 1e-4 < 0.02 < found.p_value
    mirrored = same_levels([r[::-1] for r in table[::-1]])
    assert mirrored.p_value == pytest.approx(found.p_value, rel=1e-12)


def test_of_several_arms_the_least_exact_p_counts_for_all():
    table = [[5000, 0], [5000, 0], [96, 4]]
    alone = [
        stats.fisher_exact([r, np.sum([o for o in table if o is not r], axis=0)])[1] for r in table
    ]
    assert same_levels(table).p_value == pytest.approx(3 * min(alone), rel=1e-6)


def test_rare_levels_count_as_one():
    common, rare = [[900, 700], [420, 380]], [[3, 2, 1, 9], [0, 2, 1, 4]]
    table = [c + r for c, r in zip(common, rare, strict=True)]
    merged = [[900, 715], [420, 387]]
    theirs = stats.chi2_contingency(merged, correction=False)
    found = same_levels(table)
    assert (found.chi2, found.df) == (pytest.approx(theirs[0]), 1)
    enough = [[900, 700, 40], [420, 380, 30]]
    assert same_levels(enough).df == 2


def test_rare_levels_in_one_arm_alone_are_found():
    assert same_levels([[4000, *[0] * 30], [3970, *[1] * 30]]).p_value < 1e-6


@pytest.mark.parametrize(("missing", "share"), [(3, 0.01), (3, 0.1), (10, 0.01), (100, 0.01)])
def test_values_that_are_rarely_missing_are_not_called_uneven(missing, share):
    rng, units, called = np.random.default_rng(1), 10_000, 0
    for _ in range(4000):
        small = rng.binomial(units, share)
        gone = rng.hypergeometric(missing, units - missing, small)
        table = [[units - small - missing + gone, missing - gone], [small - gone, gone]]
        found = same_levels(table)
        called += found is not None and found.p_value < 0.001
    assert called <= 12  # 4 or fewer are expected; chi-square calls 18 to 120
