"""Cox's model: size and coverage under daily ties, with repeat orders, and with competing events.

Counts by day and pattern are drawn, not customers, so that a simulation is a small table. A share
of S simulations may differ from its nominal value by `SIGMAS` Monte-Carlo errors.
"""

from __future__ import annotations

import numpy as np
import pytest
from table import record

from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.finegray import fit_fine_gray
from retention_lab.survival.model.proportional import proportionality

SIGMAS = 3.5
Z = 1.959963984540054
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(params=[40, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def counted(rng, size, effect, grain, horizon=90.0):
    """Two arms and a tier of two levels, exponential times rounded up to `grain` days."""
    arm, tier = rng.integers(0, 2, size), rng.integers(0, 2, size)
    time = rng.exponential(60.0 / np.exp(effect * arm + 0.3 * tier))
    seen = rng.uniform(10.0, 1.5 * horizon, size).clip(max=horizon)
    # those who leave within a grain of time have been seen for the whole grains before only
    stop, leave = np.ceil(time / grain), np.floor(seen / grain)
    event = stop <= leave
    rows, n = tallied(np.where(event, stop, leave), event, arm, tier)
    rows, n = rows[rows[:, 0] > 0], n[rows[:, 0] > 0]
    return SurvivalData.of(rows[:, 0], rows[:, 1] == 1, rows[:, 2:], ["arm", "tier"], n=n)


def tallied(*columns):
    """Unique rows of small whole numbers, and how often each occurs."""
    whole = [np.asarray(c).astype(int) for c in columns]
    sizes = tuple(int(c.max()) + 1 for c in whole)
    n = np.bincount(np.ravel_multi_index(whole, sizes))
    seen = np.flatnonzero(n)
    return np.stack(np.unravel_index(seen, sizes), axis=1).astype(float), n[seen]


def judge(estimator, scenario, found, nominal):
    for what, hits in found.items():
        share, total = float(np.mean(hits)), len(hits)
        error = record(estimator, scenario, what, nominal[what.split()[0]], share, total)
        assert abs(share - nominal[what.split()[0]]) <= SIGMAS * error, what


NOMINAL = {"size": 0.05, "coverage": 0.95}


@pytest.mark.parametrize("grain", [1.0, 7.0], ids=["days", "weeks"])
def test_cox_is_calibrated_under_heavy_ties(grain, count):
    rng = np.random.default_rng(1)
    effect = 0.4
    # Within a grain hazards stay proportional only as complementary log-logs: the coefficient that
    # Efron's likelihood aims at is taken from one very large sample.
    aim = fit_cox(counted(np.random.default_rng(2), 2_000_000, effect, grain)).coef[0]
    scenario = f"800 customers, times in {'days' if grain == 1 else 'weeks'}"
    none = [counted(rng, 800, 0.0, grain) for _ in range(count)]
    fits = [fit_cox(d, robust=True) for d in none]
    alone = [fit_cox(d.columns([0])) for d in none]
    some = [fit_cox(counted(rng, 800, effect, grain), robust=True) for _ in range(count)]
    found = {
        "size of Wald's test": [f.p_value[0] < 0.05 for f in fits],
        "size of the score test": [f.score.p_value < 0.05 for f in alone],
        "size of the likelihood ratio test": [f.lr.p_value < 0.05 for f in alone],
        "coverage": [abs(f.coef[0] - aim) <= Z * f.std_error[0] for f in some],
        "coverage by the robust error": [
            abs(f.coef[0] - aim) <= Z * f.robust_error[0] for f in some
        ],
        "size of the proportionality test": [
            proportionality(f, d).p_value[-1] < 0.05 for f, d in zip(fits, none, strict=True)
        ],
    }
    assert abs(aim - effect) < (0.01 if grain == 1 else 0.05)
    judge("Cox, Efron", scenario, found, NOMINAL)


def repeat_orders(rng, size, effect):
    """Orders of customers with their own rates: (start, stop] rows, clustered by customer."""
    arm = rng.integers(0, 2, size)
    rate = rng.gamma(2.0, 0.5, size) * 3.0 * np.exp(effect * arm)
    orders = rng.poisson(rate)
    who = np.repeat(np.arange(size), orders)
    day = np.ceil(rng.random(len(who)) * 90.0)
    key = np.unique(who * 100 + day.astype(int))
    who, day = key // 100, (key % 100).astype(float)
    first = np.concatenate([[True], who[1:] != who[:-1]])
    start = np.where(first, 0.0, np.concatenate([[0.0], day[:-1]]))
    last = np.zeros(size)
    np.maximum.at(last, who, day)
    open_ = np.flatnonzero(last < 90.0)
    cluster = np.concatenate([who, open_])
    return SurvivalData.of(
        np.concatenate([day, np.full(len(open_), 90.0)]),
        np.arange(len(cluster)) < len(who),
        arm[cluster][:, None].astype(float),
        start=np.concatenate([start, last[open_]]),
        cluster=cluster,
    )


def test_clustered_errors_hold_where_customers_differ(count):
    rng = np.random.default_rng(3)
    effect = 0.3
    aim = fit_cox(repeat_orders(np.random.default_rng(4), 100_000, effect), robust=False).coef[0]
    none = [fit_cox(repeat_orders(rng, 300, 0.0)) for _ in range(count)]
    some = [fit_cox(repeat_orders(rng, 300, effect)) for _ in range(count)]
    scenario = "repeat orders of 300 customers with gamma rates, by day"
    found = {
        "size": [f.p_value[0] < 0.05 for f in none],
        "coverage": [abs(f.coef[0] - aim) <= Z * f.robust_error[0] for f in some],
    }
    naive = np.mean([abs(f.coef[0] / f.std_error[0]) > Z for f in none])
    record("Andersen-Gill, errors of the information", scenario, "size", None, naive, count)
    assert naive > 0.1
    judge("LWYY, clustered errors", scenario, found, NOMINAL)


def competing_events(rng, size, effect):
    """Fine and Gray's own scheme: unit exponential mixture with mass 1 - p at infinity."""
    arm, p = rng.integers(0, 2, size), 0.6
    ratio = np.exp(effect * arm)
    first = rng.random(size) < 1 - (1 - p) ** ratio
    u = rng.random(size) * (1 - (1 - p) ** ratio)
    with np.errstate(invalid="ignore"):
        time = -np.log(1 - (1 - (1 - u) ** (1 / ratio)) / p)
    other = rng.exponential(1 / np.exp(-0.5 * arm), size)
    event = np.where(first, time, other)
    seen = rng.uniform(0.3, 3.0, size)
    day, leave = np.ceil(event * 100.0), np.floor(seen * 100.0)
    cause = np.where(day <= leave, np.where(first, 1, 2), 0)
    rows, n = tallied(np.minimum(day, leave), cause, arm)
    return SurvivalData.of(
        rows[:, 0], rows[:, 1] == 1, rows[:, 2:], ["arm"], n=n, competing=rows[:, 1] == 2
    )


def test_fine_gray_is_calibrated(count):
    rng = np.random.default_rng(5)
    effect = 0.5
    large = fit_fine_gray(competing_events(np.random.default_rng(6), 500_000, effect))
    assert abs(large.coef[0] - effect) < 4 * large.robust_error[0] + 0.005
    none = [fit_fine_gray(competing_events(rng, 500, 0.0)) for _ in range(count)]
    some = [fit_fine_gray(competing_events(rng, 500, effect)) for _ in range(count)]
    found = {
        "size": [f.p_value[0] < 0.05 for f in none],
        "coverage": [abs(f.coef[0] - effect) <= Z * f.robust_error[0] for f in some],
    }
    judge("Fine-Gray", "500 customers, 100 days a unit of time, a third censored", found, NOMINAL)
