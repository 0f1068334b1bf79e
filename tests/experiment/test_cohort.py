"""The survival section against real tables: what is found, and what is refused, before a kernel."""

from __future__ import annotations

import datetime as dt

import pytest

import retention_lab as rl
from retention_lab.errors import PlanError, SpecError

DAY = dt.datetime(2026, 3, 1, 12)
ORDERS = {"table": "orders.parquet", "at": "at"}
REFUNDS = {"table": "refunds.parquet", "at": "at"}
SURVIVAL = {"unit": "who", "origin": "first orders", "event": "next orders"}
DATA = {"events": {"orders": ORDERS, "refunds": REFUNDS}, "as_of": dt.date(2026, 3, 31)}


def rows(who, days, **columns):
    return {"who": list(who), "at": [DAY + dt.timedelta(days=d) for d in days], **columns}


def tables(**changes):
    """Two orders of a, one of b, a refund of a, and the customers."""
    orders = rows("aab", [0, 9, 24], place=["N", "N", "S"], value=[1.0, 2.0, 3.0], size=[1, 2, 3])
    given = {
        "orders": orders,
        "refunds": rows("a", [12]),
        "customers": {"who": ["a", "b"], "tier": ["new", "old"], "joined": [DAY, DAY]},
    }
    return {name: {**columns, **changes.get(name, {})} for name, columns in given.items()}


def planned(write, survival=None, data=None, spec=None, **changes):
    section = {k: v for k, v in {**SURVIVAL, **(survival or {})}.items() if v is not None}
    path = write(tables(**changes), data={**DATA, **(data or {})}, survival=section, **(spec or {}))
    return rl.plan(path)


def orders(**keys):
    return {"events": {"orders": ORDERS | keys, "refunds": REFUNDS}}


def test_a_plan_says_what_it_found(write):
    plan = planned(write, {"by": ["place"], "competing": ["refunds"], "value": "value * 2"})
    assert [i.name for i in plan.inputs] == ["events.orders", "events.refunds"]
    assert all(c.ok for c in plan.checks)
    assert [c.text for c in plan.checks] == [
        "orders: 3 events of 2 customers until 2026-03-31 in orders.parquet",
        "refunds: 1 event of 1 customer until 2026-03-31 in refunds.parquet",
        "2 customers in 1 cohort by month of 'first orders', 2026-03-01 to 2026-03-25",
        "about 2 combinations of cohort and levels",
        "no customer has been followed for 365d by 2026-03-31; the longest is 30 days",
    ]
    assert plan.cohort.units == 2
    assert plan.cohort.notes == {}
    assert (plan.arms, plan.needed, plan.faults, plan.look) == ((), {}, {}, None)
    assert "✓" in plan._repr_html_()


def test_what_is_left_out_is_said_and_counted(write):
    who, days = ["a", "a", None, "b", "b", "c"], [0, 9, 1, 24, 90, 3]
    odd = rows(who, days, place=["N", "S", "N", "S", "S", None])
    odd |= {"value": [1.0] * 5 + [-1.0], "size": [1] * 6}
    plan = planned(
        write,
        {"by": ["place"], "competing": ["refunds"], "from": dt.date(2026, 3, 2)},
        orders(where="value > 0"),
        orders=odd,
        refunds=rows("abz", [-3, 26, 1]),
    )
    assert plan.cohort.notes == {
        "rows_without_unit/orders": 1,
        "rows_not_counted/orders": 1,
        "rows_after_as_of/orders": 1,
        "without_origin/refunds": 1,
        "before_origin/refunds": 1,
        "several_levels/place": 1,
    }
    texts = "\n".join(c.text for c in plan.checks)
    for said in (
        "orders: 1 of 6 rows of orders.parquet without 'who' are left out",
        "orders: 1 of 6 rows of orders.parquet do not meet 'value > 0'",
        "orders: 1 of 6 rows of orders.parquet after as_of (2026-03-31) are left out",
        "refunds: 1 customer without an origin: left out",
        "refunds: 1 customer with some before the origin: these do not count",
        "1 customer with two levels or more of 'place': each counts with that of its first event",
        "1 customer with an origin before 2026-03-02: seen from that day on",
    ):
        assert said in texts


