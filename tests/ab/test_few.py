"""Small arms with few events: Student's error where it is the larger one, Welch's elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import retention_lab as rl
from retention_lab.ab.estimate import Level, contrast, difference, relative_lift
from retention_lab.ab.few import POOLED, common_variance, common_variances


def level(x):
    x = np.asarray(x, float)
    return Level(float(x.mean()), float(x.var(ddof=1)) / len(x), len(x))


def share(events, n):
    return level(np.arange(n) < events)


def test_an_arm_of_which_nobody_bought_is_not_an_effect():
    """Welch: p = 1e-30, as the arm without a purchase has no spread."""
    base, arm = share(190, 9900), share(0, 100)
    found, lift = difference(arm, base, 0.05), relative_lift(arm, base, 0.05)
    pooled = 9899 * base.variance * 9900 / (9898 + 100)
    assert found.std_error == pytest.approx(math.sqrt(pooled * (1 / 100 + 1 / 9900)), rel=1e-9)
    assert found.p_value > 0.1
    assert found.note == lift.note == POOLED
    assert lift.low < -1 < 0 < lift.high
    assert contrast([arm, base], [1.0, -1.0], 0.05).p_value == pytest.approx(found.p_value)


@pytest.mark.parametrize(
    ("arm", "base"),
    [
        (share(0, 100), share(6, 490)),  # not five times as large
        (share(120, 1000), share(1400, 9000)),  # enough events
        (share(8, 100), share(190, 9900)),  # the arm's own spread is the larger one
        (share(30, 60), share(300, 600)),  # not rare
        (level(np.arange(-20, 21) / 9), level(np.arange(-300, 301) / 100 + 0.1)),  # a mean near 0
        (level(np.linspace(9, 11, 20)), level(np.linspace(8, 12, 200))),  # not skewed
    ],
)
def test_other_arms_are_welchs(arm, base):
    error = math.sqrt(arm.variance + base.variance)
    found = difference(arm, base, 0.05)
    assert (found.std_error, found.note) == (pytest.approx(error, rel=1e-12), None)


def test_who_is_not_in_a_share_near_one_counts_as_the_event():
    ours, mirrored = (
        difference(share(a, 100), share(b, 9900), 0.05) for a, b in ((100, 9710), (0, 190))
    )
    assert ours.p_value == pytest.approx(mirrored.p_value, rel=1e-9)
    assert ours.note == POOLED


def test_clusters_keep_their_own_error():
    arm, base = (Level(m, v, n, units=False) for m, v, n in ((0.0, 1e-4, 5), (1.0, 1.0, 20)))
    assert difference(arm, base, 0.05).note is None


def test_at_a_margin_the_arm_has_as_many_more_events():
    arm, base = share(0, 1000), share(18, 9000)
    one, three = (contrast([arm, base], [-1.0, 3.0], 0.05, times=[t, 1.0]) for t in (1.0, 3.0))
    assert three.std_error > 1.3 * one.std_error


@given(seed=st.integers(0, 10_000), sizes=st.tuples(st.integers(2, 400), st.integers(2, 400)))
@settings(max_examples=100, deadline=None)
def test_the_error_is_never_below_welchs_and_the_same_for_many_pairs_at_once(seed, sizes):
    rng = np.random.default_rng(seed)
    arms = [level((rng.random(n) < 0.1) * rng.lognormal(size=n)) for n in (sizes[0], 9 * sizes[1])]
    n, mean, variance = ([getattr(a, k) for a in arms] for k in ("n", "estimate", "variance"))
    one = common_variance(n, mean, variance, (1.0, -1.0))
    many = common_variances(*(tuple(np.array([v]) for v in x) for x in (n, mean, variance)))
    want = variance if one is None else [one / k for k in n]
    assert [float(v[0]) for v in many] == pytest.approx(want, rel=1e-12)
    assert sum(want) >= sum(variance) * (1 - 1e-12)
    if one is not None:
        pooled = ((n[0] - 1) * n[0] * variance[0] + (n[1] - 1) * n[1] * variance[1]) / (sum(n) - 2)
        assert one == pytest.approx(pooled, rel=1e-9)


def test_a_small_arm_without_buyers_does_not_stop_or_ship(write):
    rng = np.random.default_rng(2)
    columns = {
        "arm": ["a"] * 9000 + ["b"] * 400,
        "x": np.r_[(rng.random(9000) < 0.01) * rng.lognormal(3, 1, 9000), np.zeros(400)],
        "u": np.r_[rng.random(9000) < 0.01, np.zeros(400, bool)].astype(int),
    }
    path = write(
        {"units": columns},
        data={"units": "units.parquet"},
        design={"arm": "arm", "control": "a", "expected_split": {"a": 90, "b": 4}},
        metrics=[
            {"name": "x", "kind": "mean", "role": "primary"},
            {"name": "u", "kind": "proportion", "role": "guardrail", "direction": "decrease",
             "margin": 0.01},
        ],
    )  # fmt: skip
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    x, u = (results.one(metric=m, estimand="mean_difference") for m in "xu")
    assert x.note == POOLED
    assert min(x.p_value, u.p_value) > 0.01
    welch = stats.ttest_ind(columns["x"][9000:], columns["x"][:9000], equal_var=False)
    assert welch.pvalue < 1e-6
    assert rl.decide(plan, results).decision == "keep_running"
