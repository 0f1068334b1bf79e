"""Weekly totals: the engine's sums are those of a plain loop, and merge, save and load."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.weeks import Weeks, merge, reduce_weeks
from retention_lab.errors import DataError, PlanError

START = dt.datetime(2026, 1, 1)
AS_OF = dt.date(2026, 2, 20)
END = dt.datetime(2026, 2, 21)
DESIGN = {"unit": "unit", "arm": "arm", "control": "a"}
WEEK = dt.timedelta(days=7)


def shop(n=80, seed=0, events=400, days=30):
    """Units that enter over `days` days; events about them, a tenth on the edge of a week."""
    rng = np.random.default_rng(seed)
    at = START + rng.integers(0, days * 86_400, n) * dt.timedelta(seconds=1)
    who = rng.integers(0, n, events)
    when = at[who] + rng.integers(-5 * 86_400, 45 * 86_400, events) * dt.timedelta(seconds=1)
    edges = rng.integers(0, 6, events) * WEEK
    when = np.where(rng.random(events) < 0.1, at[who] + edges, when)
    units = {"unit": [f"u{i}" for i in range(n)], "arm": rng.choice(["a", "b"], n), "at": at}
    worth = rng.gamma(2.0, 10.0, events).round(2)
    return units, {"unit": [f"u{i}" for i in who], "at": when, "value": worth}


def plan_of(write, units, orders, weeks=4, value=None, name="trial", event="orders", **of_orders):
    data = {"assignments": {"table": f"{name}_who.parquet", "at": "at"},
            "events": {"orders": {"table": f"{name}_orders.parquet", "at": "at", **of_orders}},
            "as_of": AS_OF}  # fmt: skip
    metrics = [{"name": "orders_7d", "kind": "count", "event": "orders", "within": "7d",
                "role": "primary"}]  # fmt: skip
    asked = {"event": event, "weeks": weeks} | ({"value": value} if value else {})
    incentive = {"strategy": "randomised", "pull_forward": asked}
    tables = {f"{name}_who": units, f"{name}_orders": orders}
    return rl.plan(write(tables, name=name, data=data, design=DESIGN, metrics=metrics,
                         incentive=incentive))  # fmt: skip


def by_hand(units, orders, weeks, value=None):
    """By arm the totals of each followed unit, units x weeks, one event at a time."""
    totals = {}
    for u, arm, at in zip(units["unit"], units["arm"], units["at"], strict=True):
        if at + weeks * WEEK <= END:
            totals[u] = (arm, at, np.zeros(weeks))
    for u, t, v in zip(orders["unit"], orders["at"], orders["value"], strict=True):
        if u not in totals:
            continue
        _, at, mine = totals[u]
        for w in range(weeks):
            if at + w * WEEK < t <= at + (w + 1) * WEEK:
                mine[w] += v if value else 1.0
    return {a: np.array([x for arm, _, x in totals.values() if arm == a]) for a in ("a", "b")}


def assert_is(found: Weeks, want):
    assert found.arms == tuple(sorted(want))
    for i, arm in enumerate(found.arms):
        x = want[arm].reshape(-1, found.weeks)
        assert found.n[i] == len(x)
        assert found.sums[i] == pytest.approx(x.sum(axis=0), rel=1e-12)
        assert found.products[i] == pytest.approx(x.T @ x, rel=1e-12)
        assert found.mean(arm) == pytest.approx(x.mean(axis=0), rel=1e-12)
        assert found.covariance(arm) == pytest.approx(np.cov(x.T), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("weeks", [4, 5])
@pytest.mark.parametrize("value", [None, "value"])
def test_the_sums_are_those_of_a_loop(write, weeks, value):
    units, orders = shop()
    found = reduce_weeks(plan_of(write, units, orders, weeks, value))
    want = by_hand(units, orders, weeks, value)
    assert 10 < len(want["a"]) < 40  # some were not followed for so long
    assert_is(found, want)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 40))
def test_parts_merge_to_the_whole_in_any_order(write, seed, cut):
    units, orders = shop(40, seed, 150)
    parts = []
    for k, mine in enumerate((slice(0, cut), slice(cut, None))):
        some = {c: v[mine] for c, v in units.items()}
        if len(some["unit"]) and len(set(some["arm"])) == 2:
            parts.append(reduce_weeks(plan_of(write, some, orders, value="value", name=f"p{k}")))
    if len(parts) < 2:
        return
    for both in (merge(*parts), merge(*reversed(parts))):
        assert_is(both, by_hand(units, orders, 4, "value"))


def test_lines_of_one_order_are_one_event(write):
    units, orders = shop(events=60)
    number = [f"o{i}" for i in range(60)]
    lines = {k: np.concatenate([v, v]) for k, v in orders.items()} | {"order": number + number}
    found = reduce_weeks(plan_of(write, units, lines, id="order"))
    assert_is(found, by_hand(units, orders, 4))


def test_a_missing_value_adds_nothing_and_is_counted(write):
    units, orders = shop()
    lost = np.arange(len(orders["value"])) % 7 == 0
    worth = [None if gone else v for v, gone in zip(orders["value"], lost, strict=True)]
    found = reduce_weeks(plan_of(write, units, orders | {"value": worth}, value="value"))
    kept = orders | {"value": np.where(lost, 0.0, orders["value"])}
    assert_is(found, by_hand(units, kept, 4, "value"))
    only = {k: np.asarray(v)[lost] for k, v in orders.items()}
    gone = by_hand(units, only, 4)
    assert found.missing.tolist() == [gone[a].sum() for a in found.arms]


def test_nobody_followed_and_nothing_happened_are_zeros(write):
    units, orders = shop()
    after = {"unit": ["u0"], "at": [units["at"][0] + dt.timedelta(days=29)], "value": [1.0]}
    none = reduce_weeks(plan_of(write, units, after))
    assert none.n.sum() > 20
    assert not none.sums.any()
    late = reduce_weeks(plan_of(write, units, orders, weeks=8))
    assert late.n.tolist() == [0, 0]
    assert np.isnan(late.mean("a")).all()
    assert np.isnan(late.covariance("b")).all()


def test_saved_weeks_are_read_back_to_the_last_bit(write, tmp_path):
    units, orders = shop()
    found = reduce_weeks(plan_of(write, units, orders, value="value"))
    found.save(tmp_path / "weeks.parquet")
    again = Weeks.load(tmp_path / "weeks.parquet")
    assert (again.arms, again.event, again.definition) == (
        found.arms,
        found.event,
        found.definition,
    )
    for name in ("n", "sums", "products", "missing"):
        assert getattr(again, name).tobytes() == getattr(found, name).tobytes()
    with pytest.raises(DataError, match="not a saved weekly reduction"):
        Weeks.load(tmp_path / "trial_who.parquet")


def test_only_equal_definitions_merge(write):
    units, orders = shop()
    one = reduce_weeks(plan_of(write, units, orders))
    other = reduce_weeks(plan_of(write, units, orders, value="value"))
    with pytest.raises(DataError, match="different things"):
        merge(one, other)
    with pytest.raises(DataError, match="nothing to merge"):
        merge()
    with pytest.raises(ValueError, match="products are"):
        dataclasses.replace(one, products=one.products[:, 1:])


def test_a_file_that_does_not_ask_is_refused(write):
    units, orders = shop()
    plan = plan_of(write, units, orders)
    with pytest.raises(PlanError, match=r"pull_forward: there is no data\.events\.order; did you"):
        plan_of(write, units, orders, event="order")
    silent = plan.spec.model_copy(update={"incentive": None})
    with pytest.raises(PlanError, match=r"no incentive\.pull_forward"):
        reduce_weeks(dataclasses.replace(plan, spec=silent))
