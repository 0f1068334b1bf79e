"""Mean cumulative functions and rate ratios from pairs of days are those of the customers' rows."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retention_lab.data.repeats import Repeats
from retention_lab.errors import DataError
from retention_lab.survival.rates import rates
from retention_lab.survival.recurrent import mean_cumulative, process
from retention_lab.survival.recurrent_groups import differences, equal_means

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"


@pytest.fixture(scope="module")
def cases():
    path = GOLDEN / "survival.json"
    if not path.is_file():
        pytest.skip(f"no reference numbers of R at {path}")
    return {c["id"]: c for c in json.loads(path.read_text())["cases"]}


@pytest.fixture(scope="module")
def bladder(cases):
    with (GOLDEN / "data" / "bladder2.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {k: np.array([float(r[k]) for r in rows]) for k in rows[0]}


def shop(seed, size, effect=0.0, days=40, late=False):
    """Rows (id, start, stop, events, x, arm) of customers whose rates differ by much."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, size)
    x = rng.normal(size=size).round(1)
    rate = 0.05 * rng.gamma(0.7, 1 / 0.7, size) * np.exp(effect * arm + 0.3 * x)
    last = rng.integers(days // 3, days + 1, size)
    entry = np.where(rng.random(size) < 0.3, rng.integers(0, 10, size), -np.inf) if late else None
    out = []
    for i in range(size):
        begin = -np.inf if entry is None else entry[i]
        for day in np.flatnonzero(rng.random(last[i] + 1) < rate[i]):
            if day > begin:
                out.append((i, begin, day, 1, x[i], arm[i]))
                begin = day
        if begin < last[i]:
            out.append((i, begin, last[i], 0, x[i], arm[i]))
    return [np.array(c, float) for c in zip(*out, strict=True)]


def contributions(who, start, stop, events, time):
    """By customer and time, n(s) / Y - Y_i(s) dN / Y^2: the definition, over rows."""
    ids = np.unique(who)
    n = np.zeros((len(ids), len(time)))
    y = np.zeros((len(ids), len(time)))
    for i, a, b, e in zip(np.searchsorted(ids, who), start, stop, events, strict=True):
        y[i] += (time > a) & (time <= b)
        n[i] += e * (time == b)
    return (n - y * n.sum(axis=0) / y.sum(axis=0)) / y.sum(axis=0), n.sum(0) / y.sum(0)


def peer(x, arm, start, stop, events, **more):
    """The fit of statsmodels, a day later: it knows no entry before 0, and is at risk on entry."""
    entry = np.where(np.isfinite(start), start + 1.5, 0)
    z = np.column_stack([x, arm])
    return sm.PHReg(stop + 1, z, status=events, entry=entry, **more).fit(maxiter=100)


@pytest.mark.parametrize("rx", [1, 2])
def test_the_mean_cumulative_function_is_rs(cases, bladder, rx):
    expected = cases[f"mcf_bladder2_rx{rx}"]["expected"]
    names = ("id", "stop", "event", "start")
    mine = [bladder[k][bladder["rx"] == rx] for k in names]
    rows = Repeats.of(*mine)
    counts = dict(Repeats.of(*(bladder[k] for k in names), rx=bladder["rx"]).parts("rx"))
    for repeats in (rows, counts[(float(rx),)]):
        found = mean_cumulative(repeats).at(expected["times"])
        assert [v.estimate for v in found] == pytest.approx(expected["mcf"], rel=1e-9)
        errors = [v.std_error for v in found]
        assert errors == pytest.approx(expected["se_lawless_nadeau"], rel=1e-9)


def test_rate_ratios_are_rs(cases, bladder):
    expected = cases["lwyy_bladder2"]["expected"]
    x = {k: bladder[k] for k in expected["names"]}
    r = Repeats.of(bladder["id"], bladder["stop"], bladder["event"], bladder["start"], split=x)
    found = rates(r, expected["names"])
    np.testing.assert_allclose(found.estimate, expected["coef"], rtol=1e-8)
    np.testing.assert_allclose(found.model_error, expected["se"], rtol=1e-9)
    np.testing.assert_allclose(found.std_error, expected["robust_se"], rtol=1e-9)
    assert found.log_likelihood[1] == pytest.approx(expected["loglik"], rel=1e-11)
    assert (found.note, found.events, found.customers) == (None, 112, 85)


@given(seed=st.integers(0, 10_000), size=st.integers(2, 40), late=st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_variance_is_the_rowwise_one(seed, size, late):
    who, start, stop, events, _, _ = shop(seed, size, late=late)
    events = events * np.random.default_rng(seed).integers(1, 4, len(events))
    p = process(Repeats.of(who, stop, events, start))
    psi, steps = contributions(who, start, stop, events, p.time)
    np.testing.assert_allclose(p.increments, steps, rtol=1e-12)
    np.testing.assert_allclose(p.spread, psi.T @ psi, rtol=1e-9, atol=1e-13)
    m = mean_cumulative(p)
    variance = (np.cumsum(psi, axis=1) ** 2).sum(axis=0)
    np.testing.assert_allclose(m.std_error**2, variance, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("ties", ["breslow", "efron"])
@pytest.mark.parametrize("late", [False, True])
def test_rate_ratios_are_statsmodels(ties, late):
    who, start, stop, events, x, arm = shop(3, 300, 0.5, late=late)
    found = rates(Repeats.of(who, stop, events, start, x=x, arm=arm), ["x", "arm"], ties=ties)
    model = peer(x, arm, start, stop, events, ties=ties)
    np.testing.assert_allclose(found.estimate, model.params, rtol=1e-6)
    np.testing.assert_allclose(found.model_error, model.bse, rtol=1e-6)
    assert found.log_likelihood[1] == pytest.approx(model.llf, rel=1e-9)


def test_breslows_residuals_by_customer_are_the_meat():
    who, start, stop, events, x, arm = shop(4, 250, 0.5, late=True)
    found = rates(Repeats.of(who, stop, events, start, x=x, arm=arm), ["x", "arm"], ties="breslow")
    z = np.column_stack([x, arm])
    risk = np.exp(z @ found.estimate)
    u = np.zeros((int(who.max()) + 1, 2))
    for day in np.unique(stop[events > 0]):
        at = (start < day) & (stop >= day)
        mean = risk[at] @ z[at] / risk[at].sum()
        d = events[stop == day].sum()
        np.add.at(u, who[at].astype(int), -(z - mean)[at] * (risk * d)[at, None] / risk[at].sum())
        now = (stop == day) & (events > 0)
        np.add.at(u, who[now].astype(int), (z - mean)[now])
    np.testing.assert_allclose(u.sum(axis=0), 0, atol=1e-8)
    information = np.linalg.inv(found.covariance)  # of A^-1 B A^-1
    bread = np.linalg.inv(_inverse_information(found, z, risk, start, stop, events))
    np.testing.assert_allclose(np.linalg.inv(information), bread @ (u.T @ u) @ bread, rtol=1e-8)


def _inverse_information(found, z, risk, start, stop, events):
    total = np.zeros((2, 2))
    for day in np.unique(stop[events > 0]):
        at = (start < day) & (stop >= day)
        w = risk[at] / risk[at].sum()
        off = z[at] - w @ z[at]
        total += events[stop == day].sum() * (off * w[:, None]).T @ off
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(total))), found.model_error, rtol=1e-9)
    return total


