"""The next test, sized from the last: its arithmetic, and its power on the twin's own customers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import retention_lab as rl
from retention_lab.ab.planner import size_next
from retention_lab.ab.power import power

ROOT = Path(__file__).resolve().parents[2]
DESIGN = {"arm": "arm", "control": "a", "unit": "id"}


@pytest.fixture(scope="module")
def coupon():
    plan = rl.plan(ROOT / "experiments" / "comeback-coupon.yaml",
                   overrides={"planning.effect": 0.2})  # fmt: skip
    return plan, rl.reduce(plan)


def test_sizes_have_the_power_that_was_asked_for(coupon):
    found = size_next(*coupon)
    for m in found.metrics:
        assert m.size is not None
        assert power(m.size.exact, m.effect, m.outcome, m.design) == pytest.approx(0.8, abs=1e-6)
    assert found.units == found.metrics[0].size.total  # one primary metric
    assert found.traffic == pytest.approx(40_000 / 28)


def test_power_is_as_planned_on_the_twins_own_customers(coupon):
    """Draw customers of the twin's control arm, change one arm by the planned effect, and test."""
    plan, moments = coupon
    planned = {m.metric: m for m in size_next(plan, moments).metrics}["orders_30d"]
    orders = plan.source.query(
        "select count(o.customer_id) as n from t left join e as o on o.customer_id = t.customer_id "
        "and o.ordered_at > t.assigned_at and o.ordered_at <= t.assigned_at + interval 720 hour "
        "where t.arm = 'none' and t.assigned_at <= timestamp '2025-12-16' group by t.customer_id",
        t="dataset:twin/assignments",
        e="dataset:twin/orders",
    )
    history = np.array([r["n"] for r in orders], float)
    assert history.mean() == pytest.approx(planned.outcome.mean, rel=0.02)
    rng, draws = np.random.default_rng(1), 400
    n = planned.size.arms[0]
    base, arm = (rng.choice(history, size=(draws, n)) for _ in "ab")
    arm = arm + planned.effect * planned.outcome.mean
    p = stats.ttest_ind(arm, base, axis=1, equal_var=False).pvalue
    found = (p < planned.design.level).mean()
    assert found == pytest.approx(0.8, abs=3.5 * np.sqrt(0.8 * 0.2 / draws))


def test_what_cannot_be_planned_says_why(write):
    columns = {"id": range(20), "arm": ["a", "b"] * 10, "x": np.arange(20.0)}
    path = write({"units": columns}, data={"units": "units.parquet"}, design=DESIGN,
                 metrics=[{"name": "x", "kind": "mean"}])  # fmt: skip
    plan = rl.plan(path)
    found = size_next(plan, rl.reduce(plan))
    assert found.metrics[0].note.startswith("too_little_history")
    assert found.units is None
    assert found.traffic is None


def test_adjustment_and_clusters_change_the_size(write):
    rng = np.random.default_rng(3)
    n, stores = 8000, 40
    store = rng.integers(0, stores, n)
    pre = rng.normal(size=n)
    y = 10 + pre + rng.normal(size=n) + rng.normal(scale=0.5, size=stores)[store]
    columns = {"id": range(n), "arm": np.array(["a", "b"])[store % 2], "store": store, "pre": pre,
               "y": y}  # fmt: skip

    def total(design, metric):
        path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                     metrics=[{"name": "y", "kind": "mean", **metric}])  # fmt: skip
        plan = rl.plan(path)
        (found,) = size_next(plan, rl.reduce(plan)).metrics
        return found

    plain, adjusted = total(DESIGN, {}), total(DESIGN, {"covariates": ["pre"]})
    assert adjusted.design.r2 == pytest.approx(1 / 2.25, abs=0.05)
    assert adjusted.size.exact == pytest.approx(
        plain.size.exact * (1 - adjusted.design.r2), rel=0.02
    )
    clustered = total(DESIGN | {"cluster": "store"}, {})
    assert clustered.design.clusters.icc == pytest.approx(0.25 / 2.25, abs=0.06)
    assert clustered.size.exact > 5 * plain.size.exact


def test_pairs_of_uneven_arms_have_the_power_that_was_asked_for(write):
    """Simulate the two small arms, which are compared with one another as well."""
    rng = np.random.default_rng(4)
    n = 6000
    columns = {"id": range(n), "arm": rng.choice(["a", "b", "c"], n, p=[0.6, 0.2, 0.2]),
               "y": 10 + rng.normal(size=n)}  # fmt: skip
    split = {"expected_split": {"a": 6, "b": 2, "c": 2}}
    path = write({"units": columns}, data={"units": "units.parquet"}, design=DESIGN | split,
                 metrics=[{"name": "y", "kind": "mean", "role": "primary"},
                          {"name": "g", "kind": "mean", "value": "y", "role": "guardrail"}],
                 inference={"comparisons": "pairs"},
                 planning={"effect": 0.2, "relative": False})  # fmt: skip
    plan = rl.plan(path)
    planned, guardrail = size_next(plan, rl.reduce(plan)).metrics
    _, b, c = planned.size.arms
    spread, draws = np.sqrt(planned.outcome.variance), 4000
    one, two = (rng.normal(0, spread, (draws, k)) for k in (b, c))
    p = stats.ttest_ind(one + 0.2, two, axis=1, equal_var=False).pvalue
    assert (p < 0.05 / 3).mean() == pytest.approx(0.8, abs=3.5 * np.sqrt(0.8 * 0.2 / draws))
    assert not guardrail.design.pairs  # the verdict reads it against the control only
