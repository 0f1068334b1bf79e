"""Markets and shops of unlike sizes, and few of them: coverage and size where these decide.

Markets whose weights are log-normal, with shocks that know nothing of the weight; two and four
markets that begin beside twenty; shops of which a few had the service, and customers in shops of
which some are many times as large as others. Errors here are rather too wide than too short: the
jackknife expects the largest to be no calmer than the rest. A share of S simulations may fall short
of its nominal value by `SIGMAS` Monte-Carlo errors and by `LOOSE` besides.
"""

from __future__ import annotations

import numpy as np
import pytest
from table import record

from retention_lab.incentives.arms import dose as response
from retention_lab.incentives.observed.aipw import average_effect, effect_on_treated
from retention_lab.incentives.observed.crossfit import cross_fit
from retention_lab.incentives.observed.effects import effect
from retention_lab.incentives.observed.nuisance import Linear
from retention_lab.incentives.observed.plr import partially_linear_effect
from retention_lab.incentives.observed.sample import make_sample
from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.few import error_of
from retention_lab.incentives.rollout.pretrend import trend_test
from retention_lab.incentives.rollout.staggered import group_time_effects
from retention_lab.incentives.rollout.wild import simultaneous

SIGMAS, LOOSE, ALPHA, PERIODS = 3.5, 0.02, 0.05, 10
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
MARKETS = {  # that begin, that never do, standard deviation of the log of a market's weight
    "12 of 32 markets, weights log-normal (1)": (12, 20, 1.0),
    "12 of 32 markets, weights log-normal (1.5)": (12, 20, 1.5),
    "2 of 22 markets": (2, 20, 0.0),
    "4 of 24 markets": (4, 20, 0.0),
}


@pytest.fixture(params=[40, pytest.param(500, marks=SLOW)])
def count(request):
    return request.param


def covers(estimator, scenario, what, hits):
    """Record a share of intervals that hold the truth; it is not below 0.95."""
    hits = [h for h in hits if h is not None]
    error = record(estimator, scenario, what, "at least 0.95", np.mean(hits), len(hits))
    assert np.mean(hits) >= 0.95 - SIGMAS * error - LOOSE, (estimator, scenario, np.mean(hits))


def world(rng, treated, never, spread):
    """Outcomes (markets, periods) without an effect, starts and weights."""
    size = treated + never
    adopted = np.full(size, np.inf)
    adopted[:treated] = rng.choice((4, 6, 8), treated)
    shock = rng.normal(size=(size, PERIODS))
    for t in range(1, PERIODS):
        shock[:, t] += 0.5 * shock[:, t - 1]
    level = rng.normal(size=(size, 1)) + 0.1 * np.arange(PERIODS)
    return level + shock, adopted, rng.lognormal(0.0, spread, size)


@pytest.mark.parametrize("scenario", MARKETS)
def test_markets_of_unlike_sizes_and_very_few(scenario, count):
    rng = np.random.default_rng(len(scenario))
    average, since, band, trends = [], [], [], []
    for _ in range(count):
        y, adopted, weight = world(rng, *MARKETS[scenario])
        made = Averager(group_time_effects(y, adopted, weight), adopted, weight)
        simple, parts = made.simple().overall, made.dynamic().parts
        error = error_of(simple)  # none where one market has nearly all of a side's weight
        alone = error.std_error is None
        average.append(None if alone else abs(simple.estimate) <= error.half(ALPHA))
        errors = [error_of(p) for p in parts]
        since += [
            abs(p.estimate) <= e.half(ALPHA)
            for p, e in zip(parts, errors, strict=True)
            if e.std_error is not None
        ]
        halves = simultaneous(parts, errors, ALPHA)
        known = [(p, h) for p, h in zip(parts, halves, strict=True) if h is not None]
        band.append(all(abs(p.estimate) <= h for p, h in known) if known else None)
        trend = trend_test([p for p in parts if p.at < 0])
        trends.append(None if trend is None else trend.p_value >= ALPHA)
    assert average.count(None) <= 0.1 * count
    covers("average_effect", scenario, "coverage", average)
    covers("event_time_effect", scenario, "coverage", since)
    if any(b is not None for b in band):
        covers("event_time_effect, simultaneous", scenario, "coverage", band)
    if any(t is not None for t in trends):
        covers("pretrend_test", scenario, "share not rejected", trends)


def whole_shops(rng, shops, treated):
    """Shops of about 40 customers, a few of which had the service."""
    home = np.repeat(np.arange(shops), np.maximum(3, rng.lognormal(3.7, 0.3, shops)).astype(int))
    return home, np.isin(home, rng.choice(shops, treated, replace=False)), np.zeros(shops)


def within_shops(rng, shops):
    """Customers choose; shops differ in what it does to theirs, some are ten times as large."""
    home = np.repeat(np.arange(shops), np.maximum(3, rng.lognormal(3.7, 1.2, shops)).astype(int))
    return home, rng.random(len(home)) < 0.5, 0.5 * rng.normal(size=shops)


SHOPS = {
    "4 of 40 shops had it": lambda rng: whole_shops(rng, 40, 4),
    "6 of 30 shops had it": lambda rng: whole_shops(rng, 30, 6),
    "in 40 shops of unlike sizes": lambda rng: within_shops(rng, 40),
}


@pytest.mark.parametrize("scenario", SHOPS)
def test_customers_alike_in_few_or_uneven_shops(scenario, count):
    ways = {
        "AIPW, linear": lambda c: average_effect(c, 1),
        "AIPW, on the treated, linear": lambda c: effect_on_treated(c, 1),
        "partially linear, linear": lambda c: partially_linear_effect(c, 1),
    }
    held = {name: [] for name in ways}
    for i in range(count):
        rng = np.random.default_rng([i, 77])
        home, got, own = SHOPS[scenario](rng)
        x = rng.normal(size=(len(home), 2))
        shop = 0.6 * rng.normal(size=home.max() + 1)
        y = x[:, 0] + shop[home] + own[home] * got + 2.0 * rng.normal(size=len(home))
        arm = np.where(got, "coupon", "none")
        sample = make_sample(arm, ("none", "coupon"), {"a": x[:, 0], "b": x[:, 1]}, {"y": y}, home)
        c = cross_fit(sample, Linear(), seed=i, most_threads=1).crossed["y"]
        for name, solve in ways.items():
            e = effect(solve(c), sample.cluster, ALPHA, sample.arm == 1)
            held[name].append(None if e.low is None else e.low <= 0.0 <= e.high)
    for name, hits in held.items():
        covers(name, scenario, "coverage", hits)


def test_the_best_of_many_doses_of_which_one_is_a_step(count):
    """A response that jumps between two of twelve doses is no spline with six knots."""
    doses = np.arange(12.0)
    truth = np.where(doses >= 7, 1.0 - 0.03 * (doses - 7.0), 0.0)
    knots = doses[np.unique(np.linspace(0, 11, 6).round().astype(int))]
    rng, hits, n = np.random.default_rng(12), [], np.full(12, 300.0)
    for _ in range(count):
        cells = response.Cells(
            doses, n, truth + rng.normal(size=12) / np.sqrt(300), rng.chisquare(299, 12)
        )
        fit = response.fit(cells, response.spline(knots.tolist()))
        found = response.best(fit, 0.0, 11.0, doses, ALPHA, cells=cells)
        low, high = response.around(doses, found.chance, ALPHA)
        hits.append(min(low, found.low) <= 7.0 <= max(high, found.high))
    covers("best_dose", "twelve doses, a step at the eighth", "coverage", hits)