def test_strata_have_their_own_baselines():
    who, start, stop, events, x, arm = shop(5, 400, 0.4)
    month = (who % 3).astype(int).astype(str)
    r = Repeats.of(who, stop, events, start, x=x, arm=arm, month=month.astype(object))
    found = rates(r, ["x", "arm"], strata=["month"])
    model = peer(x, arm, start, stop, events, ties="efron", strata=month.astype(int))
    np.testing.assert_allclose(found.estimate, model.params, rtol=1e-6)
    np.testing.assert_allclose(found.model_error, model.bse, rtol=1e-6)
    alone = [rates(p, ["x", "arm"]) for _, p in r.parts("month")]
    both = sum(a.log_likelihood[0] for a in alone)
    assert found.log_likelihood[0] == pytest.approx(both, rel=1e-12)


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_copies_of_histories_weigh_as_customers(ties):
    who, start, stop, events, x, arm = shop(6, 60, 0.5)
    n = 1 + (who * 7) % 4
    again = np.repeat(np.arange(len(who)), n.astype(int))
    copy = np.concatenate([np.arange(k) for k in n.astype(int)])
    weighted = Repeats.of(who, stop, events, start, n, x=x, arm=arm)
    long = [c[again] for c in (who, stop, events, start, x, arm)]
    expanded = Repeats.of(long[0] * 10 + copy, *long[1:4], x=long[4], arm=long[5])
    one, two = (rates(r, ["x", "arm"], ties=ties) for r in (weighted, expanded))
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-12)
    np.testing.assert_allclose(one.estimate, two.estimate, rtol=1e-12)


