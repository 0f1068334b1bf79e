from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from shop_outcomes import micros, outcomes, words

from retention_lab.twin import AA, COMEBACK_COUPON, simulate

SMALL = dataclasses.replace(COMEBACK_COUPON, customers=4_000)


@pytest.fixture(scope="module")
def shop():
    return simulate(SMALL, seed=7)


def test_the_same_seed_gives_the_same_shop(shop):
    again = simulate(SMALL, seed=7)
    assert all(again.tables[name].equals(table) for name, table in shop.tables.items())


def test_another_seed_gives_another_shop(shop):
    other = simulate(SMALL, seed=8)
    assert not any(other.tables[name].equals(table) for name, table in shop.tables.items())


def test_the_scenario_has_a_seed_of_its_own():
    few = dataclasses.replace(SMALL, customers=50)
    assert simulate(few).seed == few.seed
    assert simulate(few).tables["orders"].equals(simulate(few, seed=few.seed).tables["orders"])


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        simulate(SMALL, seed=-1)


def test_tables_and_columns(shop):
    traits = ["region", "market", "channel", "promotion_acquired", "tier"]
    assert {name: table.column_names for name, table in shop.tables.items()} == {
        "customers": ["customer_id", *traits, "first_order_at"],
        "assignments": ["customer_id", "arm", "assigned_at", *traits],
        "orders": [
            "order_id",
            "customer_id",
            "ordered_at",
            "revenue",
            "discount",
            "margin",
            "coupon_used",
            "promised_at",
            "delivered_at",
        ],
        "refunds": ["order_id", "customer_id", "at", "amount"],
        "unsubscribes": ["customer_id", "at"],
    }


def test_keys_hold(shop):
    customers = set(words(shop.tables["customers"]["customer_id"]))
    assert len(customers) == SMALL.customers
    assert set(words(shop.tables["assignments"]["customer_id"])) == customers
    orders = words(shop.tables["orders"]["order_id"])
    assert len(set(orders)) == len(orders)
    assert set(words(shop.tables["refunds"]["order_id"])) <= set(orders)
    gone = words(shop.tables["unsubscribes"]["customer_id"])
    assert len(set(gone)) == len(gone)
    for name in ("orders", "refunds", "unsubscribes"):
        assert set(words(shop.tables[name]["customer_id"])) <= customers


def test_a_market_lies_in_its_region(shop):
    home = {m: r.name for r in SMALL.regions for m in r.markets}
    customers = shop.tables["customers"]
    assert [home[m] for m in words(customers["market"])] == list(words(customers["region"]))
    assert set(words(customers["market"])) == set(home)


def test_nothing_happens_after_the_last_complete_day(shop):
    end = pa.scalar(SMALL.end, pa.timestamp("us"))
    for name, at in (("orders", "ordered_at"), ("refunds", "at"), ("unsubscribes", "at")):
        assert pc.max(shop.tables[name][at]).as_py() < end.as_py()
    delivered = shop.tables["orders"]["delivered_at"]
    assert pc.max(delivered).as_py() < end.as_py()
    assert 0 < delivered.null_count < len(delivered) / 4


def test_logs_stand_in_the_order_of_time(shop):
    for name, at in (("orders", "ordered_at"), ("refunds", "at"), ("unsubscribes", "at")):
        assert (np.diff(micros(shop.tables[name][at])) >= 0).all()


def test_money_adds_up(shop):
    orders = shop.tables["orders"]
    revenue, discount = orders["revenue"].to_numpy(), orders["discount"].to_numpy()
    assert orders["margin"].to_numpy() == pytest.approx(0.4 * revenue - discount, abs=0.005001)
    assert (orders["coupon_used"].to_numpy() == (discount > 0)).all()
    assert (np.round(revenue, 2) == revenue).all()
    assert np.median(revenue) < revenue.mean() * 0.85  # skewed


def test_a_later_day_adds_rows_and_changes_none():
    early = simulate(dataclasses.replace(SMALL, as_of=dt.date(2026, 1, 5)), seed=7).tables
    late = simulate(SMALL, seed=7).tables
    for name in ("customers", "assignments"):
        assert early[name].equals(late[name])
    for name, at in (("orders", "ordered_at"), ("refunds", "at"), ("unsubscribes", "at")):
        known = late[name].filter(pc.less(late[name][at], dt.datetime(2026, 1, 6)))
        columns = [c for c in known.column_names if c != "delivered_at"]
        assert 0 < early[name].num_rows < late[name].num_rows
        assert early[name].select(columns).equals(known.select(columns))


def test_the_first_customers_of_a_large_shop_are_those_of_a_small_one(shop):
    few = simulate(dataclasses.replace(SMALL, customers=500), seed=7)
    for name in ("customers", "assignments"):
        assert few.tables[name].equals(shop.tables[name].slice(0, 500))
    mine = few.tables["customers"]["customer_id"].combine_chunks()
    for name in ("orders", "refunds", "unsubscribes"):
        table = shop.tables[name]
        same = table.filter(pc.is_in(table["customer_id"], value_set=mine))
        assert few.tables[name].equals(same)


