"""The plan: what is found in real tables before any kernel starts."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

import retention_lab as rl
from retention_lab.errors import DataError, PlanError
from retention_lab.experiment.needs import needs
from retention_lab.experiment.plan import Check, make_plan

START = dt.datetime(2026, 1, 1)
DESIGN = {"unit": "unit", "arm": "arm", "control": "a"}
EVENTS = {"orders": {"table": "orders.parquet", "at": "at"}}
DATA = {
    "assignments": {"table": "who.parquet", "at": "at"},
    "events": EVENTS,
    "as_of": dt.date(2026, 3, 1),
}
BACK = {"name": "back", "kind": "retention", "event": "orders", "within": "30d"}
REVENUE = {"name": "rev", "kind": "sum", "event": "orders", "value": "value", "within": "30d"}


def tables(**changes):
    """Assignments of four units and an order of each; a change replaces columns."""
    who = {"unit": ["u0", "u1", "u2", "u3"], "arm": ["a", "b"] * 2, "at": [START] * 4}
    who["region"] = ["n", "s"] * 2
    orders = {"unit": ["u0", "u1"], "at": [START + dt.timedelta(days=1)] * 2, "value": [1.0, 2.0]}
    return {
        "who": {**who, **changes.get("who", {})},
        "orders": {**orders, **changes.get("orders", {})},
    }


def planned(write, metrics=(BACK,), design=DESIGN, data=DATA, spec=None, **changes):
    path = write(tables(**changes), data=data, design=design, metrics=list(metrics), **(spec or {}))
    return make_plan(path)


def test_a_plan_knows_arms_inputs_and_what_was_found(write):
    plan = planned(write, [BACK, REVENUE], spec={"segments": ["region"]})
    assert plan.arms == ("a", "b")
    assert [(i.name, i.ref) for i in plan.inputs] == [
        ("assignments", "who.parquet"),
        ("events.orders", "orders.parquet"),
    ]
    assert all(path.is_file() for i in plan.inputs for path in i.paths)
    assert all(c.ok for c in plan.checks)
    texts = [c.text for c in plan.checks]
    assert "4 units in who.parquet" in texts
    assert "4 of 4 units have had their 30d by 2026-03-01" in texts


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"design": {**DESIGN, "arm": "amr"}},
            "design.arm: column 'amr' is not in who.parquet; did",
        ),
        ({"design": {**DESIGN, "unit": "custmer"}}, "design.unit: column 'custmer' is not in"),
        ({"design": {"arm": "arm", "control": "a"}}, "assignments need the column that holds the"),
        ({"design": {**DESIGN, "control": "A"}}, "no unit has 'A' in its arm"),
        (
            {"design": {**DESIGN, "expected_split": {"a": 1, "c": 1}}},
            "arm 'b' (2 units) is not in expected_split",
        ),
        ({"spec": {"segments": ["regoin"]}}, "did you mean 'region'?"),
        ({"data": {**DATA, "as_of": None}}, "data.as_of: metrics with a window need the last"),
        ({"data": {**DATA, "as_of": dt.date(2025, 1, 1)}}, "are exposed after it"),
        (
            {"data": {**DATA, "as_of": dt.date(2026, 1, 20)}},
            "no unit has had its 30d by 2026-01-20; the first has on 2026-01-31",
        ),
        ({"metrics": [{**BACK, "event": "order"}]}, "no data.events.order (orders); did you mean"),
        ({"metrics": [{**REVENUE, "value": "valeu"}]}, "did you mean 'value'?"),
        ({"who": {"at": ["2026"] * 4}}, "column 'at' of who.parquet holds text, not times"),
        (
            {"orders": {"value": ["x", "y"]}, "metrics": [REVENUE]},
            "column 'value' of orders.parquet holds text, not num",
        ),
        ({"orders": {"unit": [0, 1]}}, "'unit' holds text in the assignments but number in orders"),
        ({"who": {"unit": ["u0", "u0", "u2", "u3"]}}, "1 unit of who.parquet in two arms"),
        (
            {"who": {"unit": ["u0", "u1", "u0", "u3"]}},
            "1 unit of who.parquet in more than one row",
        ),
        ({"who": {"unit": ["u0", None, "u2", "u3"]}}, "1 row of who.parquet without 'unit'"),
        ({"who": {"at": [START, None, START, START]}}, "1 row of who.parquet without a time"),
        ({"who": {"arm": ["a"] * 4}}, "has one arm only"),
        (
            {"orders": {"at": [START - dt.timedelta(days=1)] * 2}},
            "no unit of who.parquet has an event in orders.parquet after its exposure",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_any_kernel_starts(write, kwargs, message):
    with pytest.raises(PlanError) as caught:
        planned(write, **kwargs)
    assert message in str(caught.value)


def test_faults_of_one_stage_come_together(write):
    design = {**DESIGN, "arm": "amr"}
    with pytest.raises(PlanError) as caught:
        planned(write, design=design, spec={"segments": ["regoin"]})
    assert len(str(caught.value).splitlines()) == 2


def test_an_empty_table_is_refused(write):
    import pyarrow as pa

    units = {"arm": pa.array([], pa.string()), "x": pa.array([], pa.float64())}
    design, metrics = {"arm": "arm", "control": "a"}, [{"name": "x", "kind": "mean"}]
    path = write({"units": units}, data={"units": "units.parquet"}, design=design, metrics=metrics)
    with pytest.raises(PlanError, match=r"units\.parquet has no rows"):
        make_plan(path)


def test_a_file_without_metrics_has_nothing_to_analyse(write):
    spec = {"data": DATA, "design": DESIGN, "metrics": []}
    with pytest.raises(PlanError, match="there is nothing to analyse"):
        make_plan(write(tables(), **spec))


@pytest.mark.parametrize("engine", [{"spark": "local[1]"}, {"ibis": "postgres://${NOT_SET}@x"}])
def test_an_engine_that_does_not_exist_yet_says_so(write, engine):
    with pytest.raises(PlanError, match="does not exist yet; the engine is duckdb"):
        planned(write, data={**DATA, "engine": engine})


def test_a_missing_table_names_the_nearest(write):
    data = {**DATA, "assignments": {"table": "whom.parquet", "at": "at"}}
    with pytest.raises(DataError, match=r"no file 'whom.parquet'.*did you mean 'who.parquet'"):
        planned(write, data=data)


def test_a_ratio_of_something_unknown_is_refused(write):
    ratio = {"name": "r", "kind": "ratio", "numerator": "rev", "denominator": "order_30d"}
    with pytest.raises(PlanError, match="neither a metric nor a column of the units, nor a count"):
        planned(write, [REVENUE, ratio])


def test_a_missing_value_outside_the_window_is_no_fault(write):
    early = START - dt.timedelta(days=400)
    orders = {"unit": ["u0", "u1"], "at": [START + dt.timedelta(days=1), early]}
    plan = planned(write, [BACK, REVENUE], orders={**orders, "value": [1.0, None]})
    assert not plan.faults
    plan = planned(write, [BACK, REVENUE], orders={**orders, "value": [None, 1.0]})
    assert list(plan.faults) == ["rev"]
    assert plan.faults["rev"].startswith("missing_values: 1 values of 'value' in orders.parquet")


def test_a_secondary_metric_whose_window_is_too_long_is_a_fault_not_the_end(write):
    late = {**REVENUE, "within": "90d"}
    plan = planned(write, [{**BACK, "role": "primary"}, late])
    assert list(plan.faults) == ["rev"]
    results = rl.analyse(plan, rl.reduce(plan))
    assert all(
        r.note.startswith("no_mature_units") for r in results.where(metric="rev", arm="b").rows
    )


def test_too_many_levels_are_refused(write):
    n = 500
    units = {"arm": ["a", "b"] * (n // 2), "x": [1.0] * n, "email": [f"m{i}@x" for i in range(n)]}
    path = write({"units": units}, data={"units": "units.parquet"},
                 design={"arm": "arm", "control": "a"}, metrics=[{"name": "x", "kind": "mean"}],
                 segments=["email"])  # fmt: skip
    with pytest.raises(PlanError, match="'email' has more than 200 levels"):
        make_plan(path)


def test_needs_are_declared_once_and_shared(write):
    metrics = [
        REVENUE,
        {"name": "aov", "kind": "ratio", "numerator": "rev", "denominator": "orders_30d"},
        {"name": "per", "kind": "ratio", "numerator": "rev", "denominator": "orders_7d"},
    ]
    spec = planned(write, metrics).spec
    needed = needs(spec)
    assert needed["aov"].pairs == (
        ("rev", "rev"), ("orders_30d", "orders_30d"), ("rev", "orders_30d"),
    )  # fmt: skip
    parts = needed["per"].columns
    assert [(c.name, c.matures) for c in parts] == [
        ("per numerator", 720),
        ("per denominator", 720),
    ]


def test_a_plan_shows_its_checks_escaped(write):
    plan = planned(write)
    hostile = dataclasses.replace(plan, checks=(Check("rows", True, "<script>alert(1)</script>"),))
    assert "<td>✓</td>" in hostile._repr_html_()
    assert "<script>" not in hostile._repr_html_()


def test_orders_of_nobody_are_said(write):
    orders = {"unit": ["u0", None], "at": [START + dt.timedelta(days=1), START]}
    plan = planned(write, orders=orders)
    assert "1 row of orders.parquet without 'unit' or 'at' left out" in [
        c.text for c in plan.checks
    ]


def test_a_rare_event_may_not_have_happened_yet(write):
    never = {"unit": ["u0"], "at": [START - dt.timedelta(days=1)]}
    data = {**DATA, "events": {**EVENTS, "leave": {"table": "leave.parquet", "at": "at"}}}
    guard = {"name": "left", "kind": "retention", "event": "leave", "within": "30d",
             "role": "guardrail", "direction": "decrease"}  # fmt: skip
    path = write({**tables(), "leave": never}, data=data, design=DESIGN, metrics=[BACK, guard])
    assert not make_plan(path).faults


def test_a_sequential_test_needs_days_of_entry(write):
    columns = {"arm": ["a", "b"] * 5, "x": [1.0, 2.0] * 5}
    path = write({"units": columns}, data={"units": "units.parquet"},
                 design={"arm": "arm", "control": "a"}, metrics=[{"name": "x", "kind": "mean"}],
                 inference={"sequential": True})  # fmt: skip
    with pytest.raises(PlanError, match="sequential needs assignments"):
        make_plan(path)


def test_refunds_among_rows_that_a_metric_counts_are_asked_about(write):
    back = {"orders": {"value": [1.0, -2.0]}}
    (found,) = [c for c in planned(write, (BACK, REVENUE), **back).checks if c.code == "negative"]
    assert found == Check(
        "negative",
        True,
        "orders: 1 row of orders.parquet with 'value' below 0 count for 'back' as well: are these "
        "refunds? data.events.orders.where can leave them out",
        {"event": "orders", "n": 1, "table": "orders.parquet", "name": "value"},
    )
    chosen = {**DATA, "events": {"orders": {**EVENTS["orders"], "where": "value <> 7"}}}
    for metrics, data, orders in (
        ((BACK, REVENUE), chosen, back),
        ((REVENUE,), DATA, back),
        ((BACK, REVENUE), DATA, {}),
    ):
        checks = planned(write, metrics, data=data, **orders).checks
        assert "negative" not in {c.code for c in checks}


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_no_number_is_found_among_many(write, odd):
    """Its writer leaves NaN out of what a Parquet file says of its own columns."""
    days = [START + dt.timedelta(days=1)] * 4
    orders = {"unit": ["u0", "u1", "u2", "u3"], "at": days, "value": [1.0, 2.0, odd, 4.0]}
    plan = planned(write, metrics=[BACK, REVENUE], orders=orders)
    assert plan.faults["rev"].startswith("not_finite: 1 values of 'value'")
    assert "back" not in plan.faults


def test_rows_below_zero_are_asked_about_with_their_number(write):
    orders = {
        "unit": ["u0", "u1", "u2", "u2"],
        "at": [START + dt.timedelta(days=1)] * 4,
        "value": [1.0, -2.0, -0.5, 4.0],
    }
    plan = planned(write, metrics=[BACK, REVENUE], orders=orders)
    (said,) = [c.text for c in plan.checks if c.code == "negative"]
    assert said.startswith("orders: 2 rows of orders.parquet with 'value' below 0 count for 'back'")