def test_several_events_a_day_are_breslows_and_said():
    who, start, stop, events, x, _ = shop(7, 100)
    found = rates(Repeats.of(who, stop, 2 * events, start, x=x), ["x"])
    assert found.ties == "breslow"
    assert found.note.startswith("same_day:")
    once = rates(Repeats.of(who, stop, events, start, x=x), ["x"], ties="breslow")
    np.testing.assert_allclose(found.estimate, once.estimate, rtol=1e-9)
    np.testing.assert_allclose(found.std_error, once.std_error, rtol=1e-9)
    np.testing.assert_allclose(found.model_error * math.sqrt(2), once.model_error, rtol=1e-9)


def test_rates_of_what_cannot_be_compared_say_why():
    who, start, stop, events, x, arm = shop(8, 100)
    r = Repeats.of(who, stop, events, start, x=x, twice=2 * x, arm=arm)
    assert (
        rates(r, ["x", "twice"]).note == "collinear: 'twice' cannot be told apart from the others"
    )
    none = rates(Repeats.of(who, stop, 0 * events, start, x=x), ["x"])
    assert none.note.startswith("no_events:")
    assert np.isnan(none.estimate).all()
    apart = rates(Repeats.of(who, stop, events * arm, start, arm=arm), ["arm"])
    assert apart.note.startswith("separated:")
    with pytest.raises(ValueError, match="ties"):
        rates(r, ["x"], ties="exact")
    with pytest.raises(KeyError, match="arm"):
        rates(r, ["arn"])


def test_texts_are_indicators_of_all_levels_but_the_first():
    who, start, stop, events, _, arm = shop(9, 200, 0.4)
    text = np.array(["none", "c10"], object)[arm.astype(int)]
    found = rates(Repeats.of(who, stop, events, start, arm=text), ["arm"])
    number = rates(Repeats.of(who, stop, events, start, arm=arm), ["arm"])
    assert found.names == ("arm=none",)
    np.testing.assert_allclose(found.estimate, -number.estimate, rtol=1e-9)


def groups_of(seed, size, effect=0.0, k=2):
    who, start, stop, events, _, arm = shop(seed, size, effect)
    label = who % k if k > 2 else arm
    r = Repeats.of(who, stop, events, start, arm=label)
    rows = [tuple(c[label == g] for c in (who, start, stop, events)) for g in range(k)]
    return [p for _, p in r.parts("arm")], rows


