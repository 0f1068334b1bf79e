"""Restricted means equal R's, and are refused where nobody was observed for so long."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import case, counts_of, made_by_r
from scipy import special
from statsmodels.duration.survfunc import SurvfuncRight

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.intervals import NO_VARIANCE
from retention_lab.survival.rmst import (
    NOBODY,
    ZERO_MEAN,
    check_tau,
    difference,
    largest_tau,
    ratio,
    rmst,
)
from retention_lab.survival.steps import grid, steps_of

R = made_by_r()
CASES = [
    "rmst_lung_sex_tau180",
    "rmst_lung_sex_tau365",
    "rmst_lung_sex_tau700",
    "rmst_waltons_tau10",
    "rmst_waltons_tau60",
]


@pytest.mark.parametrize("name", CASES)
def test_restricted_means_and_their_contrasts_equal_rs(name):
    inputs, expected, data = case(name)
    arrays = (data[inputs["duration"]], data[inputs["event"]].astype(int), data[inputs["group"]])
    stop, event, group = arrays
    rows = LifeTable.of(stop, event, group=group)
    stop, event, group, n = counts_of(*arrays)
    found = []
    for table in (rows, LifeTable.of(stop, event, n, group=group)):
        groups = grid(table, "group")
        first, second = (rmst(groups.steps(i), inputs["tau"]) for i in (0, 1))
        diff, over = difference(second, first), ratio(second, first)
        found.append(
            {
                "rmst": [first.estimate, second.estimate],
                "se": [first.std_error, second.std_error],
                "diff": diff.estimate,
                "diff_se": diff.std_error,
                "diff_lower": diff.low,
                "diff_upper": diff.high,
                "diff_p": diff.p_value,
                "ratio": over.estimate,
                "ratio_lower": over.low,
                "ratio_upper": over.high,
            }
        )
    for key, value in found[0].items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-9, err_msg=key)
        np.testing.assert_allclose(found[1][key], value, rtol=1e-12, err_msg=key)


@pytest.mark.parametrize("i", range(3))
def test_three_groups_on_whole_days_equal_rs(i):
    rows, expected = R["rows"], R["rmst"][i]
    event = (rows["cause"] == 1).astype(int)
    groups = grid(LifeTable.of(rows["day"], event, g=rows["group"]), "g")
    known = [g for g in range(3) if groups.steps(g).time[-1] >= expected["tau"]]
    assert len(known) >= 2
    found = [rmst(groups.steps(g), expected["tau"]) for g in known]
    np.testing.assert_allclose([f.estimate for f in found], expected["rmst"][known], rtol=1e-12)
    np.testing.assert_allclose([f.std_error for f in found], expected["se"][known], rtol=1e-12)


def test_seeded_data_equal_the_area_under_statsmodels_curve():
    rng = np.random.default_rng(1)
    stop, event = rng.integers(0, 60, 300).astype(float), rng.integers(0, 2, 300)
    curve = SurvfuncRight(stop, event)
    tau = 40.0
    inside = curve.surv_times < tau
    edges = np.concatenate([[0.0], curve.surv_times[inside], [tau]])
    area = np.diff(edges) @ np.append(1.0, curve.surv_prob[inside])
    assert rmst(steps_of(stop, event), tau).estimate == pytest.approx(area, rel=1e-12)


units = st.lists(st.tuples(st.integers(0, 9), st.just(1)), min_size=2, max_size=30)


@given(units=units)
@settings(max_examples=100, deadline=None)
def test_without_censoring_it_is_the_mean_of_the_shorter_times(units):
    stop, event = (np.array(x) for x in zip(*units, strict=True))
    found, cut = rmst(steps_of(stop, event), 5), np.minimum(stop, 5)
    assert found.estimate == pytest.approx(cut.mean(), abs=1e-12)
    if found.std_error is not None:
        assert found.std_error == pytest.approx(cut.std() / math.sqrt(len(cut)), abs=1e-9)
    else:
        assert cut.std() == pytest.approx(0.0, abs=1e-9)


def test_the_ratio_has_the_test_of_its_logarithm():
    one, two = (
        rmst(steps_of([1, 2, 5, 6], [1, 1, 1, 0]), 5),
        rmst(steps_of([1, 3, 6], [1, 0, 0]), 5),
    )
    found = ratio(one, two)
    z = math.log(found.estimate) / (found.std_error / found.estimate)
    assert found.p_value == pytest.approx(2 * special.ndtr(-abs(z)))
    assert math.sqrt(found.low * found.high) == pytest.approx(found.estimate)


def test_tau_beyond_the_observation_is_refused_with_the_largest_valid():
    long, short = steps_of([5, 30], [1, 0]), steps_of([4, 20], [1, 0])
    with pytest.raises(DataError, match=r"tau is 25, .* in 'c10': the largest valid tau is 20"):
        check_tau(25, {("none",): long, ("c10",): short})
    check_tau(20, {("none",): long, ("c10",): short})
    with pytest.raises(DataError, match="the largest valid tau is 20"):
        rmst(short, 20.5)
    assert rmst(short, 20).estimate == pytest.approx(4 + 16 / 2)


def test_the_largest_tau_follows_the_groups_that_are_not_down_to_0():
    censored, ended = steps_of([4, 20], [1, 0]), steps_of([3, 9], [1, 1])
    tied = steps_of([3, 9, 9], [1, 1, 0])
    assert largest_tau({"a": censored, "b": ended}) == 20
    assert largest_tau({"b": ended}) == math.inf
    assert largest_tau({"a": censored, "b": tied}) == 9
    assert largest_tau({"a": steps_of([], [])}) == math.inf
    assert rmst(ended, 9).estimate == rmst(ended, 99).estimate == 6
    check_tau(15, {"a": censored, "b": ended})


def test_no_events_nobody_and_everybody_at_once():
    nobody, quiet = rmst(steps_of([], []), 5), rmst(steps_of([9, 9], [0, 0]), 5)
    at_once = rmst(steps_of([0, 0], [1, 1]), 5)
    assert (at_once.estimate, at_once.note) == (0, NO_VARIANCE)
    assert ratio(quiet, at_once).note == ZERO_MEAN
    assert (nobody.estimate, nobody.note) == (None, NOBODY)
    assert (quiet.estimate, quiet.std_error, quiet.note) == (5, None, NO_VARIANCE)
    assert difference(quiet, nobody).note == NOBODY
    assert ratio(nobody, quiet).note == NOBODY
    assert difference(quiet, quiet).note == NO_VARIANCE
    some = rmst(steps_of([2, 9, 9], [1, 0, 0]), 5)
    assert difference(some, quiet).std_error == pytest.approx(some.std_error)
    assert ratio(quiet, quiet).note == NO_VARIANCE


def test_only_a_positive_tau_makes_sense():
    for tau in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="positive"):
            rmst(steps_of([1, 2], [1, 0]), tau)
