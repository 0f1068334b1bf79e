"""Rows of orders to life tables: who enters and leaves when, in experiments, and on real shops."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from lives_sample import AS_OF, ORDERS, REFUNDS, at_day, counter, one, plan_of, simple

import retention_lab as rl
from retention_lab.data.datasets import locate
from retention_lab.data.lives import ask, definition, lives
from retention_lab.errors import DataError, PlanError


@pytest.mark.parametrize(
    ("survival", "expected"),
    [
        ({}, (-np.inf, 9.0, 1)),
        ({"horizon": "8d"}, (-np.inf, 8.0, 0)),
        ({"horizon": "9d"}, (-np.inf, 9.0, 1)),
        ({"same_day": "event"}, (-np.inf, 0.0, 1)),
        ({"from": dt.date(2026, 3, 1)}, (-np.inf, 9.0, 1)),
        ({"from": dt.date(2026, 3, 2)}, (0.0, 9.0, 1)),
        ({"from": dt.date(2026, 3, 10)}, (8.0, 9.0, 1)),
    ],
)
def test_orders_of_the_first_day_the_horizon_and_late_entry(tmp_path, survival, expected):
    orders = {"who": ["a"] * 3, "at": [at_day(0, 8), at_day(0, 20), at_day(9)]}
    table = lives(plan_of(tmp_path, {"orders": orders}, survival=survival))
    assert one(table) == expected


def test_whoever_came_back_before_the_observation_begins_is_left_out_and_counted(tmp_path):
    plan = plan_of(tmp_path, simple([0, 9]), survival={"from": dt.date(2026, 3, 11)})
    table = lives(plan)
    assert table.size == 0
    assert table.notes == {"event_before_from": 1}
    assert len(ask(plan, "select * from happening")["id"]) == 0


def test_on_one_day_the_event_comes_first_then_the_order_of_the_file(tmp_path):
    day = {"who": ["a"], "at": [at_day(5, 7)]}
    tables = simple([0, 5]) | {"refunds": day, "closed": day}
    events = {"orders": ORDERS, "refunds": REFUNDS, "closed": REFUNDS | {"table": "closed.parquet"}}
    survival = {"competing": ["closed", "refunds"]}
    assert one(lives(plan_of(tmp_path, tables, events=events, survival=survival))) == (
        -np.inf, 5.0, 1,
    )  # fmt: skip
    tables |= simple([0, 6])
    table = lives(plan_of(tmp_path, tables, events=events, survival=survival))
    assert one(table) == (-np.inf, 5.0, 2)
    assert table.causes[1] == "closed"


def test_a_refund_before_the_first_order_and_without_one_is_counted_and_left_out(tmp_path):
    refunds = {"who": ["a", "b", "a"], "at": [at_day(-1), at_day(3), at_day(4)]}
    plan = plan_of(
        tmp_path,
        simple([0, 9]) | {"refunds": refunds},
        events={"orders": ORDERS, "refunds": REFUNDS},
        survival={"competing": ["refunds"]},
    )
    table = lives(plan)
    assert one(table) == (-np.inf, 4.0, 2)
    assert table.notes == {"before_origin/refunds": 1, "without_origin/refunds": 1}


def test_a_refund_at_the_moment_of_the_first_order_counts_and_an_order_is_the_origin(tmp_path):
    orders = {"who": ["a"] * 3, "at": [at_day(0), at_day(0), at_day(9)]}
    events = {"orders": ORDERS, "refunds": REFUNDS}
    survival = {"competing": ["refunds"], "same_day": "event"}
    tables = {"orders": orders, "refunds": {"who": ["a"], "at": [at_day(0)]}}
    assert one(lives(plan_of(tmp_path, tables, events=events, survival=survival)))[1:] == (0.0, 2)
    tables["refunds"]["at"] = [at_day(0, 11, 59)]
    plan = plan_of(tmp_path, tables, events=events, survival=survival)
    assert one(lives(plan))[1:] == (9.0, 1)
    assert sorted(ask(plan, "select kind from happening")["kind"]) == ["event", "origin", "origin"]


def experiment(folder, survival=None, **changes):
    """Three customers in two arms, one of no arm, with a metric beside the survival section."""
    who = {
        "who": ["a", "b", "c", "n"],
        "arm": ["x", "y", "y", None],
        "at": [at_day(0)] * 4,
        "place": ["N", "S", "N", "N"],
    }
    orders = {
        "who": ["a", "a", "b", "c", "q"],
        "at": [at_day(-9), at_day(0, 15), at_day(0, 9), at_day(4), at_day(1)],
    }
    tables = {"who": who, "orders": orders}
    design = {"unit": "who", "arm": "arm", "control": "x"}
    metric = {"name": "back", "kind": "retention", "event": "orders", "within": "14d"}
    data = {"assignments": {"table": "who.parquet", "at": "at"}}
    settled = {"design": design, "metrics": [metric]} | changes
    said = {"origin": "exposure", "unit": None, **(survival or {})}
    return plan_of(folder, tables, data=data, survival=said, **settled)


def test_in_an_experiment_time_begins_at_exposure_and_is_split_by_arm(tmp_path):
    plan = experiment(tmp_path, {"by": ["place"], "existing": True})
    table = lives(plan)
    assert plan.arms == ("x", "y")
    assert table.keys == ("cohort", "arm", "customers", "place")
    assert counter(table) == {
        ("2026-03", "x", "existing", "N", -np.inf, 0.0, 1): 1,  # three hours after its exposure
        ("2026-03", "y", "existing", "S", -np.inf, 24.0, 0): 1,  # the order came before it
        ("2026-03", "y", "new", "N", -np.inf, 4.0, 1): 1,
    }
    assert table.notes == {}
    assert rl.reduce(plan).units == 3


def test_an_experiment_may_have_no_metrics_and_starts_again_from_its_life_table(tmp_path):
    first = lives(experiment(tmp_path, metrics=[]))
    first.save(tmp_path / "saved.parquet")
    content = yaml.safe_load((tmp_path / "study.yaml").read_text())
    content["data"] = {"lives": "saved.parquet", "as_of": AS_OF}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    plan = rl.plan(tmp_path / "study.yaml")
    assert plan.arms == ("x", "y")
    assert plan.cohort.units == 3
    assert counter(lives(plan)) == counter(first)


def test_saved_life_tables_must_say_what_the_file_says(tmp_path):
    table = lives(plan_of(tmp_path, simple([0, 9])))
    table.save(tmp_path / "one.parquet")
    data = {"events": {}, "lives": "one.parquet"}
    assert counter(lives(plan_of(tmp_path, data=data))) == counter(table)
    with pytest.raises(DataError, match="horizon: 365 there, 30 in the file"):
        plan_of(tmp_path, data=data, survival={"horizon": "30d"})
    with pytest.raises(DataError, match="the same life table twice"):
        plan_of(tmp_path, data=data | {"lives": ["one.parquet", "one.parquet"]})
    with pytest.raises(DataError, match="is not a saved life table"):
        plan_of(tmp_path, data=data | {"lives": ["orders.parquet"]})


def test_the_definition_says_which_rows_count_and_not_where_they_are(tmp_path):
    spec = plan_of(tmp_path, simple([0, 9])).spec
    moved = plan_of(
        tmp_path,
        {"moved": simple([0, 9])["orders"]},
        events={"orders": ORDERS | {"table": "moved.parquet"}},
    ).spec
    picked = plan_of(tmp_path, events={"orders": ORDERS | {"where": "who <> 'z'"}}).spec
    assert definition(spec) == definition(moved) != definition(picked)


def test_a_million_patterns_are_refused_with_advice(tmp_path):
    n = 250_000
    orders = {
        "who": pa.array(np.arange(n)),
        "at": pa.array([at_day(0)]).take(pa.array(np.zeros(n, np.int64))),
        "income": pa.array(np.arange(n) + 0.5),
    }
    with pytest.raises(PlanError, match=r"combinations of cohort.*bins") as caught:
        plan_of(tmp_path, {"orders": orders}, survival={"covariates": ["income"]})
    assert "{column: income, bins: [0, 30, 60]}" in str(caught.value)
    bins = [{"column": "income", "bins": [1000, 50000]}]
    table = lives(plan_of(tmp_path, survival={"covariates": bins}))
    assert (table.cells, table.size) == (3, n)


@pytest.fixture
def online_retail() -> Path:
    try:
        return locate("online-retail")
    except DataError as error:
        pytest.skip(str(error))


def test_online_retail_has_its_published_counts(tmp_path, online_retail):
    events = {"table": "dataset:online-retail", "at": "InvoiceDate", "id": "InvoiceNo"}
    plan = plan_of(
        tmp_path,
        events={"orders": events},
        data={"as_of": dt.date(2011, 12, 9)},
        survival={"unit": "CustomerID", "by": ["Country"]},
    )
    texts = [c.text for c in plan.checks]
    source = "dataset:online-retail"
    assert f"orders: 135,080 of 541,909 rows of {source} without 'CustomerID' are left out" in texts
    table = lives(plan)
    assert table.size == 4_372
    assert table.notes == {"rows_without_unit/orders": 135_080, "several_levels/Country": 8}
    (row,) = plan.source.query(
        "select count(distinct Country) as c, count(distinct InvoiceNo) as i from t", t=source
    )
    assert (row["c"], row["i"]) == (38, 25_900)


def test_cdnow_has_its_published_counts(tmp_path):
    try:
        locate("cdnow")
    except DataError as error:
        pytest.skip(str(error))
    plan = plan_of(
        tmp_path,
        events={"orders": {"table": "dataset:cdnow", "at": "date"}},
        data={"as_of": dt.date(1998, 6, 30)},
        survival={"unit": "customer_id", "value": "dollar_value"},
    )
    table = lives(plan)
    assert table.size == 23_570
    assert table.levels["cohort"].tolist() == ["1997-01", "1997-02", "1997-03"]
    found = ask(plan, "select count(*) as n, count(distinct id) as u from happening")
    assert (found["n"][0], found["u"][0]) == (69_659, 23_570)
