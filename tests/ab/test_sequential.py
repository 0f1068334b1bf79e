"""Boundaries of planned looks: against published tables, the normal integral, and by definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retention_lab.ab import sequential as seq
from retention_lab.ab.sequential import (
    KINDS,
    MIN_STEP,
    boundaries,
    crossing,
    repeated_intervals,
    spending,
)

ALPHA = 0.05
FIFTHS = np.arange(1, 6) / 5
UNEQUAL = np.array([0.1, 0.35, 0.4, 0.85])


def test_spending_functions_are_those_of_lan_and_demets():
    t = np.linspace(0, 1.5, 16)
    capped = np.minimum(t, 1)
    one_side = 2 * stats.norm.sf(stats.norm.isf(ALPHA / 4) / np.sqrt(np.maximum(capped, 1e-300)))
    np.testing.assert_allclose(spending(t, ALPHA, "obrien_fleming"), 2 * one_side, rtol=1e-12)
    pocock = ALPHA * np.log(1 + (math.e - 1) * capped)
    np.testing.assert_allclose(spending(t, ALPHA, "pocock"), pocock, rtol=1e-12)
    for kind in KINDS:
        assert spending(0.0, ALPHA, kind) == 0.0
        assert spending(1.0, ALPHA, kind) == pytest.approx(ALPHA, rel=1e-12)
        assert np.all(np.diff(spending(capped[:11], ALPHA, kind)) > 0)


# Five equal looks, two-sided 5%: what the packages rpact (asOF, asP), gsDesign (sfLDOF, sfLDPocock)
# and the program ld98 (Reboussin et al. 2000) give.
PUBLISHED = {
    "obrien_fleming": [4.8769, 3.3569, 2.6803, 2.2898, 2.0310],
    "pocock": [2.4380, 2.4268, 2.4101, 2.3966, 2.3859],
}


@pytest.mark.parametrize("kind", KINDS)
def test_boundaries_of_five_equal_looks_are_the_published_ones(kind):
    found = boundaries(FIFTHS, ALPHA, kind)
    # The last digit is cut in some places and rounded in others.
    np.testing.assert_allclose(found.critical, PUBLISHED[kind], rtol=0, atol=1.2e-4)
    np.testing.assert_allclose(found.spent, spending(FIFTHS, ALPHA, kind), rtol=1e-12)


# Jennison and Turnbull (2000), tables 2.1 and 2.3: constants of Pocock's and O'Brien and Fleming's
# own tests at K equal looks, two-sided 5%.
@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    [
        (2, 2.178, 1.977),
        (3, 2.289, 2.004),
        (4, 2.361, 2.024),
        (5, 2.413, 2.040),
        (10, 2.555, 2.087),
    ],
)
def test_constants_of_the_classic_tests_spend_five_per_cent(looks, pocock, obrien_fleming):
    t = np.arange(1, looks + 1) / looks
    for constant, shape in ((pocock, np.ones(looks)), (obrien_fleming, 1 / np.sqrt(t))):
        ends = [crossing(t, (constant + d) * shape).sum() for d in (-5e-4, 5e-4)]
        assert ends[0] > ALPHA > ends[1]


# Points of scipy's integration, and the error that they leave.
POINTS = pytest.mark.parametrize(
    ("points", "error"),
    [(300_000, 2e-5), pytest.param(4_000_000, 1e-6, marks=pytest.mark.slow)],
    ids=["fast", "slow"],
)


def stays(points, t, critical, drift=0.0):
    """P(no crossing up to the last look) by scipy's integration of the multivariate normal."""
    t, critical = np.asarray(t), np.asarray(critical)
    covariance = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    normal = stats.multivariate_normal(
        drift * np.sqrt(t), covariance, maxpts=points, abseps=1e-8, releps=1e-8, seed=1
    )
    return float(normal.cdf(critical, lower_limit=-critical))


@POINTS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fractions", [FIFTHS, UNEQUAL], ids=["equal", "unequal"])
def test_boundaries_spend_what_they_say_by_the_multivariate_normal(kind, fractions, points, error):
    found = boundaries(fractions, ALPHA, kind)
    for k in (2, len(fractions)):
        out = 1 - stays(points, fractions[:k], found.critical[:k])
        assert out == pytest.approx(float(found.spent[k - 1]), abs=error)


@POINTS
@pytest.mark.parametrize("drift", [0.0, 1.5, -3.0])
def test_crossing_is_the_multivariate_normals_probability(drift, points, error):
    critical = np.array([3.0, 2.1, 2.8, 1.9])
    found = np.cumsum(crossing(UNEQUAL, critical, drift))
    for k in (2, 4):
        assert found[k - 1] == pytest.approx(
            1 - stays(points, UNEQUAL[:k], critical[:k], drift), abs=error
        )


