"""The effect by day since exposure: against scipy on rows, on a shop of known truth, or none."""

from __future__ import annotations

import dataclasses
import datetime as dt

import duckdb
import numpy as np
import pytest
from scipy import stats

import retention_lab as rl
from retention_lab.ab.novelty import _shown
from retention_lab.data.ages import Bins
from retention_lab.twin import COMEBACK_COUPON, simulate, truth_of

DESIGN = {"unit": "customer_id", "arm": "arm", "control": "none"}
KINDS = {
    "back": {"kind": "retention"},
    "orders": {"kind": "count"},
    "revenue": {"kind": "sum", "value": "revenue", "cap": {"quantile": 0.99}},
}
ESTIMANDS = ("day_difference", "cumulative_difference", "novelty_slope")
LATE = dt.date(2026, 2, 5)


def metric(name, within="30d", role="primary"):
    return {"name": name, "event": "orders", "within": within, "role": role, **KINDS[name]}


def analysed(write, shop, metrics, as_of=dt.date(2026, 1, 15), design=DESIGN, more=None, **spec):
    tables = {t: shop.tables[t] for t in ("assignments", "orders")} if shop else {}
    plan = rl.plan(plan_file(write, tables | (more or {}), metrics, as_of, design, **spec))
    return rl.analyse(plan, rl.reduce(plan))


def plan_file(write, tables, metrics, as_of, design, **spec):
    data = {"assignments": {"table": "assignments.parquet", "at": "assigned_at"},
            "events": {"orders": {"table": "orders.parquet", "at": "ordered_at"}},
            "as_of": as_of}  # fmt: skip
    columns = {t: dict(zip(v.column_names, v.columns, strict=True)) if hasattr(v, "columns") else v
               for t, v in tables.items()}  # fmt: skip
    return write(columns, data=data, design=design, metrics=metrics, **spec)


def shop_of(customers, seed=1, **changes):
    return simulate(dataclasses.replace(COMEBACK_COUPON, customers=customers, **changes), seed)


@pytest.fixture(scope="module")
def small():
    return shop_of(3000)


