"""The course of weekly effects: against plain sums and brute force, and its hard cases."""

from __future__ import annotations

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.weeks import Weeks
from retention_lab.incentives.pullforward import course, pull_forward_rows

W = 12
PLAN = types.SimpleNamespace(
    arms=("none", "c10"),
    spec=types.SimpleNamespace(
        design=types.SimpleNamespace(randomised=None),
        inference=types.SimpleNamespace(alpha=0.05),
    ),
)


def totals(rng, n, mean):
    """Weekly orders of n customers, who differ in how much they order."""
    return rng.poisson(rng.gamma(0.8, 1 / 0.8, n)[:, None] * np.asarray(mean))


def weeks_of(base, arm, missing=0):
    both = {"c10": arm, "none": base}
    return Weeks(
        arms=tuple(both),
        n=np.array([len(x) for x in both.values()]),
        sums=np.array([x.sum(axis=0) for x in both.values()], float),
        products=np.array([x.T @ x for x in both.values()], float),
        missing=np.array([missing, 0]),
        event="orders",
        definition="",
    )


def rows_of(base, arm, missing=0):
    rows = pull_forward_rows(PLAN, weeks_of(base, arm, missing))
    return {(r.estimand, r.at if r.estimand != "pull_forward" else None): r for r in rows}


def shop(effect, n=6000, seed=1, level=0.1):
    rng = np.random.default_rng(seed)
    base = np.full(W, level)
    return totals(rng, n, base), totals(rng, n, base + np.asarray(effect))


FORWARD = np.array([0.04] * 4 + [-0.04] * 4 + [0.0] * 4)
LASTING = np.full(W, 0.03)


def test_every_number_is_that_of_plain_sums():
    base, arm = shop(FORWARD, 800)
    found = rows_of(base, arm)
    for k in range(1, W + 1):
        for name, start in (("weekly_effect", k - 1), ("cumulative_effect", 0)):
            a, b = (x[:, start:k].sum(axis=1) for x in (arm, base))
            row = found[name, str(k)]
            error = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
            assert row.estimate == pytest.approx(a.mean() - b.mean(), rel=1e-9, abs=1e-12)
            assert row.std_error == pytest.approx(error, rel=1e-9)
            assert (row.n, row.n_baseline) == (800, 800)
    path = arm.cumsum(1).mean(0) - base.cumsum(1).mean(0)
    back = found["pull_forward", None]
    assert back.at == str(path.argmax() + 1)
    assert back.estimate == pytest.approx(1 - path[-1] / path.max())
    net, last = found["net_effect", "12"], found["cumulative_effect", "12"]
    assert (net.estimate, net.std_error) == (last.estimate, last.std_error)
    assert net.ci_high - net.ci_low == pytest.approx(2 * 1.959964 * net.std_error, rel=1e-6)
    assert last.ci_high > net.ci_high


def test_a_band_is_wider_than_one_interval_and_narrower_than_bonferroni():
    base, arm = shop(LASTING)
    v = np.cov(arm.T) / len(arm) + np.cov(base.T) / len(base)
    found = course(arm.mean(0) - base.mean(0), v)
    assert 1.96 < found.band < 2.865  # Bonferroni over 12
    # By brute force, with other random numbers.
    path = np.random.default_rng(3).multivariate_normal(np.zeros(W), v, 40_000).cumsum(1)
    largest = np.abs(path / found.cumulative_error).max(1)
    assert found.band == pytest.approx(np.quantile(largest, 0.95), abs=0.03)
    alone = course(np.array([0.1]), np.array([[0.01]]))
    assert alone.band == pytest.approx(1.96, abs=0.03)