def test_the_integration_is_exact_to_ten_digits(monkeypatch):
    cases = [FIFTHS, UNEQUAL, np.arange(1, 31) / 30, np.array([0.3, 0.301, 0.302, 0.9, 1.0])]
    coarse = [boundaries(t, ALPHA, kind).critical for t in cases for kind in KINDS]
    x, weight = np.polynomial.legendre.leggauss(40)
    monkeypatch.setattr(seq, "_X", x)
    monkeypatch.setattr(seq, "_WEIGHT", weight)
    monkeypatch.setattr(seq, "_PANEL", 2.0)
    fine = [boundaries(t, ALPHA, kind).critical for t in cases for kind in KINDS]
    for a, b in zip(coarse, fine, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.floats(0.002, 1.0), min_size=1, max_size=8),
    reach=st.floats(0.2, 1.0),
    alpha=st.floats(1e-4, 0.5),
    kind=st.sampled_from(KINDS),
)
def test_boundaries_and_crossing_are_each_others_inverse(steps, reach, alpha, kind):
    t = np.cumsum(steps) / np.sum(steps) * reach
    if np.diff(t, prepend=0.0).min() < MIN_STEP:
        return
    found = boundaries(t, alpha, kind)
    np.testing.assert_allclose(np.cumsum(crossing(t, found.critical)), found.spent, atol=1e-10)
    np.testing.assert_allclose(found.spent, spending(t, alpha, kind), atol=1e-12)


def test_one_look_at_the_end_is_the_ordinary_test():
    for kind in KINDS:
        found = boundaries([1.0], ALPHA, kind)
        assert found.critical[0] == pytest.approx(stats.norm.isf(ALPHA / 2), rel=1e-12)


def test_power_of_one_look_is_the_ordinary_power():
    z = stats.norm.isf(ALPHA / 2)
    power = stats.norm.sf(z - 2.8) + stats.norm.cdf(-z - 2.8)
    assert crossing([1.0], [z], 2.8).sum() == pytest.approx(power, rel=1e-12)


def test_an_unfinished_test_keeps_its_alpha_and_over_running_spends_the_rest():
    unfinished = boundaries([0.3, 0.6], ALPHA, "pocock")
    assert unfinished.spent[-1] == pytest.approx(float(spending(0.6, ALPHA, "pocock")))
    assert unfinished.spent[-1] < ALPHA
    with pytest.raises(ValueError, match="over_running"):
        boundaries([0.5, 1.2], ALPHA, "pocock")
    over = boundaries([0.5, 1.2, 1.5], ALPHA, "pocock", over_running=True)
    assert over.spent[1:] == pytest.approx([ALPHA, ALPHA], rel=1e-12)
    assert math.isinf(over.critical[2])
    assert crossing([0.5, 1.2], over.critical[:2]).sum() == pytest.approx(ALPHA, rel=1e-9)


def test_a_look_too_close_to_the_last_spends_nothing_and_leaves_its_share_to_the_next():
    close = boundaries([0.5, 0.5 + MIN_STEP / 2, 1.0], ALPHA, "pocock")
    apart = boundaries([0.5, 1.0], ALPHA, "pocock")
    assert math.isinf(close.critical[1])
    np.testing.assert_allclose(close.critical[[0, 2]], apart.critical, rtol=1e-12)
    assert close.spent[1] == close.spent[0]


