"""Curves equal R's survfit to the last digit given, from rows as from counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import case, counts_of, made_by_r
from statsmodels.duration.survfunc import SurvfuncRight

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.curves import (
    ALL_HAD_IT,
    BEYOND,
    NO_EVENT_YET,
    NOBODY,
    difference_at,
    fleming_harrington,
    hazard_by_day,
    kaplan_meier,
    nelson_aalen,
)
from retention_lab.survival.intervals import NO_VARIANCE, limits
from retention_lab.survival.steps import grid, steps_of

TWELVE_DIGITS = 1e-11
SAME = {"rtol": 1e-12, "atol": 1e-13}
KINDS = ("log-log", "log", "plain")
R = made_by_r()
ROWS = R["rows"]
DAY, EVENT = ROWS["day"], (ROWS["cause"] == 1).astype(int)


def table(inputs, data, compressed):
    stop, event = data[inputs["duration"]], data[inputs["event"]].astype(int)
    group = data[inputs["group"]] if "group" in inputs else np.zeros(len(stop))
    n = data[inputs["weights"]].astype(int) if "weights" in inputs else np.ones(len(stop), int)
    if compressed:
        stop, event, group, n = counts_of(stop, event, group, n=n)
    else:
        stop, event, group = (np.repeat(a, n) for a in (stop, event, group))
        n = None
    return LifeTable.of(stop, event, n, group=group)


CASES = [
    "km_lung_log-log",
    "km_lung_log",
    "km_lung_plain",
    "km_lung_by_sex",
    "km_rossi",
    "km_waltons_by_group",
    "km_waltons_compressed_freq_weights",
    "km_zero_time",
    "km_retention20k_cohort",
]


@pytest.mark.parametrize("name", CASES)
def test_kaplan_meier_equals_rs(name):
    inputs, expected, data = case(name)
    kind = next((k for k in KINDS if name.endswith(f"_{k}")), "log-log")
    found = {}
    for compressed in (False, True):
        groups = grid(table(inputs, data, compressed), "group")
        curves = [kaplan_meier(groups.steps(i), kind) for i in range(len(groups.labels))]
        points = [c.at(inputs["times"]) for c in curves]
        found[compressed] = {
            "n_risk": np.concatenate([p.at_risk for p in points]),
            "surv": np.concatenate([p.estimate for p in points]),
            "se": np.concatenate([p.std_error for p in points]),
            "lower": np.concatenate([p.low for p in points]),
            "upper": np.concatenate([p.high for p in points]),
        }
        if "quantile" in expected:
            q = curves[0].quantiles(expected["quantile_probs"])
            found[compressed] |= {
                "quantile": q.time,
                "quantile_lower": q.low,
                "quantile_upper": q.high,
            }
    for key, values in found[False].items():
        np.testing.assert_allclose(values, found[True][key], rtol=1e-12, err_msg=key)
        wanted = np.array(expected[key], float)
        np.testing.assert_allclose(values, wanted, rtol=TWELVE_DIGITS, atol=1e-13, err_msg=key)


def test_nelson_aalen_and_fleming_harrington_equal_rs():
    inputs, expected, data = case("na_lung")
    lung = steps_of(data["time"], data["event"].astype(int))
    hazard, error = nelson_aalen(lung).at(inputs["times"])
    survival = fleming_harrington(lung).at(inputs["times"]).estimate
    np.testing.assert_allclose(hazard, expected["cumhaz"], rtol=TWELVE_DIGITS)
    np.testing.assert_allclose(error, expected["se_cumhaz"], rtol=TWELVE_DIGITS)
    np.testing.assert_allclose(survival, expected["fh_surv"], rtol=TWELVE_DIGITS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_every_step_limit_and_quantile_equals_rs(kind, level):
    expected = R["km"][f"{kind} {level:g}"]
    curve = kaplan_meier(steps_of(DAY, EVENT), kind, 1 - level)
    np.testing.assert_array_equal(curve.time, expected["time"])
    np.testing.assert_array_equal(curve.steps.at_risk, expected["n_risk"])
    for key, values in {
        "surv": curve.survival,
        "se": curve.std_error,
        "lower": curve.low,
        "upper": curve.high,
    }.items():
        np.testing.assert_allclose(values, expected[key], **SAME, err_msg=key)
    q = curve.quantiles(expected["p"])
    np.testing.assert_array_equal(q.time, expected["quantile"])
    np.testing.assert_array_equal(q.low, expected["quantile_lower"])
    np.testing.assert_array_equal(q.high, expected["quantile_upper"])


@pytest.mark.parametrize("kind", KINDS)
def test_rs_rules_where_survival_is_0_or_1_or_equals_a_quantile(kind):
    data, expected = R["rules"], R["rules"][kind]
    curve = kaplan_meier(steps_of(data["t"], data["e"].astype(int)), kind)
    q, at = curve.quantiles(expected["p"]), curve.at(expected["at"])
    for key, values in {
        "surv": curve.survival,
        "lower": curve.low,
        "upper": curve.high,
        "quantile": q.time,
        "quantile_lower": q.low,
        "quantile_upper": q.high,
        "at_surv": at.estimate,
        "at_se": at.std_error,
        "at_lower": at.low,
        "at_upper": at.high,
        "at_risk": at.at_risk,
    }.items():
        np.testing.assert_allclose(values, expected[key], **SAME, err_msg=key)
    said = {3.0: NO_EVENT_YET if kind == "log-log" else None, 9.0: None, 14.0: ALL_HAD_IT}
    for time, note in said.items():
        assert at.notes[list(at.time).index(time)] == note


def test_late_entry_equals_rs():
    expected = R["late"]
    curve = kaplan_meier(steps_of(DAY, EVENT, start=ROWS["entry"]))
    np.testing.assert_array_equal(curve.steps.at_risk, expected["n_risk"])
    np.testing.assert_allclose(curve.survival, expected["surv"], **SAME)
    np.testing.assert_allclose(curve.std_error, expected["se"], **SAME)
    np.testing.assert_allclose(curve.low, expected["lower"], **SAME)
    np.testing.assert_allclose(curve.high, expected["upper"], **SAME)


def test_hazards_equal_rs_tied_events_together_or_in_turn():
    expected, s = R["hazard"], steps_of(DAY, EVENT)
    for in_turn, prefix in ((False, "plain"), (True, "in_turn")):
        found = nelson_aalen(s, one_by_one=in_turn)
        np.testing.assert_allclose(found.hazard, expected[prefix], **SAME)
        np.testing.assert_allclose(found.std_error, expected[f"{prefix}_se"], **SAME)
    curve, turns = fleming_harrington(s), fleming_harrington(s, one_by_one=True)
    np.testing.assert_allclose(curve.survival, expected["surv"], **SAME)
    np.testing.assert_allclose(curve.low, expected["surv_lower"], **SAME)
    np.testing.assert_allclose(curve.high, expected["surv_upper"], **SAME)
    np.testing.assert_allclose(turns.survival, expected["surv_in_turn"], **SAME)
    np.testing.assert_allclose(turns.low, expected["lower_in_turn"], **SAME)


def test_the_binomial_variance_of_the_hazard_is_kleins():
    found = nelson_aalen(steps_of([1, 1, 2, 3], [1, 1, 1, 0]), binomial=True)
    by_hand = [2 * 2 / 4**3, 2 * 2 / 4**3 + 1 * 1 / 2**3]
    np.testing.assert_allclose(found.std_error[:2] ** 2, by_hand, rtol=1e-14)


@pytest.mark.parametrize("late", [False, True])
def test_seeded_data_equal_statsmodels(late):
    rng = np.random.default_rng(3)
    stop = rng.integers(1, 60, 500).astype(float)
    event = rng.integers(0, 2, 500)
    start = np.maximum(stop - rng.integers(1, 40, 500), 0.0) if late else None
    reference = SurvfuncRight(stop, event, entry=start)
    curve = kaplan_meier(steps_of(stop, event, start=start))
    at = curve.at(reference.surv_times)
    np.testing.assert_allclose(at.estimate, reference.surv_prob, rtol=1e-12)
    np.testing.assert_allclose(at.at_risk, reference.n_risk, rtol=1e-12)
    known = at.estimate > 0
    np.testing.assert_allclose(at.std_error[known], reference.surv_prob_se[known], rtol=1e-10)
    assert curve.quantiles([0.5]).time[0] == reference.quantile(0.5)


units = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=40)


@given(units=units, copies=st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_weights_are_copies(units, copies):
    stop, event = zip(*units, strict=True)
    one = kaplan_meier(steps_of(stop * copies, event * copies))
    two = kaplan_meier(steps_of(stop, event, n=[copies] * len(stop)))
    np.testing.assert_array_equal(one.survival, two.survival)
    np.testing.assert_array_equal(one.std_error, two.std_error)


@given(units=units)
@settings(max_examples=100, deadline=None)
def test_curves_fall_and_lie_within_their_limits(units):
    stop, event = zip(*units, strict=True)
    for kind in KINDS:
        c = kaplan_meier(steps_of(stop, event), kind)
        assert np.all(np.diff(np.append(1.0, c.survival)) <= 0)
        known = ~np.isnan(c.low)
        assert np.all((c.low[known] >= 0) & (c.low[known] <= c.survival[known] + 1e-15))
        assert np.all((c.high[known] <= 1) & (c.high[known] >= c.survival[known] - 1e-15))


def test_a_difference_is_walds_with_both_variances():
    one = kaplan_meier(steps_of(DAY[EVENT >= 0][:45], EVENT[:45]))
    two = kaplan_meier(steps_of(DAY[45:], EVENT[45:]))
    a, b = one.at([5, 10]), two.at([5, 10])
    for i, d in enumerate(difference_at(one, two, [5, 10])):
        assert d.estimate == pytest.approx(a.estimate[i] - b.estimate[i], abs=1e-15)
        assert d.std_error == pytest.approx(math.hypot(a.std_error[i], b.std_error[i]))
        assert d.high - d.low == pytest.approx(2 * 1.959963984540054 * d.std_error)
        assert (d.p_value < 0.05) == (d.low > 0 or d.high < 0)


def test_a_difference_says_why_it_has_no_error():
    short = kaplan_meier(steps_of([1, 2, 3], [1, 0, 0]))
    gone = kaplan_meier(steps_of([1, 2], [1, 1]))
    none = kaplan_meier(steps_of([], []))
    sure = kaplan_meier(steps_of([9, 9], [0, 0]))
    assert difference_at(short, gone, [9])[0].note == BEYOND
    assert difference_at(short, gone, [2])[0].note == ALL_HAD_IT
    assert difference_at(short, none, [2])[0].note == NOBODY
    assert difference_at(sure, sure, [2])[0].note == NO_VARIANCE
    plain = difference_at(short, sure, [2])[0]
    assert plain.note is None
    assert plain.estimate == pytest.approx(-1 / 3)


def test_after_the_last_time_survival_is_unknown_unless_it_is_0():
    open_ended = kaplan_meier(steps_of([1, 2, 3], [1, 0, 0])).at([2.5, 3, 3.1])
    assert open_ended.estimate[:2].tolist() == [2 / 3, 2 / 3]
    assert math.isnan(open_ended.estimate[2])
    assert open_ended.notes[2] == BEYOND
    ended = kaplan_meier(steps_of([1, 2], [1, 1])).at([5])
    assert (ended.estimate[0], ended.notes[0]) == (0.0, ALL_HAD_IT)
    assert math.isnan(ended.std_error[0])


def test_all_censored_one_event_a_group_of_one_and_nobody():
    censored = kaplan_meier(steps_of([3, 4], [0, 0]))
    assert censored.survival.tolist() == [1, 1]
    assert np.isnan(censored.quantiles().time).all()
    one = kaplan_meier(steps_of([3], [1]))
    assert one.at([3]).estimate.tolist() == [0]
    assert one.quantiles([0.5]).time.tolist() == [3]
    alone = kaplan_meier(steps_of([3], [0])).at([0, 3])
    assert alone.estimate.tolist() == [1, 1]
    nobody = kaplan_meier(steps_of([], []))
    assert nobody.at([1]).notes == (NOBODY,)
    assert np.isnan(nobody.quantiles().time).all()
    assert np.isnan(nelson_aalen(steps_of([], [])).at([1])[0]).all()


def test_a_risk_set_that_is_empty_in_the_middle_changes_nothing():
    gap = kaplan_meier(steps_of([1, 2, 9, 10], [1, 0, 1, 0], start=[-1, -1, 5, 5]))
    assert gap.survival.tolist() == [0.5, 0.5, 0.25, 0.25]
    died_out = kaplan_meier(steps_of([1, 9, 10], [1, 1, 0], start=[-1, 5, 5]))
    assert died_out.survival.tolist() == [0, 0, 0]
    assert np.isnan(died_out.std_error).all()


def test_hazard_by_day_is_a_share_with_wilsons_interval():
    s = steps_of([1, 1, 1, 1, 3, 3], [1, 0, 0, 0, 1, 1])
    found = hazard_by_day(s, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(found.estimate, [0, 1 / 6, 0, 1, np.nan])
    assert found.at_risk.tolist() == [6, 6, 2, 2, 0]
    assert found.notes == (None, None, None, None, BEYOND)
    z2, n, p = 1.959963984540054**2, 6, 1 / 6
    for limit in (found.low[1], found.high[1]):
        assert (p - limit) ** 2 == pytest.approx(z2 * limit * (1 - limit) / n)
    assert found.low[0] == 0.0
    assert found.high[3] == 1.0
    np.testing.assert_array_equal(hazard_by_day(s).time, s.time)


def test_limits_have_no_value_where_their_transformation_has_none():
    for kind, known in (("log-log", [False, True, False]), ("log", [False, True, True])):
        low, high = limits([0.0, 0.5, 1.0], [0.1, 0.1, 0.1], kind, 0.05)
        assert (~np.isnan(low)).tolist() == (~np.isnan(high)).tolist() == known
    low, high = limits([0.0, 0.5, 1.0], [0.1, 0.1, 0.1], "plain", 0.05)
    assert (low[0], high[2]) == (0, 1)


def test_a_time_that_is_nan_has_no_survival():
    curve = kaplan_meier(steps_of([1, 2], [1, 0]))
    assert math.isnan(curve.at([math.nan]).estimate[0])


def test_wrong_arguments_are_refused():
    s = steps_of([1, 2], [1, 0])
    with pytest.raises(ValueError, match="kind must be one of"):
        kaplan_meier(s, "loglog")
    with pytest.raises(ValueError, match="alpha"):
        kaplan_meier(s, alpha=0.0)
    with pytest.raises(ValueError, match="p must lie"):
        kaplan_meier(s).quantiles([1.5])
    with pytest.raises(ValueError, match="binomial"):
        nelson_aalen(s, binomial=True, one_by_one=True)
    with pytest.raises(ValueError, match="kind"):
        limits([0.5], [0.1], "arcsine", 0.05)
