"""Confidence sequences, for looks at any time: against the printed boundary, and by definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from retention_lab.ab import sequential as seq
from retention_lab.ab.sequential import (
    MIN_UNITS,
    confidence_sequence,
    tightest_rho,
)

ALPHA = 0.05


def half_width(n, alpha, rho):
    """Theorem 2.2 of Waudby-Smith et al. (2024) as it is printed, for a standard deviation of 1."""
    return math.sqrt(
        2 * (n * rho**2 + 1) / (n * n * rho**2) * math.log(math.sqrt(n * rho**2 + 1) / alpha)
    )


def sequence(z, n, target=5000.0, alpha=ALPHA, **kwargs):
    """A confidence sequence of looks with these z values."""
    error = 1 / np.sqrt(n)
    return confidence_sequence(np.asarray(z) * error, error, n, alpha, target, **kwargs)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.2])
@pytest.mark.parametrize("target", [1000.0, 54_321.0])
def test_rho_makes_the_bound_tightest_at_the_target(alpha, target):
    rho = tightest_rho(alpha, target)
    # The squared width is a smooth function of log rho, whose minimum a search finds by itself.
    found = optimize.minimize_scalar(
        lambda log_rho: half_width(target, alpha, math.exp(log_rho)),
        bounds=(math.log(rho) - 3, math.log(rho) + 3),
        options={"xatol": 1e-10},
    )
    assert half_width(target, alpha, rho) <= found.fun * (1 + 1e-14)
    assert math.exp(found.x) == pytest.approx(rho, rel=1e-6)
    u = 1 + target * rho * rho
    assert u - math.log(u) == pytest.approx(1 - 2 * math.log(alpha), rel=1e-12)
    assert half_width(target, alpha, rho) * math.sqrt(target) == pytest.approx(math.sqrt(u))


def test_a_confidence_sequence_is_the_printed_boundary():
    n = np.array([1000, 1500, 2200, 50_000])
    sd, estimate = 3.5, np.array([0.1, -0.2, 0.3, 0.05])
    found = confidence_sequence(estimate, sd / np.sqrt(n), n, ALPHA, 20_000)
    half = np.array([sd * half_width(k, ALPHA, tightest_rho(ALPHA, 20_000)) for k in n])
    np.testing.assert_allclose(found.low, estimate - half, rtol=1e-12)
    np.testing.assert_allclose(found.high, estimate + half, rtol=1e-12)
    assert found.notes == (None,) * 4


def test_a_boundary_of_one_look_is_wider_than_the_fixed_one_and_tightest_at_its_target():
    n = np.arange(1000, 200_000, 500)
    critical = sequence(np.zeros(len(n)), n, target=40_000).critical
    assert critical.min() > stats.norm.isf(ALPHA / 2)
    others = [sequence([0.0], [40_000], target=t).critical[0] for t in (20_000, 39_000, 80_000)]
    assert sequence([0.0], [40_000], target=40_000).critical[0] < min(others)


@settings(max_examples=100, deadline=None)
@given(
    z=st.floats(0, 12),
    n=st.floats(MIN_UNITS, 1e7),
    target=st.floats(100, 1e7),
)
def test_the_p_value_is_the_alpha_whose_boundary_is_met(z, n, target):
    p = float(sequence([z], [n], target=target).p_at_look[0])
    rho = tightest_rho(ALPHA, target)
    if p == 1.0:
        assert z <= half_width(n, 1 - 1e-12, rho) * math.sqrt(n) + 1e-9
    else:
        assert half_width(n, p, rho) * math.sqrt(n) == pytest.approx(z, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), effect=st.sampled_from([0.0, 0.02, -0.05]))
def test_p_values_and_bounds_of_a_sequence_agree(seed, effect):
    rng = np.random.default_rng(seed)
    n = np.cumsum(rng.integers(1, 900, size=30))
    walk = np.cumsum(rng.normal(effect * np.diff(n, prepend=0), np.sqrt(np.diff(n, prepend=0))))
    found = confidence_sequence(walk / n, 1 / np.sqrt(n), n, ALPHA, 9000)
    given_ = ~np.isnan(found.low)
    np.testing.assert_array_equal(given_, n >= MIN_UNITS)
    excluded = (found.low > 0) | (found.high < 0)
    np.testing.assert_array_equal(excluded[given_], found.p_at_look[given_] < ALPHA)
    np.testing.assert_array_equal(
        np.logical_or.accumulate(excluded)[given_], found.p_value[given_] < ALPHA
    )
    assert np.all(np.diff(found.p_value[given_]) <= 0)
    assert np.all(np.diff(found.low_so_far[given_]) >= 0)
    assert np.all(np.diff(found.high_so_far[given_]) <= 0)


def test_an_empty_intersection_is_no_bound_from_there_on_and_says_so():
    found = sequence([6.0, 2.5, -9.0, -9.0, 0.0], [2000, 3000, 4000, 5000, 6000])
    assert found.notes == (None, None, seq.CONTRADICTION, seq.CONTRADICTION, seq.CONTRADICTION)
    assert np.isnan(found.low_so_far[2:]).all()
    assert np.isnan(found.high_so_far[2:]).all()
    assert np.isfinite(found.low).all()
    assert found.p_value[-1] == min(found.p_at_look) < 1e-6
    last = found.looks()[-1]
    assert (last.low, last.high, last.note) == (None, None, seq.CONTRADICTION)
    assert found.looks(so_far=False)[-1].low == found.low[-1]


def test_looks_without_an_error_or_with_few_units_have_no_bounds_and_do_not_end_the_rest():
    estimate = [1.0, 0.1, math.nan, 0.1, math.inf, 0.1, 0.1, 1e308]
    error = [0.1, 0.01, 0.01, 0.0, 0.01, math.nan, 0.01, 1e308]
    n = [MIN_UNITS - 1, MIN_UNITS, 2000, 2100, 2200, 2300, 2400, 2500]
    found = confidence_sequence(estimate, error, n, ALPHA, 3000)
    assert found.notes == (
        seq.TOO_EARLY,
        None,
        seq.NO_ERROR,
        seq.NO_VARIANCE,
        seq.NOT_FINITE,
        seq.NO_ERROR,
        None,
        seq.NOT_FINITE,
    )
    known = [note is None for note in found.notes]
    for values in (found.low, found.high, found.p_at_look, found.critical):
        np.testing.assert_array_equal(np.isfinite(values), known)
    assert math.isnan(found.p_value[0])
    assert found.p_value[2] == found.p_value[1]
    first, second = found.looks()[:2]
    assert (first.low, first.p_value, first.note) == (None, None, seq.TOO_EARLY)
    assert (second.estimate, second.low) == (0.1, found.low[1])


def test_nasty_sizes_of_looks_have_an_answer():
    assert len(confidence_sequence([], [], [], ALPHA, 100).low) == 0
    assert confidence_sequence([0.0], [1.0], [0], ALPHA, 100, min_units=0).notes[0] == seq.TOO_EARLY
    for n in (math.nan, math.inf):
        assert confidence_sequence([0.0], [1.0], [n], ALPHA, 100).notes[0] is not None
    assert confidence_sequence([1e200], [1e-200], [5000], ALPHA, 100).p_value[0] == 0.0
    tiny = confidence_sequence([0.0, 0.0], [1.0, 1.0], [5000, 5000], 1e-90, 1e12)
    assert np.isfinite(tiny.low).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [1.0, 2.0], [5, 6], ALPHA, 9), "one estimate, one error"),
        (([[0.0]], [[1.0]], [[5]], ALPHA, 9), "one estimate, one error"),
        (([0.0, 0.0], [1.0, 1.0], [6, 5], ALPHA, 9), "must not fall"),
        (([0.0], [-1.0], [5], ALPHA, 9), "not negative"),
        (([0.0], [1.0], [5], 0.0, 9), "alpha"),
        (([0.0], [1.0], [5], 1.0, 9), "alpha"),
        (([0.0], [1.0], [5], ALPHA, 0), "target"),
    ],
)
def test_wrong_arguments_of_a_sequence_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        confidence_sequence(*arguments)


def test_results_are_frozen():
    found = sequence([0.0], [5000])
    with pytest.raises(AttributeError):
        found.low = np.zeros(1)