def test_the_p_value_is_that_of_brute_force():
    base, arm = shop(0.35 * FORWARD, seed=4)
    d = arm.mean(0) - base.mean(0)
    v = np.cov(arm.T) / len(arm) + np.cov(base.T) / len(base)
    found = course(d, v)

    def statistics(x):
        path = x.cumsum(-1)
        later = path[..., :-1] - path[..., -1:]
        sums = np.tril(np.ones((W, W)))
        fallen = sums[:-1] - sums[-1]
        error = [np.sqrt(np.diag(m @ v @ m.T)) for m in (sums, fallen)]
        return (path / error[0]).max(-1), (later / error[1]).max(-1)

    draws = np.random.default_rng(9).multivariate_normal(np.zeros(W), v, 60_000)
    p = [
        (simulated >= seen).mean()
        for simulated, seen in zip(statistics(draws), statistics(d), strict=True)
    ]
    assert 0.0005 < max(p) < 0.5
    assert found.p_back == pytest.approx(max(p), abs=0.01, rel=0.15)


def test_a_coupon_that_moves_orders_forward_is_seen():
    found = rows_of(*shop(FORWARD))
    back, net = found["pull_forward", None], found["net_effect", "12"]
    assert back.p_value < 0.001
    assert back.ci_low < 1.0 < back.ci_high
    assert 3 <= int(back.at) <= 5
    assert net.ci_low < 0 < net.ci_high
    assert back.note is None


def test_a_lasting_effect_gives_nothing_back():
    found = rows_of(*shop(LASTING))
    back = found["pull_forward", None]
    assert back.p_value > 0.05
    assert back.estimate < 0.1
    assert found["net_effect", "12"].ci_low > 0


def test_harm_that_grows_is_no_pull_forward():
    found = rows_of(*shop(-0.6 * LASTING))
    back = found["pull_forward", None]
    assert back.estimate is None or back.p_value > 0.05
    assert found["net_effect", "12"].ci_high < 0
    flat = course(np.full(W, -0.1), np.eye(W) * 1e-4)
    assert (flat.peak, flat.back, flat.p_back) == (None, None, None)


def test_a_dip_that_has_not_ended_is_said():
    late = np.array([0.05] * 5 + [0.0] * 3 + [-0.05] * 4)
    note = rows_of(*shop(late))["pull_forward", None].note
    assert note.startswith("still_falling: in weeks 10 to 12")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), weeks=st.integers(4, 16))
def test_another_unit_of_the_values_changes_no_share_and_no_p(seed, scale, weeks):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, weeks))
    d, v = x.mean(0), np.cov(x.T) / 40
    one, other = course(d, v), course(scale * d, scale**2 * v)
    assert one.peak == other.peak
    assert one.p_back == pytest.approx(other.p_back, abs=2e-3) if one.peak else True
    assert one.band == pytest.approx(other.band, rel=0.01)
    if one.peak is not None:
        assert one.back == pytest.approx(other.back)
        assert 0.0 <= one.p_back <= 1.0


def test_weeks_in_which_nothing_happens_have_no_interval_and_break_nothing():
    base, arm = (np.where(np.arange(W) % 3 == 0, 0, x) for x in shop(FORWARD, 500))
    found = rows_of(base, arm)
    row = found["weekly_effect", "1"]
    assert (row.estimate, row.std_error, row.ci_low) == (0.0, None, None)
    assert found["net_effect", "12"].std_error > 0


@pytest.mark.parametrize(
    ("sizes", "change", "note"),
    [
        ((0, 100), None, "not_followed: no customer of the arm has been followed for all 12"),
        ((100, 20), None, "too_few_units"),
        ((100, 100), 0.0, "no_events"),
        ((100, 100), np.inf, "not_finite"),
    ],
)
def test_what_cannot_be_known_says_why(sizes, change, note):
    rng = np.random.default_rng(1)
    base, arm = (rng.poisson(0.2, (n, W)).astype(float) for n in sizes)
    weeks = weeks_of(base, arm)
    if change is not None:
        with np.errstate(invalid="ignore"):
            weeks.sums[:] *= change
            weeks.products[:] *= change
    rows = pull_forward_rows(PLAN, weeks)
    assert [r.estimand for r in rows] == ["pull_forward", "net_effect"]
    assert all(r.estimate is None and r.note.startswith(note) for r in rows)


def test_events_without_a_value_are_told():
    base, arm = shop(LASTING, 300)
    assert rows_of(base, arm, 7)["net_effect", "12"].note == (
        "values_missing: 7 events without a value add nothing"
    )
