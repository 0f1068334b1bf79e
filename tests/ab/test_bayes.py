"""Posteriors against closed forms, scipy's multivariate normal, and a large simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from retention_lab.ab.bayes import ALONE, NO_BASELINE, NOT_KNOWN, compare

arms = st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 9)), min_size=2, max_size=6)
priors = st.none() | st.floats(0.01, 100)


def column(found, name):
    return np.array([getattr(p, name) for p in found])


def gaussian(y, v, prior_sd):
    """Mean and covariance of the arms' means by linear algebra on the joint precision."""
    k = len(y)
    precision = np.diag(1 / v)
    if prior_sd is not None:
        precision = precision + (np.eye(k) - np.full((k, k), 1 / k)) / prior_sd**2
    covariance = np.linalg.inv(precision)
    return covariance @ (y / v), covariance


@settings(max_examples=40, deadline=None)
@given(arms, st.none() | st.floats(0.05, 50))
def test_means_and_sds_are_those_of_the_joint_posterior(pairs, prior_sd):
    y, v = np.array(pairs).T
    mean, covariance = gaussian(y, v, prior_sd)
    found = compare(y, v, prior_sd, baseline=1, alpha=0.1)
    assert column(found, "mean") == pytest.approx(mean, rel=1e-6, abs=1e-8)
    assert column(found, "sd") == pytest.approx(np.sqrt(covariance.diagonal()), rel=1e-6)
    gap = np.eye(len(y))[0] - np.eye(len(y))[1]
    sd = math.sqrt(gap @ covariance @ gap)
    assert found[0].difference == pytest.approx(gap @ mean, rel=1e-6, abs=1e-8)
    half = stats.norm.isf(0.05) * sd
    assert found[0].difference_high - found[0].difference == pytest.approx(half, rel=1e-6)
    assert found[0].prob_better == pytest.approx(stats.norm.sf(0, gap @ mean, sd), abs=1e-7)
    assert found[1].difference is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(1e-4, 1e4)), min_size=2, max_size=2), priors)
def test_two_arms_have_closed_forms(pairs, prior_sd):
    y, v = np.array(pairs).T
    one, two = compare(y, v, prior_sd, baseline=1)
    sd = (one.difference_high - one.difference_low) / (2 * stats.norm.isf(0.025))
    z = one.difference / sd
    assert one.prob_best == pytest.approx(one.prob_better, abs=1e-6)
    assert two.prob_best == pytest.approx(1 - one.prob_better, abs=1e-6)
    loss = sd * (stats.norm.pdf(z) - z * stats.norm.sf(z))
    assert one.expected_loss == pytest.approx(loss, abs=1e-6 * max(one.sd, two.sd))
    assert two.expected_loss == pytest.approx(loss + one.difference, abs=1e-6 * max(one.sd, two.sd))


@pytest.mark.parametrize("prior_sd", [None, 0.2, 1.0, 20.0])
@pytest.mark.parametrize("k", [3, 4])
def test_the_chance_to_be_best_is_an_orthant_of_the_differences(k, prior_sd):
    rng = np.random.default_rng(k)
    y, v = rng.normal(size=k), np.exp(rng.normal(scale=2.0, size=k))
    mean, covariance = gaussian(y, v, prior_sd)
    found = compare(y, v, prior_sd)
    for i in range(k):
        to = np.delete(-np.eye(k), i, axis=0)
        to[:, i] = 1.0
        joint = stats.multivariate_normal(
            np.zeros(k - 1), to @ covariance @ to.T, maxpts=2_000_000, abseps=1e-8, releps=1e-8
        )
        assert found[i].prob_best == pytest.approx(joint.cdf(to @ mean), abs=1e-6)


def test_loss_is_that_of_a_plain_quadrature():
    y, sd = np.array([0.0, 0.3, 1.0, 0.9]), np.array([1.0, 0.2, 0.5, 2.0])
    found = compare(y, sd**2)
    for i in range(4):
        others = [j for j in range(4) if j != i]

        def given_up(x, i=i, others=others):
            return stats.norm.cdf(x, y[i], sd[i]) * (
                1 - math.prod(stats.norm.cdf(x, y[j], sd[j]) for j in others)
            )

        points = [-3, -1, 0, 0.3, 1, 2, 4]
        loss = integrate.quad(given_up, -15, 20, points=points, limit=500, epsabs=1e-9)[0]
        assert found[i].expected_loss == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize(("prior_sd", "maximise"), [(None, True), (0.7, True), (0.7, False)])
def test_simulation_agrees(prior_sd, maximise):
    rng, draws = np.random.default_rng(5), 400_000
    y, v = np.array([1.0, 1.2, 0.4, 1.5, 0.9]), np.array([0.1, 0.9, 0.3, 1.5, 0.01])
    mean, covariance = gaussian(y, v, prior_sd)
    truth = mean + rng.standard_normal((draws, 5)) @ np.linalg.cholesky(covariance).T
    won = truth if maximise else -truth
    lost = won.max(axis=1, keepdims=True) - won
    found = compare(y, v, prior_sd, maximise)
    best = column(found, "prob_best")
    share = np.bincount(won.argmax(axis=1), minlength=5) / draws
    assert np.all(np.abs(best - share) < 4.5 * np.sqrt(best * (1 - best) / draws))
    error = lost.std(axis=0) / math.sqrt(draws)
    assert np.all(np.abs(column(found, "expected_loss") - lost.mean(axis=0)) < 4.5 * error)