def test_an_as_of_beyond_the_tables_and_nobody_who_came_back_are_faults_that_a_run_survives(write):
    plan = planned(write, data={"as_of": dt.date(2027, 1, 1)}, orders=rows("aab", [0, 0, 24]))
    assert {c.code: c.text for c in plan.checks if not c.ok} == {
        "as_of": (
            "nothing happened in the 282 days before as_of (2027-01-01), in which customers are "
            "still followed: is it the last complete day of the tables? If they end earlier, say "
            "as_of: 2026-03-25"
        ),
        "no_event": "nobody has 'orders' after the origin: all are censored",
    }


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"survival": {"unit": None}}, "survival.unit: say which column holds the customer's id"),
        ({"survival": {"unit": "woh"}}, "'woh' is not in orders.parquet; did you mean 'who'?"),
        ({"data": {"as_of": None}}, "data.as_of: survival needs the last complete day"),
        ({"data": {"as_of": dt.date(2026, 2, 1)}}, "no row of orders.parquet has an id and a time"),
        ({"survival": {"origin": "first order"}}, "data.events.order (orders, refunds); did you m"),
        ({"survival": {"event": "next oders"}}, "survival.event: there is no data.events.oders"),
        ({"survival": {"competing": ["refund"]}}, "survival.competing: there is no data.events.re"),
        ({"survival": {"origin": "exposure"}}, "exposure needs a design and assignments"),
        (
            {"survival": {"origin": "joined", "same_day": "origin"}},
            "'joined' is a column of data.units, which is not given",
        ),
        (
            {
                "survival": {"origin": "joind", "same_day": "origin"},
                "data": {"units": "customers.parquet"},
            },
            "column 'joind' is not in customers.parquet; did you mean 'joined'?",
        ),
        (
            {
                "survival": {"origin": "tier", "same_day": "origin"},
                "data": {"units": "customers.parquet"},
            },
            "survival.origin: column 'tier' of customers.parquet holds text, not times",
        ),
        ({"survival": {"from": dt.date(2026, 4, 1)}}, "survival.from: 2026-04-01 is after as_of"),
        ({"survival": {"by": ["plaec"]}}, "'plaec' is not in orders.parquet; did you mean 'place'"),
        (
            {"survival": {"by": ["plce"]}, "data": {"units": "customers.parquet"}},
            "'plce' is not in customers.parquet nor in orders.parquet; did you mean 'place'?",
        ),
        ({"survival": {"by": ["at"]}}, "survival.by: 'at' holds time, not levels or numbers"),
        (
            {"survival": {"covariates": [{"column": "place", "bins": [1]}]}},
            "survival.covariates: 'place' holds text: bins need numbers",
        ),
        (
            {"survival": {"covariates": ["size"], "by": ["size"]}},
            "'size' splits the curves and is a number in the regression; give it bins",
        ),
        ({"survival": {"value": "valeu"}}, "survival.value: 'valeu': column 'valeu' is not in"),
        ({"survival": {"value": "place"}}, "column 'place' of orders.parquet holds text, not num"),
        ({"survival": {"value": "value +"}}, "'value +': it is not an SQL expression"),
        ({"data": orders(where="vlaue > 0")}, "column 'vlaue' is not in orders.parquet; did you m"),
        ({"data": orders(where="value")}, "gives DOUBLE, not a condition"),
        ({"data": orders(where="true) or (true")}, "data.events.orders.where: 'true) or (true': i"),
        ({"data": orders(where="true; drop table t")}, "it is not an SQL expression"),
        ({"data": orders(where="sum(value) > 1")}, "data.events.orders.where: 'sum(value) > 1'"),
        ({"data": orders(where="value > 9")}, "orders: no row of orders.parquet has an id and"),
        ({"data": orders(id="nr")}, "data.events.orders.id: column 'nr' is not in orders.parquet"),
        ({"data": orders(at="place")}, "'place' of orders.parquet holds text, not times or dates"),
        (
            {"survival": {"competing": ["refunds"]}, "refunds": {"who": [1]}},
            "'who' holds text in orders.parquet, number in refunds.parquet; cast one of them",
        ),
        (
            {
                "survival": {"origin": "joined", "same_day": "origin"},
                "data": {"units": "customers.parquet"},
                "customers": {"who": ["a", "a"]},
            },
            "1 customer of customers.parquet in more than one row",
        ),
        (
            {
                "survival": {"by": ["tier"]},
                "data": {"units": "customers.parquet"},
                "customers": {"who": ["a", "a"]},
            },
            "1 customer of customers.parquet in more than one row",
        ),
        (
            {
                "survival": {"origin": "joined", "same_day": "origin"},
                "data": {"units": "customers.parquet"},
                "customers": {"who": ["x", "y"]},
            },
            "no customer of the origin is in data.events.orders; are the ids the right ones?",
        ),
        (
            {"survival": {"by": ["place"]}, "orders": rows(range(201), range(-200, 1)) | {
                "place": [f"p{i:03}" for i in range(201)] , "value": [1.0] * 201, "size": [1] * 201
            }, "refunds": {"who": [1]}},
            "survival.by: 'place' has 2",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_any_kernel_starts(write, kwargs, message):
    with pytest.raises(PlanError) as caught:
        planned(write, **kwargs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("survival", "message"),
    [
        ({"event": "orders"}, "event is 'orders'; write next and a name of data.events"),
        ({"horizon": "36h"}, "horizon: '36h' is not a number of whole days"),
        ({"origin": "joined"}, "say in same_day whether events on its day"),
        ({"existing": True}, "existing: everyone's first event is the origin; give the day"),
        ({"competing": ["orders"]}, "competing: 'orders' is the event itself"),
        ({"competing": ["origin"]}, "competing: origin is a word of the lab's own"),
        ({"by": ["cohort"]}, "cohort is a split that the lab makes itself"),
        ({"by": ["place", "place"]}, "by: a name is listed twice"),
        ({"covariates": [{"column": "size", "bins": [2, 1]}]}, "the edges of bins rise"),
        ({"orign": "first orders"}, "unknown key 'survival.orign'; did you mean 'origin'?"),
        (
            {"promotion": {"name": "q4", "from": dt.date(2026, 3, 2), "to": dt.date(2026, 3, 1)}},
            "promotion 'q4' ends on 2026-03-01, before 2026-03-02",
        ),
        (
            {"promotion": {"name": "rest", "from": dt.date(2026, 3, 1), "to": dt.date(2026, 3, 1)}},
            "'rest' is everyone else",
        ),
        (
            {
                "promotion": {
                    "name": "existing",
                    "from": dt.date(2026, 3, 1),
                    "to": dt.date(2026, 3, 9),
                },
                "existing": dt.date(2026, 3, 5),
            },
            "'existing' are those who were there before; call it otherwise",
        ),
        (
            {
                "promotion": {
                    "name": "q4",
                    "from": dt.date(2026, 3, 1),
                    "to": dt.date(2026, 3, 4),
                },
                "existing": dt.date(2026, 3, 5),
            },
            "promotion 'q4' ends on 2026-03-04: whoever came before 2026-03-05 is existing",
        ),
    ],
)
def test_a_section_that_says_what_it_may_not_is_an_error_of_the_file(write, survival, message):
    with pytest.raises(SpecError) as caught:
        planned(write, survival)
    assert message in str(caught.value)


def test_faults_of_one_stage_come_together(write):
    with pytest.raises(PlanError) as caught:
        planned(write, {"by": ["regoin"], "value": "prize"}, orders(id="nr"))
    assert len(str(caught.value).splitlines()) == 3


def test_an_empty_table_is_refused(write):
    import pyarrow as pa

    empty = {"who": pa.array([], pa.string()), "at": pa.array([], pa.timestamp("us"))}
    path = write({"orders": empty}, data={**DATA, "events": {"orders": ORDERS}}, survival=SURVIVAL)
    with pytest.raises(PlanError, match=r"orders\.parquet has no rows"):
        rl.plan(path)


DESIGN = {"unit": "who", "arm": "arm", "control": "x"}
ARMS = {"who": ["a", "b"], "arm": ["x", "y"], "at": [DAY, DAY], "store": ["s", "t"]}
METRIC = {"name": "back", "kind": "retention", "event": "orders", "within": "7d"}


def trial(write, survival, data=None, design=None, metrics=()):
    given = {"assignments": {"table": "arms.parquet", "at": "at"}, **DATA, **(data or {})}
    section = {"origin": "exposure", "event": "next orders", **survival}
    return rl.plan(
        write(
            {**tables(), "arms": ARMS},
            data={k: v for k, v in given.items() if v is not None},
            survival=section,
            design=DESIGN | (design or {}),
            metrics=list(metrics),
        )
    )


def test_a_plan_holds_a_test_and_its_survival_section_together(write):
    plan = trial(write, {"competing": ["refunds"]}, metrics=[METRIC])
    assert plan.arms == ("x", "y")
    assert [i.name for i in plan.inputs] == ["assignments", "events.orders", "events.refunds"]
    assert set(plan.needed) == {"back"}
    assert plan.cohort.units == 2


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"survival": {"origin": "first orders", "by": ["arm"]}},
            "'arm' can only split customers from their exposure on: write origin: exposure",
        ),
        (
            {"survival": {}, "design": {"cluster": "store"}},
            "survival of clusters or blocks cannot be analysed yet",
        ),
        (
            {"survival": {}, "metrics": [METRIC], "data": orders(where="sise > 0")},
            "data.events.orders.where: 'sise > 0': column 'sise' is not in",
        ),
        (
            {"survival": {}, "metrics": [METRIC], "data": orders(where="size")},
            "data.events.orders.where: 'size' gives",
        ),
        (
            {"survival": {}, "metrics": [METRIC], "data": orders(id="nr")},
            "data.events.orders.id: column 'nr' is not in",
        ),
        ({"survival": {"forecast": "90d"}}, "survival.forecast: a forecast cannot be made yet"),
    ],
)
def test_what_does_not_fit_a_test_is_refused(write, kwargs, message):
    with pytest.raises(PlanError) as caught:
        trial(write, **kwargs)
    assert message in str(caught.value)


def test_survival_from_saved_moments_needs_saved_life_tables(write, tmp_path):
    plan = trial(write, {}, metrics=[METRIC])
    rl.reduce(plan).save(tmp_path / "saved.parquet")
    data = {"assignments": None, "events": None, "moments": "saved.parquet"}
    with pytest.raises(PlanError, match=r"needs data\.lives, the life tables"):
        trial(write, {}, data=data, metrics=[METRIC])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"events": {}}, "exactly one of units, assignments or moments"),
        ({"lives": "x.parquet"}, "lives stand in place of the tables"),
        ({"units": "u.parquet", "moments": "m.parquet"}, "exactly one of units, assignments or"),
    ],
)
def test_rows_or_saved_life_tables(write, data, message):
    with pytest.raises(SpecError) as caught:
        planned(write, data=data)
    assert message in str(caught.value)


def test_events_without_assignments_need_a_survival_section(write):
    with pytest.raises(SpecError, match="events need assignments"):
        rl.plan(write(tables(), data={**DATA, "units": "customers.parquet"}))