def test_a_look_so_early_that_nothing_is_due_has_no_boundary():
    found = boundaries([0.002, 0.5, 1.0], ALPHA, "obrien_fleming")
    assert math.isinf(found.critical[0])
    assert found.spent[0] == 0.0
    np.testing.assert_allclose(
        found.critical[1:], boundaries([0.5, 1.0], ALPHA, "obrien_fleming").critical, rtol=1e-12
    )


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.6, 0.5], [0.0, 1.0], [math.nan], [[0.5]]])
def test_wrong_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="strictly increasing"):
        boundaries(fractions, ALPHA, "pocock")


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="kind"):
        boundaries([1.0], ALPHA, "haybittle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="alpha"):
        boundaries([1.0], 1.0, "pocock")
    with pytest.raises(ValueError, match="0 or more"):
        spending(-0.1, ALPHA, "pocock")
    with pytest.raises(ValueError, match="apart"):
        crossing([0.5, 0.5 + MIN_STEP / 2], [2.0, 2.0])
    with pytest.raises(ValueError, match="one positive z"):
        crossing([0.5, 1.0], [2.0, -2.0])
    with pytest.raises(ValueError, match="n needs one"):
        repeated_intervals([0.0], [1.0], [1.0], ALPHA, "pocock", n=[1, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_intervals_are_the_estimate_and_the_boundary(kind):
    estimate, error = np.array([0.3, 0.25, 0.2, 0.21, 0.2]), 0.1 / np.sqrt(FIFTHS)
    found = repeated_intervals(estimate, error, FIFTHS, ALPHA, kind, n=1000 * FIFTHS)
    critical = boundaries(FIFTHS, ALPHA, kind).critical
    np.testing.assert_allclose(found.low, estimate - critical * error, rtol=1e-12)
    np.testing.assert_allclose(found.high, estimate + critical * error, rtol=1e-12)
    np.testing.assert_allclose(found.critical, critical, rtol=1e-12)
    assert found.n.tolist() == [200, 400, 600, 800, 1000]


@settings(max_examples=25, deadline=None)
@given(
    z=st.lists(st.floats(-6, 6), min_size=1, max_size=4),
    kind=st.sampled_from(KINDS),
)
def test_a_repeated_p_value_is_the_alpha_whose_boundary_is_met(z, kind):
    t = np.array([0.2, 0.5, 0.8, 1.1])[: len(z)]
    error = 1 / np.sqrt(t)
    found = repeated_intervals(np.array(z) * error, error, t, ALPHA, kind)
    for k, p in enumerate(found.p_at_look):
        reach = t[: k + 1]
        if p == 1.0:
            met = boundaries(reach, 1 - 1e-9, kind, over_running=True).critical[-1]
            assert abs(z[k]) <= met + 1e-9
        else:
            met = boundaries(reach, float(p), kind, over_running=True).critical[-1]
            assert met == pytest.approx(abs(z[k]), abs=1e-7)
        assert (p < ALPHA) == (found.low[k] > 0 or found.high[k] < 0)
        assert found.p_value[k] == found.p_at_look[: k + 1].min()


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_alpha_has_a_wider_boundary_at_every_look(kind):
    alphas = np.concatenate([10.0 ** np.arange(-8, -1), np.linspace(0.1, 0.999, 30)])
    for t in (FIFTHS, UNEQUAL):
        critical = np.array([boundaries(t, float(a), kind).critical for a in alphas])
        assert np.all(np.diff(critical, axis=0) < 0)


def test_the_first_p_values_by_their_closed_form():
    z, t = 2.7, 0.4
    found = repeated_intervals([z], [1.0], [t], ALPHA, "pocock").p_value[0]
    assert found == pytest.approx(2 * stats.norm.sf(z) / math.log(1 + (math.e - 1) * t), rel=1e-9)
    last = repeated_intervals([z], [1.0], [1.0], ALPHA, "obrien_fleming").p_value[0]
    assert last == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)


def test_p_values_end_at_their_floor_and_at_one():
    for kind in KINDS:
        found = repeated_intervals([1e300, 0.0], [1e-300, 1.0], [0.5, 1.0], ALPHA, kind)
        assert found.p_at_look.tolist() == [seq.MIN_P, 1.0]
        assert found.p_value.tolist() == [seq.MIN_P, seq.MIN_P]


def test_with_last_p_only_the_last_look_with_a_boundary_has_the_same_p_value():
    z, t = np.array([1.0, 2.5, 2.2, 1.9]), np.array([0.3, 0.6, 1.1, 1.3])
    error = 1 / np.sqrt(t)
    every = repeated_intervals(z * error, error, t, ALPHA, "pocock")
    last = repeated_intervals(z * error, error, t, ALPHA, "pocock", last_p_only=True)
    assert np.isfinite(every.p_at_look).tolist() == [True, True, True, False]
    assert np.isfinite(last.p_at_look).tolist() == [False, False, True, False]
    assert last.p_at_look[2] == every.p_at_look[2]
    np.testing.assert_array_equal(last.low, every.low)


def test_looks_that_cannot_be_used_spend_nothing():
    estimate = [0.1, 0.1, math.nan, 0.1, 0.1, 0.1, 0.1]
    error = [0.1, 0.1, 0.1, 0.0, 0.1, 0.1, 0.1]
    fractions = [0.0, 0.4, 0.5, 0.6, 0.4 + 0.6, 1.1, math.inf]
    found = repeated_intervals(estimate, error, fractions, ALPHA, "pocock")
    assert found.notes == (
        seq.NOT_A_LOOK,
        None,
        seq.NO_ERROR,
        seq.NO_VARIANCE,
        None,
        seq.NOTHING_TO_SPEND,
        seq.NOT_FINITE,
    )
    np.testing.assert_allclose(
        found.critical[[1, 4]], boundaries([0.4, 1.0], ALPHA, "pocock").critical, rtol=1e-12
    )
    assert np.isnan(found.low[[0, 2, 3, 5, 6]]).all()
    assert len(repeated_intervals([], [], [], ALPHA, "pocock").low) == 0
