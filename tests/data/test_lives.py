"""Rows of orders to life tables: against a plain loop over customers, and on real shops."""

from __future__ import annotations

import collections
import datetime as dt
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.datasets import locate
from retention_lab.data.lifetable import merge
from retention_lab.data.lives import ask, definition, lives, relations
from retention_lab.errors import DataError, PlanError

START = dt.datetime(2026, 2, 20, tzinfo=dt.UTC)
SPAN = 40  # days: with the change to summer time in New York, on 8 March
AS_OF = dt.date(2026, 3, 25)
ORDERS = {"table": "orders.parquet", "at": "at"}
REFUNDS = {"table": "refunds.parquet", "at": "at"}
SURVIVAL = {"unit": "who", "origin": "first orders", "event": "next orders"}


def plan_of(folder, tables=None, *, events=None, data=None, survival=None, name="study", **spec):
    """A plan over `tables`, which are written into `folder` as Parquet."""
    folder = Path(folder)
    for table, columns in (tables or {}).items():
        pq.write_table(pa.table(dict(columns)), folder / f"{table}.parquet")
    content = {"schema": 1, "name": name, "title": "A study"}
    content["data"] = {"events": events or {"orders": ORDERS}, "as_of": AS_OF, **(data or {})}
    content["survival"] = {**SURVIVAL, **(survival or {})}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | spec, sort_keys=False), encoding="utf-8")
    return rl.plan(path)


def counter(table):
    """The rows of a life table: levels, start, stop and cause -> units."""
    levels = [table.levels[k][table.cell] for k in table.keys]
    rows = zip(*levels, table.start, table.stop, table.cause, strict=True)
    return {tuple(row): n for row, n in zip(rows, table.n.tolist(), strict=True)}


def at_day(day, hour=12, minute=0):
    return dt.datetime(2026, 3, 1, hour, minute) + dt.timedelta(days=day)


def random_rows(rng, rows, customers):
    """Random events: some without id or time, some at midnight and at the same time, many a day."""
    who = [None if rng.random() < 0.05 else f"c{rng.integers(customers)}" for _ in range(rows)]
    minutes = rng.integers(0, SPAN * 48, rows) * 30
    at = [START + dt.timedelta(minutes=int(m)) for m in minutes]
    at = [None if rng.random() < 0.05 else t for t in at]
    place = [None if rng.random() < 0.1 else "NSE"[rng.integers(3)] for _ in range(rows)]
    number = [None if rng.random() < 0.1 else int(n) for n in rng.integers(0, 6, rows)]
    value = [None if rng.random() < 0.1 else float(v) for v in rng.integers(-3, 9, rows)]
    good = rng.random(rows) < 0.8
    return {
        "who": pa.array(who, pa.string()),
        "at": pa.array(at, pa.timestamp("us", "UTC")),
        "place": pa.array(place, pa.string()),
        "number": pa.array(number, pa.int64()),
        "value": pa.array(value, pa.float64()),
        "good": pa.array(good),
    }


def plain_events(columns, zone, numbered, only_good):
    """By customer, sorted (time, local day, place, value) of what counts."""
    rows = [
        dict(zip(columns, r, strict=True))
        for r in zip(*(c.to_pylist() for c in columns.values()), strict=True)
    ]
    groups = collections.defaultdict(list)
    for i, row in enumerate(rows):
        if row["who"] is None or row["at"] is None or (only_good and not row["good"]):
            continue
        if row["at"].astimezone(zone).date() > AS_OF:
            continue
        own = row["number"] if row["number"] is not None else row["at"]
        groups[(row["who"], own if numbered else i)].append(row)
    found = collections.defaultdict(list)
    for (who, _), members in groups.items():
        first = min(m["at"] for m in members)
        places = sorted(m["place"] for m in members if m["place"] is not None)
        values = [m["value"] for m in members if m["value"] is not None]
        place, value = places[0] if places else None, sum(values) if values else None
        found[who].append((first, first.astimezone(zone).date(), place, value))
    return {who: sorted(e, key=lambda e: (e[0], e[2] or "~")) for who, e in found.items()}


