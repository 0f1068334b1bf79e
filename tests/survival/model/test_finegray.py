"""Fine and Gray's model: R's numbers, a plain weighted likelihood, and truth by simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cox_cases import columns_by_r, cox_by_r, data_by_r, slow_cox
from scipy import optimize

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.model.baseline import baselines
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.finegray import fine_gray, fit_fine_gray, subdistribution
from retention_lab.survival.model.proportional import proportionality


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("cause", [1, 2])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "expanded"])
def test_r_s_numbers(cause, ties, counted):
    content = cox_by_r()
    expected = content["finegray"][f"{['one', 'two'][cause - 1]}_{ties}"]
    data = data_by_r(columns_by_r(content), counted=counted, cause=cause)
    fit = fit_fine_gray(data, ties)
    np.testing.assert_allclose(fit.coef, expected["coef"], rtol=1e-9)
    np.testing.assert_allclose(fit.std_error, expected["se"], rtol=1e-9)
    np.testing.assert_allclose(fit.robust_error, expected["robust"], rtol=1e-9)
    np.testing.assert_allclose([fit.loglik_null, fit.loglik], expected["loglik"], rtol=1e-11)
    (curve,) = baselines(fit, data, subdistribution(data))
    at_zero = curve.hazard * np.exp(-fit.centre @ fit.coef)
    times, hazard = (np.array(expected["basehaz"][k]) for k in ("time", "hazard"))
    place = np.searchsorted(times, curve.time)
    np.testing.assert_allclose(at_zero, hazard[place], rtol=1e-8)


def test_r_s_numbers_with_censoring_by_group():
    content = cox_by_r()
    expected = content["finegray"]["strata"]
    rows = columns_by_r(content)
    data = data_by_r(rows, strata=True)
    fit = fit_fine_gray(data, censoring=rows["s"])
    np.testing.assert_allclose(fit.coef, expected["coef"], rtol=1e-9)
    np.testing.assert_allclose(fit.robust_error, expected["robust"], rtol=1e-9)


def test_the_text_book_s_weighted_likelihood():
    """w = G(t-) / G(min(T, t)-) for all who have not had the event; G by its definition."""
    rng = np.random.default_rng(1)
    n = 80
    time, cause = rng.integers(1, 12, n), rng.integers(0, 3, n)
    table = LifeTable.of(
        time, cause, causes=("a", "b"), x=np.round(rng.normal(size=n), 1), y=rng.integers(0, 2, n)
    )
    fit = fine_gray(table, ["x", "y"], "a")

    def censoring(t):
        """The share still seen just before t; events before censoring at each time."""
        share = 1.0
        for s in range(1, int(t)):
            share *= 1 - ((time == s) & (cause == 0)).sum() / max(
                ((time > s) | ((time == s) & (cause == 0))).sum(), 1
            )
        return share

    def weight(data, t):
        after = data.competing & (data.stop < t)
        factor = np.array(
            [
                censoring(t) / censoring(s) if a else 1.0
                for s, a in zip(data.stop, after, strict=True)
            ]
        )
        return np.where(data.stop >= t, 1.0, np.where(after, factor, 0.0))

    from retention_lab.survival.model.design import design

    data = design(table, ["x", "y"], event="a", competing=["b"])
    best = optimize.minimize(
        lambda b: -slow_cox(data, b, "efron", weight)[0],
        np.zeros(2),
        jac=lambda b: -slow_cox(data, b, "efron", weight)[1],
        method="BFGS",
        options={"gtol": 1e-9},
    )
    np.testing.assert_allclose(fit.coef, best.x, rtol=1e-6)
    information = slow_cox(data, fit.coef, "efron", weight)[2]
    np.testing.assert_allclose(
        fit.std_error, np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-8
    )


def test_without_censoring_who_had_another_event_just_stays():
    content = cox_by_r()
    data = data_by_r(columns_by_r(content))
    never = dataclasses.replace(data, competing=~data.event)
    stays = dataclasses.replace(data, stop=np.where(data.event, data.stop, 1e6))
    for field in ("coef", "std_error", "robust_error"):
        np.testing.assert_allclose(
            getattr(fit_fine_gray(never), field),
            getattr(fit_cox(stays, robust=True), field),
            rtol=1e-9,
        )


def test_its_penalty_and_its_test_of_proportionality_see_the_same_risk_sets():
    content = cox_by_r()
    data = data_by_r(columns_by_r(content))
    never = dataclasses.replace(data, competing=~data.event)
    stays = dataclasses.replace(data, stop=np.where(data.event, data.stop, 1e6))
    np.testing.assert_allclose(
        fit_fine_gray(never, penalty="firth").coef, fit_cox(stays, penalty="firth").coef, rtol=1e-8
    )
    one = proportionality(fit_fine_gray(never), never, "identity", subdistribution(never))
    other = proportionality(fit_cox(stays), stays, "identity")
    np.testing.assert_allclose(one.chisq, other.chisq, rtol=1e-8)


def test_late_entry_is_refused():
    content = cox_by_r()
    with pytest.raises(DataError, match="enter late"):
        fit_fine_gray(data_by_r(columns_by_r(content), late=True))
    with pytest.raises(ValueError, match="competing"):
        fit_fine_gray(dataclasses.replace(data_by_r(columns_by_r(content)), competing=None))
