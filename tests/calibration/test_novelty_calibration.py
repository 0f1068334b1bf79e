"""Days since exposure: size of the slope, coverage of days and sums, where days hang together.

Customers differ in how often they order (gamma), so that the days of one customer are correlated;
few order on any day. A share of S simulations may differ from its nominal value by `SIGMAS`
Monte-Carlo errors, and the intervals of single days by `SPARSE` besides: a day of 2,000 customers
has some 40 orders, whose values are skewed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
from table import record

import retention_lab as rl
from retention_lab.ab import estimate as est
from retention_lab.data.ages import Bins
from retention_lab.data.moments import Moments
from retention_lab.twin import COMEBACK_COUPON, simulate

SIGMAS = 3.5
SPARSE = 0.01
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
BATCH, UNITS, DAYS = 25, 2000, 30
RATE, EVENNESS, LIFT = 0.02, 0.8, 0.25
SPREAD = 0.8  # standard deviation of the log of an order's value
BINS = Bins.of(DAYS * 24)
WEIGHTS = BINS.offsets * BINS.scale
EFFECTS = {"lasts": np.ones(DAYS), "wears off": np.exp(-np.arange(DAYS) / 7.0)}
KINDS = ("first orders", "days with an order", "orders", "revenue")


@pytest.fixture(params=[25, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def numbers_of(rng, rates):
    """What (simulations, units, days) bring, by kind."""
    frailty = rng.gamma(EVENNESS, 1.0 / EVENNESS, (BATCH, UNITS, 1))
    orders = rng.poisson(RATE * rates * frailty).astype(np.float64)
    revenue = np.zeros_like(orders)
    some = orders > 0  # a day's orders of one customer are worth as much each
    revenue[some] = orders[some] * rng.lognormal(0.0, SPREAD, int(some.sum()))
    active = some.astype(np.float64)
    first = active * (np.cumsum(active, axis=2) == 1)
    return dict(zip(KINDS, (first, active, orders, revenue), strict=True))


def truths(rates):
    """The mean of every day, by kind."""
    so_far = np.cumsum(RATE * rates)
    none = (1.0 + so_far / EVENNESS) ** -EVENNESS  # nothing so far: a gamma mixture of Poissons
    idle = (1.0 + RATE * rates / EVENNESS) ** -EVENNESS
    value = np.exp(SPREAD**2 / 2.0)
    first = -np.diff(none, prepend=1.0)
    means = (first, 1.0 - idle, RATE * rates, RATE * rates * value)
    return dict(zip(KINDS, means, strict=True))


def reduced(numbers):
    """Moments by simulation: the columns of days, of sums so far, and of the slope."""
    columns = [numbers, np.cumsum(numbers, axis=2), (numbers @ WEIGHTS)[:, :, None]]
    table = np.concatenate(columns, axis=2)
    mean = table.mean(axis=1)
    spread = ((table - mean[:, None]) ** 2).sum(axis=1)
    n = np.full(mean.shape, UNITS, np.int64)
    pairs = tuple((str(i), str(i)) for i in range(mean.shape[1]))
    cells = tuple((str(i),) for i in range(BATCH))
    return Moments(("sim",), pairs, cells, n[:, 0].copy(), n, mean, mean.copy(), spread)


def compared(arm, base, column):
    """`novelty_rows` compares the levels of a column in the same way."""
    pairs = ((est.mean_level(m, i, str(column)) for m in (arm, base)) for i in range(BATCH))
    return [est.difference(*levels, 0.05) for levels in pairs]


@pytest.mark.parametrize("effect", EFFECTS)
def test_days_sums_and_slope_hold_what_they_say(effect, count):
    rng = np.random.default_rng(len(effect))
    rates = 1.0 + LIFT * EFFECTS[effect]
    want = {k: truths(rates)[k] - truths(np.ones(DAYS))[k] for k in KINDS}
    if effect == "lasts":
        assert np.ptp(want["orders"]) < 1e-12
        assert np.ptp(want["days with an order"]) < 1e-12
    hit = {(k, what): [] for k in KINDS for what in ("day", "sum", "slope", "size")}
    for _ in range(count // BATCH):
        arms = [numbers_of(rng, r) for r in (rates, np.ones(DAYS))]
        for k in KINDS:
            arm, base = (reduced(a[k]) for a in arms)
            days = [[e.low <= t <= e.high for e in compared(arm, base, i)]
                    for i, t in enumerate(want[k])]  # fmt: skip
            hit[k, "day"] += np.mean(days, axis=0).tolist()
            sums = zip((14, 29), (15, 30), strict=True)
            far = [[e.low <= want[k][:n].sum() <= e.high for e in compared(arm, base, DAYS + i)]
                   for i, n in sums]  # fmt: skip
            hit[k, "sum"] += np.mean(far, axis=0).tolist()
            slopes = compared(arm, base, 2 * DAYS)
            hit[k, "slope"] += [e.low <= WEIGHTS @ want[k] <= e.high for e in slopes]
            hit[k, "size"] += [e.p_value < 0.05 for e in slopes]
    for k in KINDS:
        scenario = f"{k} of 2 x {UNITS:,} customers, an effect that {effect}"
        for what, name, loose in (
            ("day", "day_difference", SPARSE),
            ("sum", "cumulative_difference", 0.0),
            ("slope", "novelty_slope", 0.0),
        ):
            if (k, what) in (("days with an order", "day"), ("days with an order", "sum")):
                continue  # a retention's days are first orders, its slope all days with one
            if (k, what) == ("first orders", "slope"):
                continue
            found = np.array(hit[k, what], float)
            # 30 days of a simulation say more than one yes or no: the error is that of their share.
            error = max(found.std() / np.sqrt(count), np.sqrt(0.05 * 0.95 / count / DAYS))
            error = record(name, scenario, "coverage", 0.95, found.mean(), count, error)
            assert abs(found.mean() - 0.95) <= SIGMAS * error + loose, (k, what)
        if effect == "lasts" and k in ("days with an order", "orders", "revenue"):
            found = np.mean(hit[k, "size"])
            error = record("novelty_slope", scenario, "size", 0.05, found, count)
            assert abs(found - 0.05) <= SIGMAS * error, k


@pytest.mark.parametrize("shops", [2, pytest.param(300, marks=SLOW)])
def test_through_the_engine_a_lasting_effect_has_no_slope(write, shops):
    """Small simulated shops from their tables to the rows: two arms, two metrics each."""
    metrics = [{"name": k, "kind": k, "event": "orders", "within": "30d", "role": "primary"}
               for k in ("retention", "count")]  # fmt: skip
    end = dt.date(2026, 1, 15)
    scenario = dataclasses.replace(COMEBACK_COUPON, customers=3000)
    hits: dict[str, list[float]] = {"retention": [], "count": []}
    for seed in range(shops):
        shop = simulate(scenario, seed)
        tables = {
            t: dict(zip(shop.tables[t].column_names, shop.tables[t].columns, strict=True))
            for t in ("assignments", "orders")
        }
        plan = rl.plan(write(
            tables,
            data={"assignments": {"table": "assignments.parquet", "at": "assigned_at"},
                  "events": {"orders": {"table": "orders.parquet", "at": "ordered_at"}},
                  "as_of": end},
            design={"unit": "customer_id", "arm": "arm", "control": "none"},
            metrics=metrics,
        ))  # fmt: skip
        results = rl.analyse(plan, rl.reduce(plan))
        for metric, found in hits.items():
            rows = results.where(estimand="novelty_slope", metric=metric).rows
            found.append(float(np.mean([r.p_value < 0.05 for r in rows])))
    for metric, found in hits.items():
        scenario_ = f"{metric} in simulated shops of 3,000, an effect that lasts, two arms"
        error = record("novelty_slope", scenario_, "size", 0.05, np.mean(found), shops)
        assert abs(np.mean(found) - 0.05) <= SIGMAS * error
