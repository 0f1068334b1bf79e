"""Quantiles of two arms: the estimate, its order-statistic interval, difference and lift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.descriptivestats import describe

import retention_lab as rl
from retention_lab.ab.estimate import EMPTY, NOT_FINITE, UNBOUNDED
from retention_lab.ab.quantile import (
    AT_ATOM,
    FEW_BEYOND,
    LEAST,
    limits,
    quantile,
    quantile_difference,
    quantile_level,
    quantile_lift,
)
from retention_lab.data.values import Distribution


def dist(x, **more):
    values, counts = np.unique(np.asarray(x, float), return_counts=True)
    return Distribution(values, values, np.cumsum(counts), **more)


def shifted(d, by=0.0, times=1.0):
    return Distribution(d.low * times + by, d.high * times + by, d.up_to)


SKEWED = np.random.default_rng(1).lognormal(3, 1, 3001)
DAYS = np.random.default_rng(2).integers(1, 31, 500)


@pytest.mark.parametrize("x", [SKEWED, DAYS, [5.0], [1, 1, 1, 2]])
@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.99])
def test_the_estimate_is_numpys_and_statsmodels(x, q):
    assert quantile(dist(x), q) == pytest.approx(np.quantile(x, q), rel=1e-12)
    if len(x) > 1:
        table = describe(np.asarray(x, float), stats=["percentiles"], percentiles=[round(100 * q)])
        expected = float(table.iloc[0, 0])
        assert quantile(dist(x), q) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "q", "r", "s"), [(50, 0.5, 18, 33), (100, 0.9, 84, 96)])
def test_whole_order_statistics_have_their_binomial_confidence(n, q, r, s):
    """At the level of the closed order-statistic interval's tails the ends are those units."""
    d = dist(np.arange(1.0, n + 1))
    below, above = stats.binom.cdf(r - 1, n, q), stats.binom.sf(s - 1, n, q)
    assert limits(d, q, 2 * below)[0] == pytest.approx(r, abs=1e-6)
    assert limits(d, q, 2 * above)[1] == pytest.approx(s, abs=1e-6)


def test_the_interval_lies_within_scipys_conservative_one():
    """scipy.stats.quantile_test: the closed order-statistic interval, one rank wider at most."""
    ranks = dist(np.arange(1.0, 3002))
    for q in (0.1, 0.5, 0.9, 0.99):
        low, high = limits(ranks, q, 0.05)
        test = stats.quantile_test(np.arange(1.0, 3002), p=q)
        closed = test.confidence_interval(0.95)
        assert closed.low <= low <= closed.low + 1
        assert closed.high - 1 <= high <= closed.high


def test_the_standard_error_is_woodruffs():
    d, q, n = dist(SKEWED), 0.9, len(SKEWED)
    z = stats.norm.ppf(0.975)
    beyond = z * math.sqrt(q * (1 - q) / n)
    ends = np.quantile(SKEWED, [q - beyond, q + beyond])
    assert quantile_level(d, q, 0.05).std_error == pytest.approx(np.diff(ends) / 2 / z, rel=0.03)


def test_standard_errors_are_right_on_average():
    """Against sqrt(q (1 - q) / n) / f, f being the density at the quantile."""
    rng, q, n = np.random.default_rng(6), 0.9, 2000
    found = [quantile_level(dist(rng.lognormal(size=n)), q, 0.05).std_error for _ in range(200)]
    density = stats.lognorm.pdf(np.exp(stats.norm.ppf(q)), 1)
    error = np.std(found) / math.sqrt(200)
    assert np.mean(found) == pytest.approx(math.sqrt(q * (1 - q) / n) / density, abs=4 * error)


def test_the_difference_adds_squares_of_the_arms_distances():
    arm, base = dist(SKEWED), dist(SKEWED[::3] * 0.8)
    (la, ua), (lb, ub) = limits(arm, 0.9, 0.1), limits(base, 0.9, 0.1)
    a, b = quantile(arm, 0.9), quantile(base, 0.9)
    e = quantile_difference(arm, base, 0.9, 0.1)
    assert e.estimate == pytest.approx(a - b)
    assert e.low == pytest.approx(a - b - math.hypot(a - la, ub - b))
    assert e.high == pytest.approx(a - b + math.hypot(ua - a, b - lb))
    assert e.note is None


def in_lift(ratio, arm, base, q, alpha):
    """Whether the difference's interval of arm against `ratio` times |base| holds 0."""
    size = shifted(base, times=ratio) if quantile(base, q) > 0 else shifted(base, times=-ratio)
    if size.low[0] > size.low[-1]:
        counts = np.diff(size.up_to, prepend=0)[::-1]
        size = Distribution(size.high[::-1], size.low[::-1], np.cumsum(counts))
    e = quantile_difference(arm, size, q, alpha)
    return e.low <= 0 <= e.high


