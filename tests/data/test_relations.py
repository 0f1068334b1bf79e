"""Which rows are an origin, an event or a level of a customer, by time, zone, id and condition."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from lives_sample import ORDERS, REFUNDS, at_day, one, plan_of, simple

from retention_lab.data.lives import ask, lives, relations


@pytest.mark.parametrize(
    ("cohorts", "label"),
    [
        ("day", "2027-01-01"),
        ("week", "2026-W53"),
        ("month", "2027-01"),
        ("quarter", "2027-Q1"),
        ("year", "2027"),
    ],
)
def test_cohorts_are_called_by_their_period(tmp_path, cohorts, label):
    orders = {"orders": {"who": ["a"], "at": [dt.datetime(2027, 1, 1)]}}
    data = {"as_of": dt.date(2027, 1, 2)}
    table = lives(plan_of(tmp_path, orders, data=data, survival={"cohorts": cohorts}))
    assert table.levels["cohort"].tolist() == [label]


def test_lines_of_one_order_are_one_event_with_their_sum(tmp_path):
    orders = {
        "who": ["a", "a", "a", "a", "b"],
        "at": [at_day(0), at_day(1), at_day(7), at_day(7), at_day(0)],
        "nr": ["1", "1", "2", "2", "2"],
        "value": [1.0, 2.0, 4.0, float("inf"), 8.0],
    }
    events = {"orders": ORDERS | {"id": "nr"}}
    plan = plan_of(tmp_path, {"orders": orders}, events=events, survival={"value": "value"})
    found = ask(plan, "select id, age, kind, value from happening order by id, age")
    assert found["id"].tolist() == ["a", "a", "b"]
    assert found["age"].tolist() == [0, 7, 0]
    assert found["value"].tolist() == [3.0, 4.0, 8.0]
    assert lives(plan).stop.tolist() == [7.0, 24.0]


def test_a_refund_known_by_its_day_may_be_on_the_day_of_the_first_order(tmp_path):
    refunds = {"who": ["a"], "at": [at_day(0).date()]}
    plan = plan_of(
        tmp_path,
        simple([0, 9]) | {"refunds": refunds},
        events={"orders": ORDERS, "refunds": REFUNDS},
        survival={"competing": ["refunds"]},
    )
    assert one(lives(plan)) == (-np.inf, 0.0, 2)


@pytest.mark.parametrize(
    ("zone", "hours", "stop"),
    [
        ("America/New_York", [4, 27], 1.0),  # 7 March 23:30 to 8 March 23:30: 23 hours
        ("America/New_York", [5, 27.25], 24.0 - 7),  # 8 March 00:30 to 23:45
        ("UTC", [4, 23], 24.0 - 7),
        ("UTC", [4, 24], 1.0),
        ("Asia/Shanghai", [4, 16], 1.0),  # 8 March 12:30 to 9 March 00:30
    ],
)
def test_a_day_is_a_calendar_day_in_the_files_zone_also_one_of_23_hours(
    tmp_path, zone, hours, stop
):
    eve = dt.datetime(2026, 3, 8, 0, 30, tzinfo=dt.UTC)
    at = [eve + dt.timedelta(hours=h) for h in hours]
    plan = plan_of(tmp_path, {"orders": {"who": ["a", "a"], "at": at}}, data={"timezone": zone})
    assert one(lives(plan)) == (-np.inf, stop, float(stop == 1.0))


def test_orders_in_the_future_are_left_out_and_counted(tmp_path):
    table = lives(plan_of(tmp_path, simple([0, 30])))
    assert one(table) == (-np.inf, 24.0, 0)
    assert table.notes == {"rows_after_as_of/orders": 1}


def test_infinite_times_and_empty_or_nan_ids_are_no_rows(tmp_path):
    far = pa.array([dt.datetime(2026, 3, 1), dt.datetime(2026, 3, 3), None]).cast(
        pa.timestamp("us")
    )
    tables = {"orders": {"who": ["", "a", "a"], "at": far}}
    plan = plan_of(tmp_path, tables)
    table = lives(plan)
    assert one(table) == (-np.inf, 22.0, 0)
    assert table.notes == {"rows_without_time/orders": 1, "rows_without_unit/orders": 1}
    tables = {"orders": {"who": [float("nan"), 1.0, None], "at": far}}
    assert lives(plan_of(tmp_path, tables)).notes["rows_without_unit/orders"] == 2


def test_levels_promotion_new_customers_bins_and_numbers(tmp_path):
    tables = simple([0, 9], age=[30.0, 99.0], size=[2.5, 7.0], vip=[True, False])
    more = simple([12], who="b", age=[None], size=[float("nan")], vip=[None])["orders"]
    orders = {k: v + more[k] for k, v in tables["orders"].items()}
    plan = plan_of(
        tmp_path,
        {"orders": orders},
        survival={
            "promotion": {"name": "spring", "from": dt.date(2026, 3, 1), "to": dt.date(2026, 3, 9)},
            "existing": dt.date(2026, 3, 2),
            "by": ["vip"],
            "covariates": [{"column": "age", "bins": [0, 30, 60]}, "size"],
            "cohorts": "quarter",
        },
    )
    table = lives(plan)
    assert table.keys == ("cohort", "promotion", "customers", "vip", "age", "size")
    cells = list(zip(*(table.levels[k].tolist() for k in table.keys), strict=True))
    # Who was there before the 2nd was won by no promotion that began on the 1st.
    assert cells[0] == ("2026-Q1", "existing", "existing", "true", "30 to 60", 2.5)
    assert cells[1][:-1] == ("2026-Q1", "rest", "new", "(missing)", "(missing)")
    assert np.isnan(cells[1][-1])
    assert relations(plan).keys == table.keys[1:]


def test_of_two_markets_the_first_orders_counts_and_of_one_time_the_least(tmp_path):
    orders = {
        "who": ["a", "a", "b", "b"],
        "at": [at_day(2), at_day(1), at_day(0), at_day(0)],
        "place": ["X", "Y", "S", "N"],
    }
    table = lives(plan_of(tmp_path, {"orders": orders}, survival={"by": ["place"]}))
    assert sorted(table.levels["place"]) == ["N", "Y"]
    assert table.notes == {"several_levels/place": 2}


def test_only_levels_that_split_and_differ_as_they_are_used_are_counted(tmp_path):
    """Of 1 and 2 in one bin, and of what only describes an order, there is nothing to say."""
    orders = {
        "who": ["a", "a", "b", "b", "c", "c"],
        "at": [at_day(d) for d in (1, 2, 1, 2, 1, 2)],
        "items": [1.0, 2.0, 1.0, 9.0, 3.0, None],
        "place": ["X", "Y", "S", "N", "S", "S"],
    }
    covariates = [{"column": "items", "bins": [5]}, "place"]
    only = plan_of(tmp_path, {"orders": orders}, survival={"covariates": covariates})
    assert lives(only).notes == {}
    split = {"covariates": covariates, "by": ["items"]}
    binned = plan_of(tmp_path, {"orders": orders}, survival=split)
    assert lives(binned).notes == {"several_levels/items": 1}


def test_levels_of_a_customers_table_come_before_those_of_orders(tmp_path):
    orders = {"who": ["a", "b"], "at": [at_day(0), at_day(1)], "place": ["X", "Y"]}
    tables = {"orders": orders, "customers": {"who": ["a", "c"], "place": ["Home", "Away"]}}
    plan = plan_of(
        tmp_path, tables, data={"units": "customers.parquet"}, survival={"by": ["place"]}
    )
    table = lives(plan)
    assert sorted(table.levels["place"]) == ["(missing)", "Home"]
    assert table.notes == {"missing_level/place": 1}


def test_the_origin_may_be_a_column_and_events_before_it_are_counted(tmp_path):
    tables = {
        "orders": {
            "who": ["a", "a", "b", "z"],
            "at": [at_day(-3), at_day(4), at_day(5), at_day(5)],
        },
        "customers": {
            "who": ["a", "b", "c", "d"],
            "joined": [at_day(0).date(), at_day(5).date(), None, at_day(90).date()],
        },
    }
    data = {"units": "customers.parquet"}
    for same_day, stop in (("event", 0.0), ("origin", 20.0 - 1)):
        survival = {"origin": "joined", "same_day": same_day, "existing": True}
        table = lives(plan_of(tmp_path, tables, data=data, survival=survival))
        assert table.levels["customers"].tolist() == ["existing", "new"]
        assert table.stop.tolist() == [4.0, stop]
        assert table.notes == {
            "before_origin/orders": 1,
            "without_origin/orders": 1,
            "rows_without_time/units": 1,
            "rows_after_as_of/units": 1,
        }


def test_a_condition_may_end_in_a_comment_and_text_in_quotes(tmp_path):
    orders = simple([0, 9], kind=["o'clock", "x"])
    where = "kind <> 'o''clock' -- never mind"
    table = lives(plan_of(tmp_path, orders, events={"orders": ORDERS | {"where": where}}))
    assert one(table) == (-np.inf, 15.0, 0)
