"""Hazards by period: person-period counts, R's numbers, and what cannot be estimated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
import statsmodels.api as sm
from cox_cases import random_data
from scipy import optimize

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.discrete import PersonPeriods, fit_discrete, person_periods

LINKS = ("cloglog", "logit")
NAMES = ("fin", "ageband", "priob")


def counted(columns):
    whole = {k: v.astype(int) for k, v in columns.items()}
    x = np.stack([columns[c] for c in NAMES], axis=1)
    return PersonPeriods(NAMES, np.arange(5.0), whole["q"], x, whole["n"], whole["d"])


def from_raw():
    columns = reference.case("cox_rossi_efron")[2]
    table = LifeTable.of(
        columns["week"], columns["arrest"].astype(int), fin=columns["fin"],
        ageband=(columns["age"] >= 25).astype(float), priob=np.minimum(columns["prio"], 5.0),
    )  # fmt: skip
    return person_periods(design(table, NAMES), [0, 13, 26, 39, 52])


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("source", ["counts", "raw rows"])
def test_r_s_numbers(link, source):
    _, expected, columns = reference.case(f"discrete_rossi_{link}")
    fit = fit_discrete(counted(columns) if source == "counts" else from_raw(), link)
    np.testing.assert_allclose(fit.coef, expected["coef"], rtol=1e-7)
    np.testing.assert_allclose(fit.std_error, expected["se"], rtol=1e-7)
    assert fit.names == ("(intercept)", "period=2", "period=3", "period=4", *NAMES)
    assert fit.deviance == pytest.approx(expected["deviance"], rel=1e-9)
    assert fit.converged


def test_the_counts_of_rossi_are_those_of_its_rows():
    theirs, mine = counted(reference.case("discrete_rossi_logit")[2]), from_raw()
    table = [
        sorted(zip(p.period, map(tuple, p.x), p.trials, p.events, strict=True))
        for p in (mine, theirs)
    ]
    assert table[0] == table[1]


@pytest.mark.parametrize("link", LINKS)
def test_it_is_the_maximum_of_the_binomial_likelihood(link):
    periods = person_periods(
        random_data(np.random.default_rng(1), rows=200, times=5, late=False, strata=1)
    )
    fit = fit_discrete(periods, link)
    level = [f"period={p}" for p in range(2, 6)]
    assert fit.names[1:5] == tuple(level)
    x = np.concatenate(
        [np.ones((len(periods.x), 1)), periods.period[:, None] == np.arange(2, 6), periods.x],
        axis=1,
    )

    def loss(beta):
        eta = x @ beta
        hazard = -np.expm1(-np.exp(eta)) if link == "cloglog" else 1 / (1 + np.exp(-eta))
        none = periods.trials - periods.events
        return -(periods.events @ np.log(hazard) + none @ np.log1p(-hazard))

    best = optimize.minimize(loss, fit.coef * 0.9, method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(fit.coef, best.x, rtol=1e-4, atol=1e-4)


def test_person_periods_one_by_one():
    rng = np.random.default_rng(2)
    data = random_data(rng, rows=80, k=1, times=12, strata=1)
    data = dataclasses.replace(data, x=np.sign(data.x))
    edges = np.array([0.0, 2.0, 5.0, 6.0, 9.0])
    found = person_periods(data, edges)
    wanted = {}
    rows = data.expanded()
    for start, stop, event, x in zip(rows.start, rows.stop, rows.event, rows.x[:, 0], strict=True):
        for p in range(1, len(edges)):
            left, right = edges[p - 1], edges[p]
            here = event and stop <= right and (stop > left or p == 1)
            entered = start <= left or (p == 1 and start < edges[0])
            if entered and (here or (stop >= right and not (event and stop <= right))):
                trials, events = wanted.get((p, x), (0, 0))
                wanted[p, x] = (trials + 1, events + here)
    mine = {
        (int(p), float(x)): (int(t), int(e))
        for p, x, t, e in zip(found.period, found.x[:, 0], found.trials, found.events, strict=True)
    }
    assert mine == wanted


def test_periods_without_events_and_useless_columns_are_left_out():
    rng = np.random.default_rng(3)
    stop = rng.choice([1.0, 2.0, 4.0], 300)
    z = rng.normal(size=300).round(1)
    data = SurvivalData.of(
        stop, rng.random(300) < 0.5, np.stack([z, z * 2, z * 0 + 1], axis=1), ["z", "twice", "one"]
    )
    fit = fit_discrete(person_periods(data, [0, 1, 2, 3, 4]))
    assert fit.left_out == (3,)
    assert fit.names == ("(intercept)", "period=2", "period=4", "z")
    assert fit.dropped["twice"] == "collinear: it is a combination of 'z'"
    assert fit.dropped["one"].startswith("constant:")


def test_without_events_and_with_separation_there_is_a_reason():
    x = np.repeat([[0.0], [1.0]], 50, axis=0)
    none = SurvivalData.of(np.ones(100), np.zeros(100), x)
    assert fit_discrete(person_periods(none, [0, 1])).note.startswith("no_events:")
    apart = SurvivalData.of(np.ones(100), x[:, 0] == 1, x)
    for link in LINKS:
        fit = fit_discrete(person_periods(apart, [0, 1]), link)
        assert fit.note.startswith("separated:")
        assert np.isnan(fit.coef).all()


def test_wrong_arguments():
    data = random_data(np.random.default_rng(4))
    with pytest.raises(ValueError, match="ascend"):
        person_periods(data, [0, 2, 2])
    with pytest.raises(ValueError, match="probit"):
        fit_discrete(person_periods(data), "probit")
    many = SurvivalData.of(np.arange(8000.0), np.ones(8000), np.arange(8000.0)[:, None])
    with pytest.raises(DataError, match="longer periods"):
        person_periods(many)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("middle", "spread"), [(1e3, 1e-3), (2011.0, 1.0), (1.3e9, 1e6)])
def test_where_a_covariate_has_its_zero_makes_no_difference(link, middle, spread):
    """Years, times in seconds, amounts around a thousand: far from 0, and yet they differ."""
    rng = np.random.default_rng(4)
    z = rng.integers(-5, 6, 400) / 2.0
    stop = np.minimum(np.ceil(rng.exponential(4.0 * np.exp(-0.8 * z))), 6.0)
    happened = stop < 6.0
    near, far = (
        fit_discrete(person_periods(SurvivalData.of(stop, happened, column[:, None])), link)
        for column in (z, middle + spread * z)
    )
    assert (far.dropped, far.note, far.names) == ({}, None, near.names)
    assert near.coef[-1] > 0.5
    np.testing.assert_allclose(far.coef[-1] * spread, near.coef[-1], rtol=1e-7)
    np.testing.assert_allclose(far.std_error[-1] * spread, near.std_error[-1], rtol=1e-7)
    np.testing.assert_allclose(far.coef[1:-1], near.coef[1:-1], rtol=1e-6)
    np.testing.assert_allclose(far.coef[0] + far.coef[-1] * middle, near.coef[0], atol=1e-4)
    at_middle = np.array([1.0, *[0.0] * (len(near.coef) - 2), middle])
    error = np.sqrt(at_middle @ far.covariance @ at_middle)
    assert error == pytest.approx(near.std_error[0], rel=1e-3)


@pytest.mark.parametrize("link", LINKS)
def test_many_periods_are_those_of_a_dense_fit(link):
    """Weeks of two years and a number that hardly repeats, against statsmodels."""
    rng = np.random.default_rng(11)
    z = np.stack([rng.normal(40.0, 9.0, 500).round(2), rng.random(500) < 0.3], axis=1)
    stop = np.ceil(rng.exponential(300.0 * np.exp(0.03 * (40.0 - z[:, 0]))))
    end = rng.integers(30, 700, 500)
    data = SurvivalData.of(np.minimum(stop, end), stop <= end, z, ["age", "won"])
    periods = person_periods(data, np.arange(0.0, 735.0, 7.0))
    fit = fit_discrete(periods, link)
    used = [1 if n == "(intercept)" else int(n[7:]) for n in fit.names[:-2]]
    assert len(used) > 60
    kept = np.isin(periods.period, used)
    indicators = (periods.period[kept, None] == np.array(used)[1:]).astype(float)
    x = np.concatenate([np.ones((kept.sum(), 1)), indicators, periods.x[kept]], axis=1)
    counts = np.stack([periods.events, periods.trials - periods.events], axis=1)[kept]
    links = sm.families.links
    family = sm.families.Binomial(links.CLogLog() if link == "cloglog" else links.Logit())
    slow = sm.GLM(counts, x, family=family).fit(tol=1e-14)
    np.testing.assert_allclose(fit.coef, slow.params, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fit.std_error, slow.bse, rtol=1e-5)
    assert fit.loglik == pytest.approx(slow.llf, rel=1e-10)
    assert fit.deviance == pytest.approx(slow.deviance, rel=1e-8)


def test_few_trials_far_from_0_are_not_called_separated():
    """16 trials with 5 events: there is a largest likelihood, if not a well-known one."""
    period = np.array([1, 1, 1, 1, 2, 2, 2, 3])
    x = np.array([[0.3, 1.0], [-0.6, 0.0], [1.2, 1.0], [0.1, 0.0]] * 2)
    trials = np.array([3, 2, 2, 3, 2, 1, 1, 2])
    events = np.array([1, 0, 1, 1, 1, 0, 0, 1])
    near = PersonPeriods(("a", "b"), np.arange(4.0), period, x, trials, events)
    far = dataclasses.replace(near, x=x * 1e6 + 1e9)
    for link in LINKS:
        one, two = fit_discrete(near, link), fit_discrete(far, link)
        assert (one.note, two.note) == (None, None)
        np.testing.assert_allclose(two.coef[-2:] * 1e6, one.coef[-2:], rtol=1e-6)
        np.testing.assert_allclose(two.std_error[-2:] * 1e6, one.std_error[-2:], rtol=1e-6)