@pytest.mark.parametrize("base_times", [1.0, -1.0, 1e-3])
@pytest.mark.parametrize("move", [(0.0, 1.3), (-60.0, 1.0), (-20.0, 1.0), (0.0, -0.5), (500.0, 1)])
def test_the_lift_holds_the_ratios_that_are_not_refused(base_times, move):
    q, alpha = 0.5, 0.05
    rng = np.random.default_rng(3)
    base = dist(rng.lognormal(3, 1, 300) * base_times)
    arm = dist(rng.lognormal(3, 1, 400) * move[1] + move[0])
    sign = math.copysign(1.0, base_times)
    e = quantile_lift(arm, base, q, alpha)
    for end, inwards in ((e.low, 1), (e.high, -1)):
        step = 1e-7 * max(abs(end + sign), 1.0) * inwards
        assert in_lift(end + sign + step, arm, base, q, alpha)
        assert not in_lift(end + sign - step, arm, base, q, alpha)
    whole = quantile_difference(arm, base, q, alpha)
    assert e.p_value == whole.p_value
    assert e.estimate == pytest.approx(whole.estimate / abs(quantile(base, q)))
    assert (e.low > 0 or e.high < 0) == (whole.low > 0 or whole.high < 0)


def test_a_base_far_from_sure_but_above_zero_has_a_lift():
    """The base's upper end is above twice its estimate, where the usual root changes sides."""
    rng = np.random.default_rng(4)
    base, arm = dist(rng.lognormal(0, 2.5, 60)), dist(rng.lognormal(2, 1, 60))
    assert limits(base, 0.5, 0.05)[1] > 2 * quantile(base, 0.5)
    e = quantile_lift(arm, base, 0.5, 0.05)
    assert in_lift(e.low + 1 + 1e-6, arm, base, 0.5, 0.05)
    assert not in_lift(e.low + 1 - 1e-6, arm, base, 0.5, 0.05)


values = st.lists(st.one_of(st.integers(-5, 5), st.floats(-50, 50)), min_size=1, max_size=80)


@given(a=values, b=values, q=st.sampled_from([0.1, 0.5, 0.9]), alpha=st.sampled_from([0.05, 0.2]))
@settings(max_examples=150, deadline=None)
def test_the_p_value_and_every_interval_agree(a, b, q, alpha):
    arm, base = dist(a), dist(b)
    e = quantile_difference(arm, base, q, alpha)
    assert e.estimate == pytest.approx(np.quantile(a, q) - np.quantile(b, q), abs=1e-9)
    if e.p_value is None:
        assert e.note == FEW_BEYOND
        return
    assert e.low <= e.estimate <= e.high
    assert LEAST <= e.p_value <= 1
    for level in (e.p_value * (1 + 1e-5), e.p_value * (1 - 1e-5)):
        if not max(0.5 ** len(a), 0.9 ** len(a), 0.9 ** len(b)) * 2 < level < 1:
            continue
        at = quantile_difference(arm, base, q, level)
        assert (at.low <= 0 <= at.high) == (level < e.p_value)
    back = quantile_difference(base, arm, q, alpha)
    assert (back.low, back.high) == pytest.approx((-e.high, -e.low), abs=1e-9)
    assert back.p_value == pytest.approx(e.p_value, rel=1e-5)


@given(a=values, q=st.sampled_from([0.1, 0.5, 0.9]))
@settings(max_examples=100, deadline=None)
def test_intervals_are_nested_and_hold_the_estimate(a, q):
    d = dist(a)
    wide, narrow, least = (limits(d, q, alpha) for alpha in (0.05, 0.2, 0.999))
    for outer, inner in ((wide, narrow), (narrow, least)):
        if outer is not None:
            assert outer[0] <= inner[0] <= quantile(d, q) <= inner[1] <= outer[1]


def test_a_quantile_within_an_atom_has_an_interval_without_width():
    """Half of the customers and more spend nothing: the median is 0, surely, in both arms."""
    rng = np.random.default_rng(5)
    arm, base = (dist(np.where(rng.random(900) < 0.7, 0.0, rng.lognormal(size=900))) for _ in "ab")
    e = quantile_difference(arm, base, 0.5, 0.05)
    assert (e.estimate, e.std_error, e.low, e.high) == (0.0, 0.0, 0.0, 0.0)
    assert (e.p_value, e.note) == (1.0, AT_ATOM)
    assert quantile_level(arm, 0.5, 0.05).note == AT_ATOM
    assert quantile_lift(arm, base, 0.5, 0.05).note == UNBOUNDED


