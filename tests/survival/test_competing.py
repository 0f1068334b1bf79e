"""Cumulative incidence equals R's multi-state survfit, and a simple proportion where it should."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import case, counts_of, made_by_r
from statsmodels.duration.survfunc import CumIncidenceRight

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.competing import (
    CERTAIN,
    NONE_YET,
    cumulative_incidence,
    difference_at,
)
from retention_lab.survival.curves import BEYOND, NOBODY, kaplan_meier
from retention_lab.survival.intervals import NO_VARIANCE
from retention_lab.survival.steps import grid, steps_of

R = made_by_r()
ROWS = R["rows"]
CAUSE = ROWS["cause"].astype(int)


def grids(data, inputs):
    """The counts by group from the rows, and from their counts."""
    arrays = [data[inputs["duration"]], data[inputs["event"]].astype(int)]
    arrays.append(data[inputs["group"]] if "group" in inputs else np.zeros(len(arrays[0])))
    stop, cause, group = arrays
    yield grid(LifeTable.of(stop, cause, causes=("pcm", "death"), group=group), "group")
    stop, cause, group, n = counts_of(*arrays)
    yield grid(LifeTable.of(stop, cause, n, causes=("pcm", "death"), group=group), "group")


@pytest.mark.parametrize("name", ["aj_mgus2_log-log", "aj_mgus2_by_sex"])
def test_aalen_johansen_equals_rs(name):
    inputs, expected, data = case(name)
    found = []
    for groups in grids(data, inputs):
        by_cause = {}
        for cause, label in ((1, "pcm"), (2, "death")):
            at = [
                cumulative_incidence(groups.steps(i), cause).at(inputs["times"])
                for i in range(len(groups.labels))
            ]
            for key, field in {
                "cif": "estimate",
                "se": "std_error",
                "lower": "low",
                "upper": "high",
            }.items():
                by_cause[f"{key}_{label}"] = np.concatenate([getattr(p, field) for p in at])
            by_cause["n_risk"] = np.concatenate([p.at_risk for p in at])
        found.append(by_cause)
    for key, values in found[0].items():
        np.testing.assert_allclose(found[1][key], values, rtol=1e-12, err_msg=key)
        if key in expected:
            np.testing.assert_allclose(values, expected[key], rtol=1e-10, err_msg=key)


@pytest.mark.parametrize("kind", ["log-log", "log", "plain"])
@pytest.mark.parametrize("cause", [1, 2])
def test_every_step_error_and_limit_equals_rs(kind, cause):
    expected = R["aj"][kind]
    found = cumulative_incidence(steps_of(ROWS["day"], CAUSE, causes=2), cause, kind)
    np.testing.assert_array_equal(found.time, expected["time"])
    for key, values in {
        "pstate": found.incidence,
        "se": found.std_error,
        "lower": found.low,
        "upper": found.high,
    }.items():
        wanted = np.array(expected[key][cause - 1], float)
        np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=1e-14, err_msg=key)


def test_seeded_data_equal_statsmodels():
    rng = np.random.default_rng(9)
    stop, cause = rng.integers(1, 40, 400).astype(float), rng.integers(0, 4, 400)
    reference = CumIncidenceRight(stop, cause)
    s = steps_of(stop, cause, causes=3)
    for k in (1, 2, 3):
        at = cumulative_incidence(s, k).at(reference.times)
        np.testing.assert_allclose(at.estimate, reference.cinc[k - 1], rtol=1e-12)


def test_one_cause_is_one_less_the_kaplan_meier_curve():
    s = steps_of(ROWS["day"], CAUSE > 0)
    curve, found = kaplan_meier(s), cumulative_incidence(s)
    np.testing.assert_allclose(found.incidence, 1 - curve.survival, rtol=1e-12)
    known = curve.survival > 0
    np.testing.assert_allclose(found.std_error[known], curve.std_error[known], rtol=1e-12)


units = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), min_size=1, max_size=40)


@given(units=units, copies=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_causes_and_event_free_add_up_to_1_and_weights_are_copies(units, copies):
    stop, cause = zip(*units, strict=True)
    s = steps_of(stop, cause, n=[copies] * len(stop), causes=2)
    parts = [cumulative_incidence(s, k) for k in (1, 2)]
    whole = sum(p.incidence for p in parts) + parts[0].event_free
    np.testing.assert_allclose(whole, 1.0, rtol=1e-12)
    again = cumulative_incidence(steps_of(stop * copies, cause * copies, causes=2))
    np.testing.assert_array_equal(again.std_error, parts[0].std_error)


@given(units=units.filter(lambda u: all(c for _, c in u)))
@settings(max_examples=100, deadline=None)
def test_without_censoring_it_is_the_share_with_the_binomial_error(units):
    stop, cause = (np.array(x) for x in zip(*units, strict=True))
    found = cumulative_incidence(steps_of(stop, cause, causes=2)).at([4])
    share = np.mean((stop <= 4) & (cause == 1))
    assert found.estimate[0] == pytest.approx(share, abs=1e-12)
    assert found.std_error[0] ** 2 == pytest.approx(share * (1 - share) / len(stop), abs=1e-12)


def test_the_error_is_the_spread_of_simulated_estimates_with_late_entry():
    rng = np.random.default_rng(4)
    estimates, errors = [], []
    for _ in range(400):
        day = rng.geometric(0.08, 300).astype(float)
        cause, entry = rng.integers(1, 3, 300), rng.integers(-1, 6, 300).astype(float)
        end = rng.integers(10, 25, 300)
        cause = np.where(day > end, 0, cause)
        s = steps_of(np.minimum(day, end), cause, start=entry, causes=2)
        at = cumulative_incidence(s).at([8])
        estimates.append(at.estimate[0])
        errors.append(at.std_error[0])
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.12)  # 3.4 of its MC errors


def test_a_difference_is_walds_or_says_why_not():
    half = [CAUSE[:45], CAUSE[45:]]
    one, two = (
        cumulative_incidence(steps_of(d, c, causes=2))
        for d, c in zip((ROWS["day"][:45], ROWS["day"][45:]), half, strict=True)
    )
    (found,) = difference_at(one, two, [10])
    a, b = one.at([10]), two.at([10])
    assert found.estimate == pytest.approx(a.estimate[0] - b.estimate[0])
    assert found.std_error == pytest.approx(math.hypot(a.std_error[0], b.std_error[0]))
    nobody = cumulative_incidence(steps_of([], [], causes=2))
    assert difference_at(one, nobody, [10])[0].note == NOBODY
    assert difference_at(one, two, [99])[0].note == BEYOND
    assert difference_at(one, one, [-1])[0].note == NO_VARIANCE


def test_none_yet_everybody_and_follow_up_that_ended_are_said():
    s = steps_of([2, 5, 6], [2, 1, 0], causes=2)
    at = cumulative_incidence(s).at([1, 2, 5, 7])
    assert at.notes == (None, NONE_YET, None, BEYOND)
    assert at.estimate[:3].tolist() == pytest.approx([0, 0, 1 / 3])
    assert math.isnan(at.estimate[3])
    everybody = cumulative_incidence(steps_of([2, 2], [1, 1])).at([9])
    assert (everybody.estimate[0], everybody.notes[0]) == (1.0, CERTAIN)
    died_out = cumulative_incidence(steps_of([2, 4], [1, 2], causes=2)).at([9])
    assert died_out.estimate.tolist() == [0.5]
    assert cumulative_incidence(steps_of([], [], causes=2)).at([1]).notes == (NOBODY,)
    gap = cumulative_incidence(steps_of([1, 9, 10], [1, 1, 2], start=[-1, 5, 5], causes=2))
    assert gap.incidence.tolist() == [1, 1, 1]
    assert np.isfinite(gap.std_error).all()


def test_an_unknown_cause_is_refused():
    with pytest.raises(ValueError, match="cause 3"):
        cumulative_incidence(steps_of([1], [1], causes=2), 3)