@pytest.mark.parametrize("k", [2, 3])
def test_the_test_of_equal_means_is_the_rowwise_one(k):
    groups, rows = groups_of(10, 200, 0.3, k)
    tau = 30.0
    found = equal_means(groups, tau)
    time = np.unique(np.concatenate([g[2][g[3] > 0] for g in rows]))
    time = time[time <= tau]
    at_risk = np.array([[((g[1] < t) & (t <= g[2])).sum() for t in time] for g in rows])
    score, spread = np.zeros(k), np.zeros((k, k))
    for h, mine in enumerate(rows):
        psi, step = contributions(*mine, time)
        a = np.array([((g == h) - at_risk[g] / at_risk.sum(0)) * at_risk[h] for g in range(k)])
        score += a @ step
        spread += (psi @ a.T).T @ (psi @ a.T)
    expected = score[1:] @ np.linalg.solve(spread[1:, 1:], score[1:])
    assert found.statistic == pytest.approx(expected, rel=1e-8)
    assert found.df == k - 1
    assert 0 < found.p_value < 1


def test_the_difference_is_that_of_the_two_means():
    (base, arm), _ = groups_of(11, 300, 0.4)
    (value,) = differences(arm, base, [30])
    one, two = (mean_cumulative(g).at([30])[0] for g in (arm, base))
    assert value.estimate == pytest.approx(one.estimate - two.estimate)
    assert value.std_error == pytest.approx(math.hypot(one.std_error, two.std_error))
    z = value.estimate / value.std_error
    assert value.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
    half = stats.norm.isf(0.025) * value.std_error
    assert value.high - value.estimate == pytest.approx(half, rel=1e-12)
    assert value.estimate - value.low == pytest.approx(half, rel=1e-12)


def test_the_order_of_groups_does_not_change_the_test():
    groups, _ = groups_of(12, 240, 0.3, 3)
    found = {round(equal_means(g, 30).statistic, 9) for g in (groups, groups[::-1])}
    assert len(found) == 1


def test_days_without_a_number_say_why():
    one = mean_cumulative(Repeats.of([1, 2], [5, 9], [1, 0]))
    before, later, beyond = one.at([2, 7, 10])
    assert (before.estimate, before.low) == (0.0, None)
    assert before.note.startswith("no_events")
    assert later.estimate == 0.5
    assert beyond.estimate is None
    assert (
        beyond.note == "beyond_follow_up: no customer is at risk as late as this; the last day is 9"
    )
    alone = mean_cumulative(Repeats.of([1], [5], [1])).at([5])[0]
    assert (alone.estimate, alone.std_error) == (1.0, None)
    assert alone.note.startswith("too_few_customers")
    alike = mean_cumulative(Repeats.of([1, 2], [5, 5], [1, 1])).at([5])[0]
    assert alike.note.startswith("zero_variance")
    nobody = mean_cumulative(Repeats.of([], [], [])).at([5])[0]
    assert nobody.note.startswith("no_customers")


def test_comparisons_without_a_number_say_why():
    some, none = Repeats.of([1, 2], [5, 9], [1, 0]), Repeats.of([1, 2], [9, 9], [0, 0])
    assert differences(some, none, [10])[0].note.startswith("beyond_follow_up")
    assert differences(some, none, [7])[0].estimate == 0.5
    assert differences(none, none, [7])[0].note.startswith("no_events")
    assert equal_means([some], 5).note.startswith("one_group")
    assert equal_means([some, none], 30).note.startswith("beyond_follow_up")
    assert equal_means([none, none], 5).note.startswith("no_events")
    assert equal_means([some, Repeats.of([1], [9], [1])], 5).note.startswith("too_few")


def test_plain_intervals_and_sums_that_fall():
    r = Repeats.of([1, 2, 3, 4], [3, 4, 5, 6], [-2.0, 1.0, -3.0, 0.0])
    for scale in ("log", "plain"):
        v = mean_cumulative(r, scale=scale).at([5])[0]
        assert v.estimate == pytest.approx(-2 / 4 + 1 / 3 - 3 / 2)
        assert v.low < v.estimate < v.high
    assert v.high - v.estimate == pytest.approx(v.estimate - v.low)


def test_too_many_times_want_rounding():
    size = 5_001
    with pytest.raises(DataError, match="5,001 distinct times"):
        process(Repeats.of(np.arange(size), np.arange(size) + 0.5, np.ones(size)))
