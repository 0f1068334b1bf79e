"""Rollouts: coverage and size where few and many markets begin one after another, truth known.

Markets differ in level, share a trend, have shocks that last (0.5 of them a month later) and an
effect of their own (mean 1, standard deviation 0.3). A share of S simulations may differ from its
nominal value by `SIGMAS` Monte-Carlo errors and by `LOOSE` besides where a group has few markets:
then a normal t with degrees of freedom that are estimated themselves is only nearly right.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from table import record

from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.few import Error, error_of
from retention_lab.incentives.rollout.pretrend import trend_test
from retention_lab.incentives.rollout.staggered import group_time_effects
from retention_lab.incentives.rollout.synthetic import synthetic_difference
from retention_lab.incentives.rollout.wild import simultaneous, wild_p
from retention_lab.twin.rollout import simulate_rollout
from retention_lab.twin.warehouses import WAREHOUSES

SIGMAS = 3.5
LOOSE = 0.02
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
PERIODS, STARTS, ALPHA = 10, (4, 6, 8), 0.05
SIZES = {  # markets that begin, that never do
    "40 of 80 markets": (40, 40),
    "12 of 32 markets": (12, 20),
    "6 of 26 markets": (6, 20),
    "6 of 12 markets": (6, 6),
    "all of 30 markets": (30, 0),
}


@pytest.fixture(params=[4, pytest.param(500, marks=SLOW)])
def count(request):
    return request.param


def world(rng, treated, never, effect=1.0, spread=0.3, slope=0.0, starts=STARTS):
    """Outcomes (markets, periods) and starts."""
    size = treated + never
    adopted = np.full(size, np.inf)
    adopted[:treated] = rng.choice(starts, treated)
    shock = rng.normal(size=(size, PERIODS))
    for t in range(1, PERIODS):
        shock[:, t] += 0.5 * shock[:, t - 1]
    own = effect + effect * spread * rng.normal(size=size)
    after = np.arange(PERIODS)[None, :] >= adopted[:, None]
    apart = slope * np.arange(PERIODS) * np.isfinite(adopted)[:, None]
    level = rng.normal(size=(size, 1)) + 0.1 * np.arange(PERIODS)
    return level + shock + after * own[:, None] + apart, adopted


def averager(y, adopted, controls="not_yet"):
    return Averager(group_time_effects(y, adopted, controls=controls), adopted)


def holds(found, error, truth):
    return abs(found.estimate - truth) <= error.half(ALPHA)


def settle(estimator, scenario, what, nominal, found, loose=LOOSE):
    """Record a share and hold it against its nominal value."""
    found = np.asarray([f for f in found if f is not None], float)
    single = np.sqrt(nominal * (1 - nominal) / len(found))
    error = record(estimator, scenario, what, nominal, found.mean(), len(found), single)
    assert abs(found.mean() - nominal) <= SIGMAS * error + loose, (estimator, scenario, what)


def centred(estimator, scenario, off):
    """Record the mean of what was found less the truth; within its Monte-Carlo error it is 0."""
    off = np.asarray(off)
    error = off.std(ddof=1) / np.sqrt(len(off))
    record(estimator, scenario, "bias", 0.0, off.mean(), len(off), error)
    assert abs(off.mean()) <= SIGMAS * error, (estimator, scenario)


@pytest.mark.parametrize("size", SIZES)
def test_effects_of_markets_that_begin_one_after_another(size, count):
    rng = np.random.default_rng(len(size) + SIZES[size][0])
    off, keys = [], ("average", "since", "band", "trend", "wild")
    kept: dict[str, list[float | None]] = {k: [] for k in keys}
    for _ in range(count):
        made = averager(*world(rng, *SIZES[size]))
        simple, parts = made.simple().overall, made.dynamic().parts
        truths = [1.0 if p.at >= 0 else 0.0 for p in parts]
        errors = [error_of(p) for p in parts]
        off.append(simple.estimate - 1.0)
        kept["average"].append(holds(simple, error_of(simple), 1.0))
        able = [(p, e, t) for p, e, t in zip(parts, errors, truths, strict=True) if e.std_error]
        kept["since"].append(np.mean([holds(*x) for x in able]))
        halves = simultaneous(parts, errors, ALPHA)
        kept["band"].append(all(
            abs(p.estimate - t) <= h
            for p, t, h in zip(parts, truths, halves, strict=True) if h is not None
        ))  # fmt: skip
        trend = trend_test([p for p in parts if p.at < 0], ALPHA)
        kept["trend"].append(None if trend is None else trend.p_value < ALPHA)
        idle = averager(*world(rng, *SIZES[size], effect=0.0)).simple().overall
        kept["wild"].append(wild_p(idle, draws=499) <= ALPHA)
    centred("average_effect", size, off)
    settle("average_effect", size, "coverage", 0.95, kept["average"])
    settle("event_time_effect", size, "coverage", 0.95, kept["since"])
    settle("event_time_effect, simultaneous", size, "coverage", 0.95, kept["band"])
    settle("pretrend_test", size, "size", 0.05, kept["trend"])
    settle("wild_bootstrap_p", size, "size", 0.05, kept["wild"], loose=0.03)


def test_the_slope_that_is_seen_with_80_percent_power(count):
    """All that begin run apart from those that never do (so the latter alone are compared)."""
    rng = np.random.default_rng(80)
    kept, powers = {}, []
    for size in ("40 of 80 markets", "12 of 32 markets"):
        slopes = []
        for _ in range(max(8, count // 10)):
            parts = averager(*world(rng, *SIZES[size]), "never").dynamic().parts
            slopes.append(trend_test([p for p in parts if p.at < 0]).slope)
        kept[size] = float(np.median(slopes))
        seen = []
        for _ in range(count):
            made = averager(*world(rng, *SIZES[size], slope=kept[size]), "never")
            trend = trend_test([p for p in made.dynamic().parts if p.at < 0])
            seen.append(trend.p_value < ALPHA)
        settle("pretrend_power", size, "power at the slope", 0.8, seen, loose=0.05)
        powers.append(np.mean(seen))
    assert kept["40 of 80 markets"] < kept["12 of 32 markets"]


@pytest.mark.parametrize("treated", [1, 3])
def test_synthetic_differences(treated, count):
    rng = np.random.default_rng(treated)
    held, rejected, off = [], [], []
    for _ in range(count):
        y, adopted = world(rng, treated, 20, spread=0.0, starts=(6, 7))
        found = synthetic_difference(y, adopted, draws=99)
        held.append(holds(found, Error(found.std_error, found.df), 1.0))
        off.append(found.estimate - 1.0)
        y, adopted = world(rng, treated, 20, effect=0.0, starts=(6,))
        rejected.append(synthetic_difference(y, adopted, draws=99).p_value <= ALPHA)
    scenario = f"{treated} of {treated + 20} markets"
    centred("synthetic_difference", scenario, off)
    settle("synthetic_difference", scenario, "coverage", 0.95, held, loose=0.03)
    settle("synthetic_difference", scenario, "size of placebos' p", 0.05, rejected, loose=0.03)


def test_the_simulated_warehouses_and_their_truth(count):
    """Through the twin's panel, markets weighted by their customers.

    The truth is that of these very markets, but errors are of markets as draws: they are 1.12 times
    as large as the spread of the estimates about the truth, so that intervals cover in 0.97.
    """
    keys = ("weighted", "plain")
    held: dict[str, list[float]] = {k: [] for k in keys}
    bias: dict[str, list[float]] = {k: [] for k in keys}
    trends = []
    few = dataclasses.replace(WAREHOUSES, customers=1000)
    for seed in range(count):
        made = simulate_rollout(few, seed)
        y = np.asarray(made.tables["panel"]["repurchase_30d"]).reshape(len(made.opened), -1)
        truth = made.truth()
        for how, weight in (("weighted", made.weight), ("plain", None)):
            cells = group_time_effects(y, made.opened, weight)
            average = Averager(cells, made.opened, weight)
            simple = average.simple().overall
            want = truth[how]["repurchase_30d"]["average_effect"]
            held[how].append(holds(simple, error_of(simple), want))
            bias[how].append(simple.estimate - want)
            if how == "plain":
                before = [p for p in average.dynamic().parts if p.at < 0]
                trends.append(trend_test(before).p_value < ALPHA)
    for how in keys:
        scenario = f"simulated warehouses, markets {how}"
        settle("average_effect", scenario, "coverage", 0.95, held[how], loose=0.03)
        centred("average_effect", scenario, bias[how])
    settle("pretrend_test", "simulated warehouses, markets plain", "size", 0.05, trends)