@settings(max_examples=25, deadline=None)
@given(arms, priors)
def test_chances_add_up_and_losses_differ_as_means_do(pairs, prior_sd):
    y, v = np.array(pairs).T
    found = compare(y, v, prior_sd)
    assert column(found, "prob_best").sum() == pytest.approx(1.0, abs=1e-9)
    assert np.all(column(found, "expected_loss") >= 0.0)
    level = column(found, "mean") + column(found, "expected_loss")  # E max
    assert np.ptp(level) <= 1e-6 * column(found, "sd").max()


@settings(max_examples=25, deadline=None)
@given(arms, priors, st.sampled_from([1e-9, 1e6]))
def test_unit_origin_and_direction_do_not_matter(pairs, prior_sd, scale):
    y, v = np.array(pairs).T
    one = compare(y, v, prior_sd)
    sd = None if prior_sd is None else scale * prior_sd
    for other in (
        compare(scale * (y + 7.0), scale**2 * v, sd),
        compare(-scale * y, scale**2 * v, sd, maximise=False),
    ):
        assert column(other, "prob_best") == pytest.approx(column(one, "prob_best"), abs=1e-7)
        assert column(other, "expected_loss") / scale == pytest.approx(
            column(one, "expected_loss"), abs=1e-6
        )
        assert [p.prob_better for p in other[1:]] == pytest.approx(
            [p.prob_better for p in one[1:]], abs=1e-7
        )


def test_a_flat_prior_shrinks_nothing_and_a_narrow_one_everything():
    y, v = [1.0, 2.0, 5.0], [1.0, 1.0, 4.0]
    flat = compare(y, v)
    assert column(flat, "mean") == pytest.approx(y)
    assert column(flat, "sd") == pytest.approx([1, 1, 2])
    assert column(compare(y, v, 1e9), "prob_best") == pytest.approx(column(flat, "prob_best"))
    narrow = compare(y, v, 1e-9)
    assert column(narrow, "mean") == pytest.approx([17 / 9] * 3)
    assert column(narrow, "sd") == pytest.approx([2 / 3] * 3)
    assert column(narrow, "prob_best") == pytest.approx([1 / 3] * 3, abs=1e-6)


def test_unknown_arms_are_left_out():
    y, v = [1.0, math.nan, 2.0, None, 4.0], [1.0, 1.0, 0.5, 1.0, 0.0]
    found = compare(y, v, 1.0)
    only = compare([1.0, 2.0], [1.0, 0.5], 1.0)
    assert (found[0], found[2]) == only
    assert [found[i].note for i in (1, 3, 4)] == [NOT_KNOWN] * 3
    assert found[1].mean is None
    lost = compare(y, v, 1.0, baseline=1)
    assert lost[0].note == NO_BASELINE
    assert lost[0].prob_best == only[0].prob_best
    assert lost[0].prob_better is None


def test_one_arm_or_none():
    (one,) = compare([2.0], [4.0], 1.0)
    assert (one.note, one.prob_best, one.expected_loss) == (ALONE, None, None)
    assert (one.mean, one.sd) == pytest.approx((2.0, 2.0))
    assert compare([], []) == ()
    assert [p.note for p in compare([math.inf], [1.0])] == [NOT_KNOWN]


@pytest.mark.parametrize("prior_sd", [None, 1e-100, 1e-5, 1.0, 1e5, 1e100])
@pytest.mark.parametrize(
    ("y", "v"),
    [
        ([0.0, 1e20, 3.0], [1.0, 1.0, 1e-30]),
        ([1e140, 0.0, -1e140], [1e280, 1e-280, 1.0]),
        ([1e9, 1e9 + 1e-3], [1e-6, 1e-6]),
        ([0.0, 0.0, 0.0], [1e-280, 1e-280, 1e280]),
        ([0.0, 1.0, 2.0], [1e-22, 1e-22, 1.0]),
    ],
)
def test_extreme_numbers_stay_numbers(y, v, prior_sd):
    found = compare(y, v, prior_sd)
    for name in ("mean", "sd", "prob_best", "expected_loss"):
        assert np.isfinite(column(found, name)).all()
    assert column(found, "prob_best").sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [{"prior_sd": 0.0}, {"prior_sd": math.nan}, {"alpha": 1.0}, {"baseline": 2}, {"baseline": -1}],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=r"prior_sd|alpha|baseline"):
        compare([1.0, 2.0], [1.0, 1.0], **wrong)
    with pytest.raises(ValueError, match="equal rows"):
        compare([1.0, 2.0], [1.0])
