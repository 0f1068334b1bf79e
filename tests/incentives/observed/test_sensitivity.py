"""Sensitivity: published E-values, Darfur as published, and the omitted variable's algebra."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from retention_lab.incentives.observed.sensitivity import (
    Regression,
    benchmark,
    contour,
    e_value,
    e_value_of_limit,
    partial_r2,
    ratio_of_difference,
    regress,
    robustness_value,
    shifted,
)

# Cinelli and Hazlett (2020), section 5, as their package sensemakr gives it in full digits
DARFUR = Regression(
    0.09731581928495897,
    0.02325653780981118,
    783,
    {"female": (0.009081065190328756, 0.10903391542784283)},
)


def test_e_values(golden):
    for ratio, value in golden["evalue"]["values"].items():
        assert e_value(float(ratio)) == pytest.approx(value, rel=1e-12)
    assert e_value(1.0) == 1.0
    assert e_value(0.5) == e_value(2.0)
    assert e_value_of_limit(1.8, 8.7) == pytest.approx(3.0)
    assert e_value_of_limit(0.71, 0.91) == pytest.approx(1.43, abs=0.005)
    assert e_value_of_limit(0.9, 1.3) == 1.0
    for bad in (0.0, -1.0, np.inf):
        with pytest.raises(ValueError, match="positive number"):
            e_value(bad)


def test_a_difference_as_a_ratio():
    found = ratio_of_difference(5.0, 1.0, 10.0)
    assert found == pytest.approx(np.exp([0.455, 0.455 - 0.178, 0.455 + 0.178]))


def test_darfur():
    assert robustness_value(4.18, 783) == pytest.approx(0.139, abs=5e-4)
    assert robustness_value(4.18, 783, alpha=0.05) == pytest.approx(0.076, abs=5e-4)
    assert robustness_value(DARFUR.t, 783) == pytest.approx(0.13877635389359155, rel=1e-12)
    found = robustness_value(DARFUR.t, 783, alpha=0.05)
    assert found == pytest.approx(0.0762579655448608, rel=1e-12)
    assert partial_r2(DARFUR.t, 783) == pytest.approx(0.02187309334111082, rel=1e-12)


@pytest.mark.parametrize(
    ("k", "of_treatment", "of_outcome", "estimate", "error", "low", "high"),
    [
        (1, 0.009164286675048578, 0.12464092303637142, 0.07522027121445277,
         0.02187332774375699, 0.03228296572744866, 0.11815757670145688),
        (2, 0.018328573350097157, 0.24932406419997846, 0.05291517238445554,
         0.020350062077963475, 0.012968034831487375, 0.0928623099374237),
        (3, 0.027492860025145734, 0.37405047103809924, 0.030396023464158664,
         0.01867006481709217, -0.006253282297853512, 0.06704532922617085),
    ],
)  # fmt: skip
def test_darfur_beside_causes_as_strong_as_being_female(
    k, of_treatment, of_outcome, estimate, error, low, high
):
    found = benchmark(DARFUR, "female", k)
    assert (found.of_treatment, found.of_outcome) == pytest.approx(
        (of_treatment, of_outcome), rel=1e-9
    )
    assert (found.estimate, found.std_error) == pytest.approx((estimate, error), rel=1e-9)
    # theirs has the short regression's degrees of freedom, ours the long one's: one less
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def test_sensemakr_in_other_corners():
    assert robustness_value(4.18, 783, q=0.5, alpha=0.05) == pytest.approx(0.004483605935997361)
    assert robustness_value(40, 100, alpha=0.05) == pytest.approx(0.9389624626913138)
    assert robustness_value(300, 100, alpha=0.05) == pytest.approx(0.9988459835097819)
    assert robustness_value(1.5, 50, alpha=0.05) == 0.0
    assert robustness_value(-3.0, 80, alpha=0.05) == pytest.approx(0.10542758661352207)
    found = shifted(DARFUR, 0.1, 0.3)
    assert found.estimate == pytest.approx(-0.021497561558386585, abs=1e-7)
    assert found.std_error == pytest.approx(0.020523450237210694, rel=1e-6)


def test_an_estimate_is_gone_at_its_robustness_value():
    rv = robustness_value(DARFUR.t, DARFUR.df)
    assert shifted(DARFUR, rv, rv).estimate == pytest.approx(0.0, abs=1e-12)
    rv = robustness_value(DARFUR.t, DARFUR.df, alpha=0.05)
    assert shifted(DARFUR, rv, rv).low == pytest.approx(0.0, abs=1e-12)


def units(n=400, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    d = (x @ [0.6, -0.4, 0.2, 0.5] + rng.normal(size=n) > 0).astype(float)
    y = 2.0 * d + x @ [1.0, 0.5, 0.0, -1.5] + rng.normal(size=n)
    return x, d, y


def test_the_regression_is_statsmodels():
    x, d, y = units()
    fit = sm.OLS(y, sm.add_constant(np.column_stack([d, x]))).fit()
    of_d = sm.OLS(d, sm.add_constant(x)).fit()
    found = regress(y, d, x, {"a": [0], "bc": [1, 2], "d": [3]})
    assert (found.estimate, found.std_error) == pytest.approx((fit.params[1], fit.bse[1]), rel=1e-9)
    assert found.df == fit.df_resid
    for name, columns in {"a": [0], "bc": [1, 2], "d": [3]}.items():
        rest = np.delete(x, columns, axis=1)
        less = sm.OLS(y, sm.add_constant(np.column_stack([d, rest]))).fit()
        less_d = sm.OLS(d, sm.add_constant(rest)).fit()
        assert found.partial[name] == pytest.approx(
            (1 - of_d.ssr / less_d.ssr, 1 - fit.ssr / less.ssr), rel=1e-6
        )


def test_the_bias_of_a_left_out_cause_is_exact():
    """With the shares of a cause that was there all along, the short regression gives the long."""
    x, d, y = units()
    short = regress(y, d, x[:, :3], {})
    long = regress(y, d, x, {"left out": [3]})
    of_treatment, of_outcome = long.partial["left out"]
    found = shifted(short, of_treatment, of_outcome)
    bias = abs(short.estimate - found.estimate)
    assert bias == pytest.approx(abs(short.estimate - long.estimate), rel=1e-9)
    assert found.std_error == pytest.approx(long.std_error, rel=1e-9)


def test_a_cause_that_cannot_be_so_strong():
    assert benchmark(DARFUR, "female", 200) is None
    strong = Regression(1.0, 0.1, 50, {"x": (0.6, 0.6)})
    assert benchmark(strong, "x", 1) is None
    assert benchmark(Regression(1.0, 0.1, 50, {"x": (0.1, 0.7)}), "x", 1).of_outcome == 1.0


def test_nothing_to_regress():
    x, d, y = units()
    assert regress(y, x[:, 0], x, {}) is None
    assert regress(np.ones_like(y), d, x, {}) is None
    assert regress(y[:5], d[:5], x[:5], {}) is None


def test_the_contour_is_a_grid():
    found = contour(DARFUR, most=0.3, steps=4)
    assert len(found) == 16
    assert found[0].estimate == DARFUR.estimate
    assert found[-1].of_treatment == found[-1].of_outcome == 0.3
    by_outcome = [s.estimate for s in found[12:]]
    assert by_outcome == sorted(by_outcome, reverse=True)
    with pytest.raises(ValueError, match="between 0 and 1"):
        shifted(DARFUR, 1.0, 0.5)


def test_effects_of_any_size_have_an_e_value():
    """A standardised difference of 1,000, as of an outcome that is the arm itself, has no ratio."""
    for difference in (1000.0, -1000.0):
        ratio = ratio_of_difference(difference, 1.0, 1.0)
        assert np.isfinite(ratio).all()
        assert (ratio > 0).all()
        assert np.isfinite([e_value(r) for r in ratio]).all()
    assert e_value(1e160) == pytest.approx(2e160)