def plain_lives(orders, refunds, *, same_day, horizon, since):
    """The life table by a loop over customers."""
    found = collections.Counter()
    for who, events in orders.items():
        first, origin, place, _ = events[0]
        ends = []
        for at, day, _, _ in events:
            again = day > origin if same_day == "origin" else at > first
            if again:
                ends.append(((day - origin).days, 1))
        ends += [((d - origin).days, 2) for at, d, _, _ in refunds.get(who, []) if at >= first]
        last = min((AS_OF - origin).days, horizon)
        stop, cause = min([e for e in ends if e[0] <= last], default=(last, 0))
        start = -np.inf
        if since is not None and origin < since:
            start = float((since - origin).days - 1)
        if stop <= start:
            continue
        week = "{}-W{:02}".format(*origin.isocalendar())
        found[(week, place or "(missing)", start, float(stop), cause)] += 1
    return dict(found)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Shanghai"]),
    same_day=st.sampled_from(["origin", "event"]),
    horizon=st.sampled_from([7, 20, 60]),
    since=st.sampled_from([None, dt.date(2026, 3, 2), AS_OF]),
    numbered=st.booleans(),
    only_good=st.booleans(),
)
def test_the_engine_counts_what_a_loop_over_customers_counts(
    seed, zone, same_day, horizon, since, numbered, only_good
):
    rng = np.random.default_rng(seed)
    tables = {"orders": random_rows(rng, 60, 12), "refunds": random_rows(rng, 15, 14)}
    more = {"id": "number"} if numbered else {}
    more |= {"where": "good"} if only_good else {}
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_of(
            folder,
            tables,
            events={"orders": ORDERS | more, "refunds": REFUNDS | more},
            data={"timezone": zone},
            survival={
                "cohorts": "week",
                "by": ["place"],
                "competing": ["refunds"],
                "same_day": same_day,
                "horizon": f"{horizon}d",
                **({"from": since} if since else {}),
            },
        )
        table = lives(plan)
        happened = ask(plan, "select id, age, kind, value from happening")
    loops = [plain_events(tables[t], ZoneInfo(zone), numbered, only_good) for t in tables]
    expected = plain_lives(*loops, same_day=same_day, horizon=horizon, since=since)
    assert counter(table) == expected
    assert table.keys == ("cohort", "place")
    assert table.causes == ("event", "refunds")
    lost = sum(len(e) > 0 for e in loops[0].values()) - sum(expected.values())
    assert table.notes.get("event_before_from", 0) + table.notes.get("never_observed", 0) == lost
    assert (happened["age"] >= 0).all()
    if since is None:
        kinds = collections.Counter(happened["kind"])
        assert kinds["event"] + kinds["origin"] == sum(len(e) for e in loops[0].values())
        values = [v for e in loops[0].values() for *_, v in e if v is not None]
        assert happened["value"].count() == 0 or np.ma.sum(happened["value"]) == sum(values)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shards=st.integers(2, 4))
def test_customers_reduced_apart_merge_to_the_whole(seed, shards):
    rng = np.random.default_rng(seed)
    tables = {"orders": random_rows(rng, 80, 20), "refunds": random_rows(rng, 20, 20)}
    survival = {"by": ["place"], "competing": ["refunds"], "cohorts": "week"}
    events = {"orders": ORDERS, "refunds": REFUNDS}
    with tempfile.TemporaryDirectory() as folder:
        whole = lives(plan_of(folder, tables, events=events, survival=survival))
        parts = []
        for i in range(shards):
            own = {}
            for name, columns in tables.items():
                who = columns["who"].to_pylist()
                mine = [w is not None and int(w[1:]) % shards == i for w in who]
                if not any(mine):
                    return
                own[name] = {k: v.filter(pa.array(mine)) for k, v in columns.items()}
            if not any(t is not None for t in own["orders"]["at"].to_pylist()):
                return
            part = lives(plan_of(folder, own, events=events, survival=survival))
            part.save(Path(folder) / f"part-{i}.parquet")
            parts.append(part)
        restarted = plan_of(
            folder,
            data={"events": {}, "lives": ["part-*.parquet"]},
            survival=survival,
            name="restarted",
        )
        again = lives(restarted)
    merged = merge(*parts)
    assert counter(merged) == counter(whole) == counter(again)
    assert merged.definition == whole.definition
    shared = {k: v for k, v in whole.notes.items() if not k.startswith("rows_")}
    assert {k: v for k, v in merged.notes.items() if not k.startswith("rows_")} == shared


def simple(days, who="a", **columns):
    """Orders of one customer on days counted from 1 March 2026."""
    table = {"who": [who] * len(days), "at": [at_day(d) for d in days]}
    return {"orders": table | {k: list(v) for k, v in columns.items()}}


def one(table):
    """Start, stop and cause of the only unit."""
    assert table.size == 1
    return float(table.start[0]), float(table.stop[0]), int(table.cause[0])


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
            "promotion": {"name": "spring", "from": dt.date(2026, 3, 1), "to": dt.date(2026, 3, 5)},
            "existing": dt.date(2026, 3, 10),
            "by": ["vip"],
            "covariates": [{"column": "age", "bins": [0, 30, 60]}, "size"],
            "cohorts": "quarter",
        },
    )
    table = lives(plan)
    assert table.keys == ("cohort", "promotion", "customers", "vip", "age", "size")
    cells = list(zip(*(table.levels[k].tolist() for k in table.keys), strict=True))
    assert cells[0][:-1] == ("2026-Q1", "rest", "new", "(missing)", "(missing)")
    assert np.isnan(cells[0][-1])
    assert cells[1] == ("2026-Q1", "spring", "existing", "true", "30 to 60", 2.5)
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


def test_a_condition_may_end_in_a_comment_and_text_in_quotes(tmp_path):
    orders = simple([0, 9], kind=["o'clock", "x"])
    where = "kind <> 'o''clock' -- never mind"
    table = lives(plan_of(tmp_path, orders, events={"orders": ORDERS | {"where": where}}))
    assert one(table) == (-np.inf, 15.0, 0)


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
