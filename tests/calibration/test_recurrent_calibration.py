"""Repeat orders of customers whose rates differ by much: coverage, size, and what Poisson misses.

A customer orders as a Poisson process at a rate of his own (gamma, variance 2 about the mean 1), by
whole days; follow-up ends between day 60 and 120. A share of S simulations may differ from its
nominal value by 3.5 Monte-Carlo errors; coverage of the mean of 100 customers by 0.02 besides.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.data.repeats import Repeats
from retention_lab.survival.rates import rates
from retention_lab.survival.recurrent import mean_cumulative, process
from retention_lab.survival.recurrent_groups import differences, equal_means

SIGMAS = 3.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
TAU, RATE, FRAILTY, EFFECT = 90.0, 0.03, 2.0, math.log(1.25)
TRUTH = RATE * TAU


@pytest.fixture(params=[60, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def arm_of(rng, size, effect=0.0):
    """(customer, stop, events, start): a customer's event days, then his last day."""
    rate = RATE * math.exp(effect) * rng.gamma(1 / FRAILTY, FRAILTY, size)
    last = rng.integers(60, 121, size)
    orders = rng.poisson(rate * last)
    who = np.repeat(np.arange(size), orders)
    day = np.ceil(rng.random(len(who)) * last[who])
    key, events = np.unique(who * 1000 + day, return_counts=True)
    key = np.concatenate([key, np.arange(size) * 1000 + last])
    events = np.concatenate([events, np.zeros(size, int)])
    key, at = np.unique(key, return_index=True)
    who, stop, events = key // 1000, key % 1000, events[at]
    start = np.where(np.append(True, who[1:] != who[:-1]), -np.inf, np.append(0.0, stop[:-1]))
    return who, stop, events, start


def both(rng, sizes, effect):
    """Two arms as one table of rows, with the arm of each row."""
    rows = [arm_of(rng, n, e) for n, e in zip(sizes, (0.0, effect), strict=True)]
    rows[1] = (rows[1][0] + sizes[0], *rows[1][1:])
    arm = np.repeat([0.0, 1.0], [len(r[0]) for r in rows])
    return [np.concatenate(c) for c in zip(*rows, strict=True)], arm


def check(estimator, scenario, what, nominal, hits, besides=0.0):
    share = float(np.mean(hits))
    error = record(estimator, scenario, what, nominal, share, len(hits))
    assert abs(share - nominal) <= SIGMAS * error + besides


@pytest.mark.parametrize("size", [100, 1000])
def test_the_mean_number_of_orders_is_covered(size, count):
    rng = np.random.default_rng(size)
    scenario = f"{size:,} customers, gamma frailty of variance 2"
    hits, poisson, errors, found = [], [], [], []
    for _ in range(count):
        who, stop, events, start = arm_of(rng, size)
        m = mean_cumulative(Repeats.of(who, stop, events, start))
        (value,) = m.at([TAU])
        hits.append(value.low <= TRUTH <= value.high)
        used = m.process.time <= TAU
        naive = math.sqrt((m.process.events / m.process.at_risk**2)[used].sum())
        poisson.append(abs(value.estimate - TRUTH) <= 1.96 * naive)
        errors.append(value.std_error)
        found.append(value.estimate)
    # The variance of few skewed customers is too small as often as their mean is too low.
    check("mean cumulative, day 90", scenario, "coverage", 0.95, hits, 0.02 if size == 100 else 0.0)
    record("mean cumulative, Poisson error", scenario, "coverage", None, np.mean(poisson), count)
    assert np.mean(poisson) < 0.85
    spread = np.std(found, ddof=1)
    near = SIGMAS / math.sqrt(2 * count) + 0.03
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=near)


@pytest.mark.parametrize("sizes", [(150, 150), (600, 200)], ids=str)
def test_tests_of_equal_means_have_their_size(sizes, count):
    rng = np.random.default_rng(sizes)
    scenario = f"arms of {sizes[0]}/{sizes[1]}, gamma frailty of variance 2"
    found = {"equal": [], "cover": []}
    for _ in range(count):
        (who, stop, events, start), arm = both(rng, sizes, 0.0)
        parts = [process(p) for _, p in Repeats.of(who, stop, events, start, arm=arm).parts("arm")]
        found["equal"].append(equal_means(parts, TAU).p_value < 0.05)
        (value,) = differences(parts[1], parts[0], [TAU])
        found["cover"].append(value.low <= 0.0 <= value.high)
    check("equal means, log-rank", scenario, "size", 0.05, found["equal"])
    check("difference of means, day 90", scenario, "coverage", 0.95, found["cover"])


@pytest.mark.parametrize("size", [200, 1000])
def test_rate_ratios_are_covered_with_errors_by_customer(size, count):
    rng = np.random.default_rng(size + 1)
    scenario = f"2 arms of {size:,}, gamma frailty of variance 2, ratio 1.25"
    robust, model = [], []
    for _ in range(count):
        (who, stop, events, start), arm = both(rng, (size, size), EFFECT)
        r = rates(Repeats.of(who, stop, events, start, arm=arm), ["arm"], ties="breslow")
        robust.append(r.low[0] <= EFFECT <= r.high[0])
        model.append(abs(r.estimate[0] - EFFECT) <= 1.96 * r.model_error[0])
    check("rate ratio (LWYY)", scenario, "coverage", 0.95, robust)
    record("rate ratio (Andersen-Gill)", scenario, "coverage", None, np.mean(model), count)
    assert np.mean(model) < 0.85