def pulled(shop, end):
    """By unit: its arm, whole days elapsed, and orders and revenue on 30 days since exposure."""
    who, orders = shop.tables["assignments"], shop.tables["orders"]  # noqa: F841
    rows = duckdb.sql(f"""
        select a.customer_id as id, arm, assigned_at, ordered_at, revenue
        from who a left join orders o on o.customer_id = a.customer_id
            and ordered_at > assigned_at and ordered_at <= assigned_at + interval 30 day
        where assigned_at < timestamp '{end}'""").fetchall()
    place: dict[str, int] = {}
    for r in rows:
        place.setdefault(r[0], len(place))
    arm, age = np.empty(len(place), object), np.zeros(len(place), int)
    count, money = np.zeros((2, len(place), 30))
    for who_, a, at, ordered, revenue in rows:
        i = place[who_]
        arm[i], age[i] = a, (end - at) // dt.timedelta(days=1)
        if ordered is not None:
            k = -((at - ordered) // dt.timedelta(days=1)) - 1  # (day k ends with its last instant)
            count[i, k] += 1
            money[i, k] += revenue
    return arm, age, count, money


def by_kind(count, money):
    """What the days, and what the slope, are made of."""
    active = (count > 0).astype(float)
    first = active * (np.cumsum(active, axis=1) == 1)
    return {"back": (first, active), "orders": (count, count), "revenue": (money, money)}


def assert_welch(row, arm, base):
    want = stats.ttest_ind(arm, base, equal_var=False)
    assert row.estimate == pytest.approx(arm.mean() - base.mean(), rel=1e-9, abs=1e-12)
    ends = want.confidence_interval()
    assert (row.ci_low, row.ci_high) == pytest.approx(tuple(ends), rel=1e-9, abs=1e-12)
    assert row.p_value == pytest.approx(want.pvalue, rel=1e-9)
    assert (row.n, row.n_baseline) == (len(arm), len(base))


@pytest.mark.parametrize("name", KINDS)
def test_days_sums_and_slope_are_welch_of_the_rows(write, small, name):
    end = dt.datetime(2026, 1, 16)
    arm, age, count, money = pulled(small, end)
    days, active = by_kind(count, money)[name]
    results = analysed(write, small, [metric(name)], privacy={"min_cell": 2})
    slopes = active @ (Bins.of(720).offsets * Bins.of(720).scale)
    hidden = 0
    for treated in ("c10", "c20"):
        for k in range(1, 31):
            one = results.one(estimand="day_difference", at=str(k), arm=treated)
            far = results.one(estimand="cumulative_difference", at=str(k), arm=treated)
            if one.note and one.note.startswith("suppressed"):
                hidden += 1
                continue
            old = age >= k
            numbers = days[:, k - 1], days[:, :k].sum(axis=1)
            for row, y in zip((one, far), numbers, strict=True):
                assert_welch(row, y[old & (arm == treated)], y[old & (arm == "none")])
        row = results.one(estimand="novelty_slope", arm=treated)
        old = age >= 30
        assert_welch(row, slopes[old & (arm == treated)], slopes[old & (arm == "none")])
        y = [active[old & (arm == a)].mean(axis=0) for a in (treated, "none")]
        assert row.estimate == pytest.approx(np.polyfit(range(1, 31), y[0] - y[1], 1)[0], rel=1e-9)
    assert hidden < 20
    assert len({r.n for r in results.where(estimand="day_difference", arm="c10").rows}) > 3


@pytest.mark.parametrize(("within", "bins"), [("30d", 30), ("42d", 6), ("60h", 3)])
@pytest.mark.parametrize("name", KINDS)
def test_the_days_of_mature_units_add_up_to_the_whole_effect(write, small, name, within, bins):
    results = analysed(write, small, [metric(name, within)], as_of=LATE)
    whole = "uncapped_difference" if name == "revenue" else "mean_difference"
    for arm in ("c10", "c20"):
        want = results.one(estimand=whole, arm=arm, segment=None)
        days = results.where(estimand="day_difference", arm=arm).rows
        last = results.where(estimand="cumulative_difference", arm=arm).rows[-1]
        assert len(days) == bins
        assert (days[0].at, last.at) == {6: ("1-7", "42")}.get(bins, ("1", str(bins)))
        assert sum(r.estimate for r in days) == pytest.approx(want.estimate, rel=1e-9)
        for k in ("estimate", "std_error", "ci_low", "ci_high", "p_value", "n", "n_baseline"):
            assert getattr(last, k) == pytest.approx(getattr(want, k), rel=1e-9), k


def daily_truth(scenario, arm, measure):
    """The true difference of each of 30 days, from the closed form of the sums so far."""
    so_far = [truth_of(scenario, k).difference(f"{measure}_{k}d", arm) for k in range(1, 31)]
    return np.diff(so_far, prepend=0.0), np.array(so_far)


def test_an_effect_that_ends_is_seen_to_end(write):
    """A coupon that works for ten days: every day's truth is within errors, the slope falls."""
    shop = shop_of(30_000, seed=20251128, effect_days=10, as_of=LATE)
    results = analysed(write, shop, [metric("orders"), metric("back")], as_of=LATE)
    for name, measure in (("orders", "orders"), ("back", "repurchase")):
        day, so_far = daily_truth(shop.scenario, "c20", measure)
        assert day[20] < day[0] / 10
        for estimand, truth in (("day_difference", day), ("cumulative_difference", so_far)):
            rows = results.where(estimand=estimand, metric=name, arm="c20").rows
            z = [(r.estimate - t) / r.std_error for r, t in zip(rows, truth, strict=True)]
            assert np.abs(z).max() < 3.6
            if estimand == "day_difference":
                assert 0.5 < np.var(z) < 1.7  # of 30: 3.5 standard errors of a variance at most
        slope = results.one(estimand="novelty_slope", metric=name, arm="c20")
        assert slope.p_value < 0.001
        assert slope.estimate < 0
    want = np.polyfit(range(1, 31), daily_truth(shop.scenario, "c20", "orders")[0], 1)[0]
    slope = results.one(estimand="novelty_slope", metric="orders", arm="c20")
    assert slope.ci_low < want < slope.ci_high


def test_an_effect_that_lasts_has_no_slope_though_first_orders_run_out(write):
    """The rate is up by as much on each of 30 days: first orders fall off, orders do not."""
    shop = shop_of(30_000, seed=20251128, as_of=LATE)
    results = analysed(write, shop, [metric("orders"), metric("back")], as_of=LATE)
    day, _ = daily_truth(shop.scenario, "c20", "orders")
    assert np.ptp(day) < 1e-9
    first, _ = daily_truth(shop.scenario, "c20", "repurchase")
    assert first[-1] < 0.7 * first[0]
    for name in ("orders", "back"):
        for arm in ("c10", "c20"):
            row = results.one(estimand="novelty_slope", metric=name, arm=arm)
            assert row.p_value > 0.01
    assert (
        "days with an event" in results.one(estimand="novelty_slope", metric="back", arm="c10").term
    )


# -- when there are no days, or too few units ----------------------------------------------------


def test_only_primary_metrics_of_events_with_two_days_have_days(write, small):
    metrics = [metric("back", "40h"), metric("orders", "7d", "secondary")]
    results = analysed(write, small, metrics)
    assert not results.where(estimand=ESTIMANDS).rows


def entering(last=(), n=400):
    """Units that enter on the first day, but for one on each of the days in `last`."""
    start = dt.datetime(2026, 3, 1, 6)
    at = [start] * n + [start + dt.timedelta(days=d) for d in last]
    arm = ["none", "c10"] * ((len(at) + 1) // 2)
    rng = np.random.default_rng(0)
    hours = rng.random(len(at)) * 96
    ids = [f"u{i}" for i in range(len(at))]
    when = [t + dt.timedelta(hours=float(h)) for t, h in zip(at, hours, strict=True)]
    return {
        "assignments": {"customer_id": ids, "arm": arm[: len(at)], "assigned_at": at},
        "orders": {"customer_id": ids, "ordered_at": when},
    }


def test_days_that_an_arm_has_not_had_are_named(write):
    tables = entering()
    who = tables["assignments"]
    later = [a == "c10" for a in who["arm"]]
    who["assigned_at"] = [
        t + dt.timedelta(days=2) if x else t for t, x in zip(who["assigned_at"], later, strict=True)
    ]
    results = analysed(write, None, [metric("orders", "4d")], dt.date(2026, 3, 5), more=tables)
    rows = results.where(estimand="day_difference").rows
    assert [r.estimate is not None for r in rows] == [True, True, False, False]
    assert all(r.note.startswith("no_mature_units") for r in rows[2:])
    assert (rows[3].n, rows[3].n_baseline) == (0, 200)


def test_a_day_that_would_give_away_a_few_units_is_hidden(write):
    tables = entering(last=(3, 3, 3))
    results = analysed(
        write, None, [metric("orders", "4d")], as_of=dt.date(2026, 3, 6), more=tables
    )
    for estimand in ("day_difference", "cumulative_difference"):
        rows = results.where(estimand=estimand).rows
        assert [r.estimate is not None for r in rows] == [False, False, True, True]
        assert rows[0].note.startswith("suppressed")
        assert rows[0].n is None


def test_which_days_may_be_shown():
    assert _shown([[100, 100], [95, 90], [80, 60], [5, 60]], 20) == [True, False, True, False]
    assert _shown([[50, 50]] * 3, 20) == [True] * 3
    assert _shown([[0, 0]], 20) == [False]
    assert _shown([[19, 50]], 20) == [False]


def test_days_with_a_handful_of_events_say_so(write):
    tables = entering()
    tables["orders"] = {k: v[:40] for k, v in tables["orders"].items()}
    tables["orders"]["ordered_at"][4:] = [
        tables["assignments"]["assigned_at"][0] + dt.timedelta(hours=60)
    ] * 36
    results = analysed(
        write, None, [metric("orders", "4d")], as_of=dt.date(2026, 3, 9), more=tables
    )
    rows = results.where(estimand="day_difference").rows
    assert rows[2].note is None
    assert rows[2].p_value is not None
    assert {r.note.partition(":")[0] for r in rows if r.at != "3"} <= {
        "few_events",
        "zero_variance",
    }


def test_clusters_and_old_reductions_say_why_there_is_nothing(write, small, tmp_path):
    stores = dict(zip(small.tables["assignments"].column_names,
                      small.tables["assignments"].columns, strict=True))  # fmt: skip
    arm = np.array(stores["arm"].to_pylist())
    store = np.char.add(arm.astype(str), (np.arange(len(arm)) % 12).astype(str))
    clustered = analysed(write, small, [metric("orders")], design=DESIGN | {"cluster": "store"},
                         more={"assignments": stores | {"store": store}})  # fmt: skip
    rows = clustered.where(estimand=ESTIMANDS).rows
    assert {(r.estimand, r.estimate) for r in rows} == {("novelty_slope", None)}
    assert all(r.note.startswith("not_by_unit") for r in rows)

    file = plan_file(write, {t: small.tables[t] for t in ("assignments", "orders")},
                     [metric("orders")], dt.date(2026, 1, 15), DESIGN)  # fmt: skip
    plan = rl.plan(file)
    moments = rl.reduce(plan)
    moments.save(tmp_path / "moments.parquet")
    again = write(name="again", data={"moments": "moments.parquet", "as_of": dt.date(2026, 1, 15)},
                  design=DESIGN, metrics=[metric("orders")])  # fmt: skip
    saved = rl.plan(again)
    fresh = rl.analyse(plan, moments).where(estimand=ESTIMANDS).rows
    assert rl.analyse(saved, rl.reduce(saved)).where(estimand=ESTIMANDS).rows == fresh
    (tmp_path / "moments.ages.parquet").unlink()
    old = rl.analyse(saved, rl.reduce(saved)).where(estimand=ESTIMANDS).rows
    assert [r.note.partition(":")[0] for r in old] == ["no_ages", "no_ages"]
