"""Refutations: arms that nobody was in do nothing, a random covariate changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from seen import made, sample_of

from retention_lab.incentives.observed.aipw import average_effect
from retention_lab.incentives.observed.crossfit import cross_fit
from retention_lab.incentives.observed.effects import effect
from retention_lab.incentives.observed.money import treated_levels
from retention_lab.incentives.observed.nuisance import Boosting, Linear
from retention_lab.incentives.observed.refute import (
    placebo_range,
    placebo_treatment,
    random_common_cause,
)


@pytest.fixture(scope="module")
def found():
    sample = sample_of(made(800, arms=3))
    return sample, cross_fit(sample, Linear())


def test_dealt_arms_do_nothing(found):
    sample, fitted = found
    dealt = placebo_treatment(sample, fitted, ["y", "spent"])
    assert set(dealt) == {(o, a) for o in ("y", "spent") for a in ("coupon", "points")}
    for (name, arm), effects in dealt.items():
        c = fitted.crossed[name]
        real = average_effect(c, c.arms.index(arm))
        told = placebo_range(effects, real.theta)
        assert told.times == 20
        assert told.low < 0.0 < told.high
        assert told.p_value == pytest.approx(1 / 21)
        # the spread of effects of nothing is about the error that the estimate claims; dealt arms
        # mix those who had an effect and those who had none, so it is larger
        assert 0.7 < told.deviation / effect(real).std_error < 2.5


def test_the_same_seed_deals_the_same(found):
    sample, fitted = found
    one, two, three = (
        placebo_treatment(sample, fitted, ["y"], times=3, seed=s)[("y", "coupon")]
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


def test_an_effect_of_nothing_is_within_the_range():
    found = placebo_range(np.array([-1.0, 0.0, 1.0, 2.0]), 1.5)
    assert found.p_value == pytest.approx(2 / 5)
    assert found.mean == 0.5
    assert placebo_range(np.array([1.0]), 1.0) is None
    assert placebo_range(np.array([np.nan, 1.0]), 1.0) is None


@pytest.mark.parametrize("learner", [Linear(), Boosting(iterations=20)])
def test_a_random_covariate_changes_little(learner):
    sample = sample_of(made(800))
    fitted = cross_fit(sample, learner)
    again = random_common_cause(sample, fitted, ["y"], 0.01, learner)[("y", "coupon")]
    real = average_effect(fitted.crossed["y"], 1)
    assert 0.0 < abs(again.theta - real.theta) < 0.5 * effect(real).std_error


def test_levels_of_the_treated_and_their_joint_error(found):
    sample, fitted = found
    levels = treated_levels(fitted, ["y", "bought"], "coupon", 0.01)
    c = fitted.crossed["y"]
    y = sample.y["y"][c.rows][c.arm == 1]
    assert levels.arm[0] == pytest.approx(y.mean(), rel=1e-12)
    assert levels.covariance[0, 0] == pytest.approx(y.var() / len(y), rel=1e-9)
    gap = levels.arm[0] - levels.base[0]
    from retention_lab.incentives.observed.aipw import effect_on_treated

    told = effect(effect_on_treated(c, 1))
    v = levels.covariance
    assert gap == pytest.approx(told.estimate, rel=1e-9)
    assert v[0, 0] + v[2, 2] - 2 * v[0, 2] == pytest.approx(told.std_error**2, rel=1e-9)
    assert treated_levels(fitted, ["y"], "nobody", 0.01) is None