def test_one_table_does_not_shift_another(shop):
    calm = dataclasses.replace(SMALL, unsubscribed=0.2, returned=0.5, late=0.3)
    other = simulate(calm, seed=7).tables
    assert other["assignments"].equals(shop.tables["assignments"])
    same = ["order_id", "customer_id", "ordered_at", "revenue", "discount"]
    assert other["orders"].select(same).equals(shop.tables["orders"].select(same))
    assert other["unsubscribes"].num_rows > shop.tables["unsubscribes"].num_rows


def test_an_arm_without_effect_changes_nothing():
    """The same random numbers behind every arm: with no effect, arms are mere names."""
    one = simulate(dataclasses.replace(AA, customers=2_000), seed=3).tables
    two = simulate(dataclasses.replace(AA, customers=2_000, arms=AA.arms[:1]), seed=3).tables
    assert one["orders"].equals(two["orders"])
    assert one["unsubscribes"].equals(two["unsubscribes"])


def test_a_fifth_of_the_units_is_immature_at_the_last_day():
    shop = simulate(COMEBACK_COUPON)
    assert 0.15 < 1 - outcomes(shop).mature.mean() < 0.25
    assert outcomes(shop, within=7).mature.all()


def test_what_customers_did_before_says_what_they_do():
    shop = simulate(dataclasses.replace(AA, customers=20_000), seed=2)
    frame = duckdb_view(shop).execute("""
        select corr(pre, post) from (
            select customer_id,
                sum(revenue) filter (ordered_at > assigned_at - interval 90 day
                                     and ordered_at <= assigned_at) as before,
                coalesce(before, 0) as pre,
                coalesce(sum(revenue) filter (ordered_at > assigned_at
                         and ordered_at <= assigned_at + interval 30 day), 0) as post
            from assignments join orders using (customer_id) group by customer_id)
    """)
    assert frame.fetchall()[0][0] > 0.3


def test_share_of_returns_and_late_parcels(shop):
    orders = shop.tables["orders"].filter(
        pc.less(shop.tables["orders"]["ordered_at"], dt.datetime(2025, 10, 1))
    )
    back = pc.is_in(
        orders["order_id"], value_set=shop.tables["refunds"]["order_id"].combine_chunks()
    )
    assert 0.15 < pc.mean(back).as_py() < 0.20
    late = pc.mean(pc.greater(orders["delivered_at"], orders["promised_at"])).as_py()
    assert 0.10 < late < 0.14


def test_the_order_of_rows_does_not_matter(shop):
    """Outcomes hang on ids and times alone: shuffled tables give the same."""
    rng = np.random.default_rng(1)
    mixed = {n: t.take(pa.array(rng.permutation(t.num_rows))) for n, t in shop.tables.items()}
    a, b = outcomes(shop), outcomes(dataclasses.replace(shop, tables=mixed))
    for metric, values in a.values.items():
        for arm in ("none", "c10", "c20"):
            assert values[a.arm == arm].sum() == pytest.approx(b.values[metric][b.arm == arm].sum())


def test_aa_rejects_as_often_as_chance_does():
    """200 A/A shops at the 5% level, 5 standard errors; the metrics of one shop go together."""
    few = dataclasses.replace(AA, customers=2_000)
    rejected = {"repurchase_30d": 0, "revenue_30d": 0}
    for seed in range(200):
        found = outcomes(simulate(few, seed))
        for metric in rejected:
            a, b = (
                found.values[metric][found.mature & (found.arm == arm)]
                for arm in ("control", "variant")
            )
            se = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
            rejected[metric] += abs(a.mean() - b.mean()) > 1.96 * se
    for metric, count in rejected.items():
        assert abs(count / 200 - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 200), (metric, count)


def test_written_files_hold_the_tables_and_the_truth(shop, tmp_path):
    folder = shop.write(tmp_path / "a" / "shop")
    assert {p.name for p in folder.iterdir()} == {f"{n}.parquet" for n in shop.tables} | {
        "truth.json"
    }
    for name, table in shop.tables.items():
        read = duckdb.sql(f"from '{folder / name}.parquet'").to_arrow_table()
        assert read.num_rows == table.num_rows
        assert read.column_names == table.column_names
        assert read.cast(table.schema).equals(table)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert truth["seed"] == 7
    assert truth["within_days"] == 30
    assert truth["scenario"]["name"] == "comeback-coupon"
    assert truth["overall"]["c20"]["unsubscribed_30d"]["difference"] == pytest.approx(0.012)


def test_one_customer_is_a_shop(tmp_path):
    shop = simulate(dataclasses.replace(SMALL, customers=1), seed=1)
    assert shop.tables["assignments"].num_rows == 1
    shop.write(tmp_path)


def test_five_thousand_customers_take_less_than_50_ms_of_cpu():
    few = dataclasses.replace(SMALL, customers=5_000)
    simulate(few, seed=0)
    times = []
    for seed in range(5):
        start = time.process_time()
        simulate(few, seed)
        times.append(time.process_time() - start)
    assert min(times) < 0.05


def duckdb_view(shop):
    connection = duckdb.connect()
    for name, table in shop.tables.items():
        connection.register(name, table)
    return connection