def test_atoms_apart_differ_as_surely_as_the_units_allow():
    e = quantile_difference(dist([6.0] * 20), dist([5.0] * 40), 0.5, 0.05)
    assert (e.estimate, e.low, e.high, e.note) == (1.0, 1.0, 1.0, AT_ATOM)
    assert e.p_value == pytest.approx(2 * 0.5**20)
    lift = quantile_lift(dist([6.0] * 20), dist([5.0] * 40), 0.5, 0.05)
    assert (lift.low, lift.high) == pytest.approx((0.2, 0.2))
    far = quantile_difference(dist([6.0] * 9000), dist([5.0] * 9000), 0.5, 0.05)
    assert far.p_value == LEAST


@pytest.mark.parametrize("function", [quantile_difference, quantile_lift])
def test_nasty_input_has_a_reason(function):
    fine = dist(SKEWED)
    none = dist([])
    infinite = dist(SKEWED, not_finite=1)
    few = dist(SKEWED[:50])
    assert function(none, fine, 0.5, 0.05).note == EMPTY
    assert function(fine, none, 0.5, 0.05).note == EMPTY
    assert function(fine, infinite, 0.5, 0.05).note == NOT_FINITE
    for one in (few, dist([1.0]), dist([1.0, 2.0])):
        e = function(fine, one, 0.99, 0.05)
        assert (e.low, e.p_value, e.note) == (None, None, FEW_BEYOND)
    huge = function(dist(SKEWED * 1e290), dist(SKEWED[::2] * -1e290), 0.9, 0.05)
    assert huge.low is not None
    tiny = function(dist(SKEWED * 1e-290), dist(SKEWED[::2] * 1e-290), 0.9, 0.05)
    assert tiny.low < tiny.high
    far = function(dist(SKEWED + 1e9), dist(SKEWED[::2] + 1e9), 0.9, 0.05)
    assert far.low < far.estimate < far.high
    assert function(fine, dist(SKEWED[::2] * 0.9), 0.9, 0.05).low is not None


def test_levels_of_few_units_have_an_estimate_alone():
    e = quantile_level(dist([1.0, 2.0, 4.0]), 0.5, 0.05)
    assert (e.estimate, e.low, e.note) == (2.0, None, FEW_BEYOND)
    assert quantile_level(dist([]), 0.5, 0.05).note == EMPTY
    assert quantile(dist([]), 0.5) is None
    assert limits(dist([1.0] * 5), 0.5, 0.05) is None
    assert limits(dist([1.0] * 6), 0.5, 0.05) == (1.0, 1.0)


@pytest.mark.parametrize("q", [0.0, 1.0, -1.0, math.nan])
def test_a_probability_out_of_range_is_a_programmers_error(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile_difference(dist(DAYS), dist(DAYS), q, 0.05)


# -- through the whole pipeline -----------------------------------------------------------------


def test_a_quantile_metric_is_numpys_from_rows(write, tmp_path):
    rng = np.random.default_rng(0)
    n = 6000
    arm = np.array(["a", "b"])[rng.integers(0, 2, n)]
    days = rng.integers(2, 31, n) - 2 * (arm == "b")
    market = np.array(["x", "y"])[rng.integers(0, 2, n)]
    metrics = [{"name": "slowest", "kind": "quantile", "value": "days", "quantile": 0.9,
                "role": "primary", "direction": "decrease"}]  # fmt: skip
    spec = {"design": {"arm": "arm", "control": "a"}, "metrics": metrics, "segments": ["market"]}
    columns = {"arm": arm, "days": days, "market": market}
    path = write({"units": columns}, data={"units": "units.parquet"}, **spec)
    plan = rl.plan(path)
    moments = rl.reduce(plan)
    results = rl.analyse(plan, moments)
    for level in (None, "x", "y"):
        inside = np.ones(n, bool) if level is None else market == level
        want = [np.quantile(days[inside & (arm == a)], 0.9) for a in "ba"]
        row = results.one(estimand="quantile_difference", level=level)
        assert row.estimate == pytest.approx(want[0] - want[1], abs=1e-12)
    assert rl.decide(plan, results).decision == "ship"
    moments.save(tmp_path / "m.parquet")
    again = rl.Moments.load(tmp_path / "m.parquet")
    assert rl.analyse(plan, again).rows == results.rows
    both = rl.merge(moments, again)
    assert both.values["slowest"].n.sum() == 2 * n
