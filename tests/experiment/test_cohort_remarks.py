"""What a plan of a cohort study counts and asks about, before a kernel starts."""

from __future__ import annotations

import datetime as dt

import pytest
from cohort_shop import Shop, analysed, study
from experiment.test_cohort import ORDERS, orders, planned, rows

from retention_lab.experiment.cohort import merged
from retention_lab.validate import REMARKS


def test_rows_without_a_customer_count_for_those_that_meet_the_condition(write):
    """One file may hold orders and refunds: each counts its own rows, the file all of them."""
    who = ["a", "a", None, None, None, "b", "b"]
    odd = rows(who, [0, 9, 1, 2, 3, 0, 24], place=["N"] * 7, size=[1] * 7)
    odd |= {"value": [1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0]}
    events = {
        "orders": ORDERS | {"where": "value > 0"},
        "refunds": ORDERS | {"where": "value < 0"},
    }
    plan = planned(write, {"competing": ["refunds"]}, {"events": events}, orders=odd)
    assert plan.cohort.notes == {
        "rows_without_unit/orders": 2,
        "rows_not_counted/orders": 2,
        "rows_without_unit/refunds": 1,
        "rows_not_counted/refunds": 5,
    }
    assert plan.cohort.tables == {
        "table_rows/orders.parquet": 7,
        "table_customers/orders.parquet": 2,
        "table_without_unit/orders.parquet": 3,
    }


def test_numbers_and_levels_of_a_table_are_counted_before_any_condition(write):
    """Five invoices in three places, though two invoices and one place have no customer's order."""
    odd = rows(["a", "a", "a", "b", None, "a", None], [0, 0, 9, 24, 1, 12, 2], size=[1] * 7)
    odd |= {"bill": ["1", "1", "2", "3", "4", "C5", None], "place": [*"NNNSW", "N", None]}
    odd |= {"value": [1.0] * 5 + [-1.0, 1.0]}
    orders, refunds = (ORDERS | {"id": "bill", "where": f"value {way} 0"} for way in "><")
    data = {"events": {"orders": orders, "refunds": refunds}}
    refunds["table"] = "orders.parquet"
    plan = planned(write, {"by": ["place"], "competing": ["refunds"]}, data, orders=odd)
    found = {k: n for k, n in plan.cohort.tables.items() if k.startswith("table_values/")}
    assert found == {
        "table_values/bill/orders.parquet": 5,
        "table_values/place/orders.parquet": 3,
    }
    assert plan.cohort.tables["table_events/orders"] == 3


AFTER = dt.date(2026, 6, 30)  # 81 days after the last order below


def test_silence_after_the_end_of_a_study_is_a_remark(write):
    """All have been followed to the end by the last order: nothing rests on the days after it."""
    late = rows("abab", [0, 3, 9, 40], place=[*"NNNN"], value=[1.0] * 4, size=[1] * 4)
    plan = planned(write, {"horizon": "37d"}, {"as_of": AFTER}, orders=late)
    (said,) = [c for c in plan.checks if "nothing happened" in c.text]
    assert (said.code, said.ok) == ("ended", True)
    assert said.text == (
        "nothing happened in the 81 days before as_of (2026-06-30); by then all customers had been "
        "followed for 37d, so no curve rests on it"
    )
    assert said.code in REMARKS
    assert all(c.ok for c in plan.checks)


@pytest.mark.parametrize("horizon", ["38d", "60d"])
def test_silence_in_which_customers_are_followed_is_a_fault(write, horizon):
    """Its days would count as days on which nobody came back."""
    late = rows("abab", [0, 3, 9, 40], place=[*"NNNN"], value=[1.0] * 4, size=[1] * 4)
    plan = planned(write, {"horizon": horizon}, {"as_of": AFTER}, orders=late)
    assert {c.code: c.text for c in plan.checks if not c.ok} == {
        "as_of": "nothing happened in the 81 days before as_of (2026-06-30), in which customers "
        "are still followed: is it the last complete day of the tables? If they end earlier, say "
        "as_of: 2026-04-10",
    }


def test_groups_that_will_count_as_one_are_named(write):
    """Two customers of one market alone hide a whole one, as it could be worked out with them."""
    places = ["N"] * 9 + ["S"] * 6 + ["W"] * 3 + [None] * 1
    who = [f"c{i}" for i in range(len(places))]
    many = rows(who, [0] * 18 + [40], place=places, value=[1.0] * 19, size=[1] * 19)
    given = {"privacy": {"min_cell": 5}}
    data = {"as_of": dt.date(2026, 5, 1)}
    plan = planned(write, {"by": ["place"]}, data, given, orders=many, refunds=rows("a", [1]))
    assert [c.text for c in plan.checks if c.code == "small_levels"] == [
        "cohort: '2026-03', '2026-04' of 2 groups will count as one: at least one of them has "
        "fewer than 5 customers",
        "place: '(missing)', 'S', 'W' of 4 groups will count as one: at least one of them has "
        "fewer than 5 customers",
    ]
    assert all(c.ok for c in plan.checks if c.code == "small_levels")


def test_the_groups_named_are_those_that_the_analysis_makes_one(tmp_path):
    places = ["N"] * 40 + ["S"] * 30 + ["W"] * 3 + ["E"] * 1
    shop = Shop([0] * len(places), [[1 + i % 9] for i in range(len(places))],
                columns={"market": places})  # fmt: skip
    plan = study(tmp_path, shop, by=["market"])
    (said,) = [c.text for c in plan.checks if c.code == "small_levels"]
    pooled = analysed(plan).one(estimand="customers", segment="market", level="(other)")
    names = pooled.note.rpartition(": ")[2].split("; ")
    assert said.startswith(f"market: {', '.join(repr(n) for n in names)} of 4 groups")


@pytest.mark.parametrize(
    ("sizes", "least", "few"),
    [
        ({"a": 9, "b": 4, "c": 3}, 5, ["b", "c"]),
        ({"a": 9, "b": 7, "c": 3}, 5, ["b", "c"]),
        ({"a": 9, "b": 7}, 5, []),
        ({"a": 3, "b": 1}, 5, []),
        ({"a": 3}, 5, []),
    ],
)
def test_which_groups_count_as_one(sizes, least, few):
    assert merged(sizes, least) == few


def test_values_below_nothing_are_asked_about_where_no_condition_leaves_them_out(write):
    odd = {"value": [1.0, -2.0, float("nan")]}
    (found,) = [
        c.text for c in planned(write, {"value": "value * 2"}, orders=odd).checks
        if c.code == "negative"
    ]  # fmt: skip
    assert found == (
        "orders: 1 row of orders.parquet with 'value * 2' below 0 count as 'orders': are these "
        "refunds? data.events.orders.where can leave them out"
    )
    for survival, data in (({"value": "value"}, orders(where="value <> 7")), ({}, {})):
        checks = planned(write, survival, data, orders=odd).checks
        assert "negative" not in {c.code for c in checks}


def test_a_tau_that_nobody_was_followed_for_is_a_fault_with_the_largest_one(write):
    plan = planned(write, {"horizon": "60d", "tau": "45d"})
    assert {c.code: c.text for c in plan.checks if not c.ok} == {
        "tau": (
            "survival.tau: no customer has been followed for 45d by 2026-03-31; the largest tau "
            "that can be had is 30d"
        )
    }
    for tau in ("30d", None):
        assert all(c.ok for c in planned(write, {"horizon": "60d", "tau": tau}).checks)
