"""Intervals of penalised fits: against R's likelihood profiled by hand, and never of sandwiches."""

from __future__ import annotations

import time

import numpy as np
import pytest
from cox_cases import random_data

from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.finegray import subdistribution
from retention_lab.survival.model.profile import profile
from retention_lab.survival.model.proportional import proportionality


def separated() -> SurvivalData:
    """60 rows, the first 15 of them in a group without events; a number beside it."""
    i = np.arange(60)
    none, age = i < 15, ((7 * i) % 23) / 10
    event = ~none & ((i * 5) % 8 < 6)
    at = np.where(none, 8 + i % 5, 1 + (11 * i + i // 7) % 12)
    x = np.stack([none, age], axis=1).astype(np.float64)
    return SurvivalData.of(at, event, x, names=["none", "age"])


def test_its_ends_and_tests_are_those_of_rs_likelihood_profiled_by_hand():
    """coxph at fixed coefficients, plus log det(information) / 2, optimize and uniroot over it."""
    data = separated()
    fit = fit_cox(data)
    np.testing.assert_allclose(fit.coef, [-3.8033467476, 0.0761298384], rtol=1e-6)
    np.testing.assert_allclose(fit.std_error, [1.449495012, 0.257813409], rtol=1e-6)
    found = profile(fit, data)
    np.testing.assert_allclose(found.low, [-8.64520279, -0.425613683], rtol=1e-5)
    np.testing.assert_allclose(found.high, [-1.84530266, 0.581992685], rtol=1e-5)
    np.testing.assert_allclose(found.p_value, [5.70893523e-08, 0.765690140], rtol=1e-5)


def test_a_group_without_events_is_not_known_to_a_hair():
    """0 of 100 against 120 of 200: a Poisson count of 0 leaves a ratio of 0.03 to 0.04 open."""
    rng = np.random.default_rng(1)
    none = np.arange(300) < 100
    event = ~none & (rng.random(300) < 0.6)
    at = np.where(event, rng.integers(1, 91, 300), 90)
    data = SurvivalData.of(at, event, none[:, None].astype(np.float64))
    plain = fit_cox(data, robust=True)
    assert plain.separated == plain.names
    assert plain.robust_error is None
    assert plain.error[0] > 1.4
    high = np.exp(profile(plain, data).high[0])
    assert 0.02 < high < 0.06
    tested = proportionality(plain, data)
    assert np.isnan(tested.p_value).all()
    assert tested.note.startswith("penalised:")


def test_the_test_agrees_with_the_interval():
    data = random_data(np.random.default_rng(4))
    fit = fit_cox(data, penalty="firth")
    p = profile(fit, data).p_value
    for j, name in enumerate(fit.names):
        ends = profile(fit, data, float(p[j]), [name])
        nearest = min(abs(ends.low[0]), abs(ends.high[0]))
        assert nearest == pytest.approx(0.0, abs=1e-3 * fit.std_error[j])


def test_counts_are_replication_and_other_risk_sets_are_used():
    data = random_data(np.random.default_rng(4))
    one, other = (profile(fit_cox(d, penalty="firth"), d) for d in (data, data.expanded()))
    np.testing.assert_allclose([one.low, one.high], [other.low, other.high], rtol=1e-5, atol=1e-6)
    import dataclasses

    rows = separated()
    competing = ~rows.event & (np.arange(60) % 3 == 0)
    rows = dataclasses.replace(rows, competing=competing)
    risk = subdistribution(rows)
    fit = fit_cox(rows, risk=risk)
    ours, plain = profile(fit, rows, risk=risk), profile(fit_cox(rows), rows)
    assert (ours.low < fit.coef).all()
    assert (fit.coef < ours.high).all()
    assert abs(ours.high[0] - plain.high[0]) > 1e-3


def test_a_plain_fit_has_none():
    data = random_data(np.random.default_rng(5))
    with pytest.raises(ValueError, match="penalised"):
        profile(fit_cox(data), data)


def test_ten_columns_take_seconds():
    rng = np.random.default_rng(6)
    n, k = 3000, 10
    x = (rng.integers(0, k + 1, n)[:, None] == np.arange(k)).astype(np.float64)
    event = (rng.random(n) < 0.5) & (x[:, 0] == 0)
    data = SurvivalData.of(rng.integers(1, 90, n), event, x)
    fit = fit_cox(data)
    began = time.process_time()
    found = profile(fit, data)
    assert np.isfinite([found.low, found.high]).all()
    assert time.process_time() - began < 60
