"""Events with a condition and a number of their own: metrics are those of a plain loop."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.ages import day
from retention_lab.data.moments import Moments, merge
from retention_lab.errors import DataError

START = dt.datetime(2026, 1, 10)
AS_OF = dt.date(2026, 2, 4)
END = dt.datetime(2026, 2, 5)
DAYS = 10
UNITS = 6
DESIGN = {"unit": "unit", "arm": "arm", "control": "a"}
WINDOW = {"event": "orders", "within": f"{DAYS}d"}
WHERE = "size > 0"
METRICS = [
    {"name": "back", "kind": "retention", "role": "primary", **WINDOW},
    {"name": "orders", "kind": "count", "role": "primary", "pre": "5d", **WINDOW},
    {"name": "spent", "kind": "sum", "value": "value", "missing": "zero", "pre": "5d", **WINDOW},
    {"name": "whole", "kind": "sum", "value": "value", "missing": "drop", **WINDOW},
    {"name": "basket", "kind": "ratio", "numerator": "spent", "denominator": "orders"},
    {"name": "median", "kind": "quantile", "quantile": 0.5, **WINDOW},
]
# In the window of everybody, so that every plan finds an event after exposure.
ANCHOR = ("u0", 24, "anchor", 1, 7.0)

LINES = st.lists(
    st.tuples(
        st.sampled_from([f"u{i}" for i in range(UNITS)] + ["stranger", None]),
        st.one_of(st.none(), st.integers(-6 * 24, 26 * 24)),  # hours since the first exposure
        st.sampled_from(["n1", "n2", "n3", None]),
        st.sampled_from([1, 2, 0, -1, None]),
        st.sampled_from([1.5, 20.0, -3.0, None]),
    ),
    max_size=40,
)


def exposed(i):
    return START + i * dt.timedelta(hours=30)


def at(hours):
    return None if hours is None else START + dt.timedelta(hours=hours)


def planned(write, lines, *, where=WHERE, number="nr", metrics=METRICS, name="trial", units=None):
    units = list(range(UNITS)) if units is None else units
    who = {"unit": [f"u{i}" for i in units], "at": [exposed(i) for i in units]}
    who["arm"] = ["ab"[i % 2] for i in units]
    columns = list(zip(*lines, strict=True))
    orders = {
        "unit": pa.array(columns[0], pa.string()),
        "when": pa.array([at(h) for h in columns[1]], pa.timestamp("us")),
        "nr": pa.array(columns[2], pa.string()),
        "size": pa.array(columns[3], pa.int64()),
        "value": pa.array(columns[4], pa.float64()),
    }
    said = {k: v for k, v in {"where": where, "id": number}.items() if v is not None}
    path = write(
        {f"who-{name}": who, f"orders-{name}": orders},
        name=name,
        data={
            "assignments": {"table": f"who-{name}.parquet", "at": "at"},
            "events": {"orders": {"table": f"orders-{name}.parquet", "at": "when", **said}},
            "as_of": AS_OF,
        },
        design=DESIGN,
        metrics=metrics,
        privacy={"min_cell": 1},
    )
    return rl.plan(path)


def events_of(lines, *, where=True, number=True):
    """By unit: the events, each its time and the values of its lines."""
    found = defaultdict(list)
    for i, (unit, hours, nr, size, value) in enumerate(lines):
        if where and not (size is not None and size > 0):
            continue
        if unit is None or hours is None or at(hours) >= END:
            continue
        key = (unit, nr, None if nr is not None else hours) if number else (unit, i)
        found[key].append((at(hours), value))
    events = defaultdict(list)
    for (unit, *_), rows in found.items():
        events[unit].append((min(t for t, _ in rows), [v for _, v in rows]))
    return events


def expected(lines, **how):
    """By column, the unit's number, None where it is not known; all units are mature."""
    events, found = events_of(lines, **how), defaultdict(list)
    for i in range(UNITS):
        own, begun = events[f"u{i}"], exposed(i)
        inside = [v for t, v in own if begun < t <= begun + dt.timedelta(days=DAYS)]
        before = [v for t, v in own if begun - dt.timedelta(days=5) < t <= begun]
        found["back"].append(float(bool(inside)))
        found["orders"].append(float(len(inside)))
        found["orders pre"].append(float(len(before)))
        found["spent"].append(sum(v or 0.0 for some in inside for v in some))
        found["spent pre"].append(sum(v or 0.0 for some in before for v in some))
        lost = any(v is None for some in inside for v in some)
        found["whole"].append(None if lost else sum(v for some in inside for v in some))
        found["median"].append(float(len(inside)))
    return found


def check(moments, wanted):
    """Counts, means and spreads of every column over all units."""
    whole = moments.roll_up()
    for column, numbers in wanted.items():
        if column not in whole.columns:
            continue
        known = np.array([x for x in numbers if x is not None])
        assert int(whole.n[0, whole.pair(column)]) == len(known), column
        if len(known):
            assert whole.mean(0, column) == pytest.approx(known.mean(), abs=1e-9), column
            spread = whole.comoment[0, whole.pair(column)]
            assert spread == pytest.approx(((known - known.mean()) ** 2).sum(), abs=1e-6), column


MANY = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(LINES, st.sampled_from([(WHERE, "nr"), (WHERE, None), (None, "nr"), (None, None)]))
def test_metrics_are_those_of_a_plain_loop(write, lines, said):
    lines = [ANCHOR, *lines]
    where, number = said
    moments = rl.reduce(planned(write, lines, where=where, number=number))
    wanted = expected(lines, where=where is not None, number=number is not None)
    check(moments, wanted)
    spent, orders = np.array(wanted["spent"]), np.array(wanted["orders"])
    whole = moments.roll_up()
    shared = whole.comoment[0, whole.pair("spent", "orders")]
    assert shared == pytest.approx(((spent - spent.mean()) * (orders - orders.mean())).sum())


@MANY
@given(LINES)
def test_days_since_exposure_count_events_and_not_lines(write, lines):
    lines = [ANCHOR, *lines]
    ages = rl.reduce(planned(write, lines)).ages.roll_up()
    events = events_of(lines)
    for k in range(1, DAYS + 1):
        counts = []
        for i in range(UNITS):
            low, high = (exposed(i) + dt.timedelta(days=d) for d in (k - 1, k))
            if high <= END:
                counts.append(sum(low < t <= high for t, _ in events[f"u{i}"]))
        column = day("orders", k)
        assert int(ages.n[0, ages.pair(column)]) == len(counts)
        assert ages.mean(0, column) == pytest.approx(np.mean(counts), abs=1e-12)


@settings(parent=MANY, max_examples=4)
@given(LINES, st.integers(2, UNITS - 2))
def test_parts_of_the_units_add_up_to_the_whole(write, lines, cut):
    lines = [*[(f"u{i}", 30 * i + 24, "anchor", 1, 7.0) for i in range(UNITS)], *lines]
    whole = rl.reduce(planned(write, lines))
    first = planned(write, lines, name="first", units=range(cut))
    rest = planned(write, lines, name="rest", units=range(cut, UNITS))
    together = merge(rl.reduce(first), rl.reduce(rest)).roll_up()
    for c in whole.columns:
        assert together.mean(0, c) == pytest.approx(whole.roll_up().mean(0, c), abs=1e-9), c


def test_an_invoice_whose_lines_straddle_the_exposure_lies_before_it(write):
    """Its first line is what counts: no line of it is in the window, whenever it was booked."""
    lines = [("u0", -1, "n1", 1, 5.0), ("u0", 2, "n1", 1, 6.0), ANCHOR]
    found = rl.reduce(planned(write, lines)).roll_up()
    assert found.mean(0, "orders") == pytest.approx(1 / UNITS)
    assert found.mean(0, "orders pre") == pytest.approx(1 / UNITS)
    assert found.mean(0, "spent pre") == pytest.approx(11 / UNITS)


def test_two_units_may_share_a_number(write):
    lines = [("u0", 24, "n1", 1, 5.0), ("u1", 54, "n1", 1, 6.0)]
    found = rl.reduce(planned(write, lines)).roll_up()
    assert found.mean(0, "orders") == pytest.approx(2 / UNITS)


def test_a_line_after_the_last_complete_day_is_in_no_order(write):
    """As without a number, what comes later never changes what was counted."""
    early = [("u0", 24, "n1", 1, 5.0), ANCHOR]
    late = [*early, ("u0", 26 * 24 + 1, "n1", 1, 100.0)]
    one, two = (rl.reduce(planned(write, lines)).roll_up() for lines in (early, late))
    assert two.mean(0, "spent") == one.mean(0, "spent")


def test_a_missing_value_in_a_line_that_does_not_count_is_no_fault(write):
    metric = {"name": "spent", "kind": "sum", "value": "value", **WINDOW}
    lines = [ANCHOR, ("u1", 54, "n1", 0, None), ("u1", 54, "n1", None, None)]
    assert not planned(write, lines, metrics=[metric]).faults
    assert "spent" in planned(write, lines, metrics=[metric], where=None).faults


def test_a_missing_value_counts_where_its_order_is_in_the_window(write):
    """The line is later than the window, its order is not: the value is missing there."""
    metric = {"name": "spent", "kind": "sum", "value": "value", **WINDOW}
    lines = [ANCHOR, ("u0", 30, "n1", 1, 1.0), ("u0", 24 * 12, "n1", 1, None)]
    assert "spent" in planned(write, lines, metrics=[metric]).faults
    assert not planned(write, lines, metrics=[metric], number=None).faults


def test_strangers_and_rows_without_a_unit_are_told_of_rows_that_count(write):
    lines = [ANCHOR, (None, 24, "n1", 1, 1.0), (None, 24, "n2", 0, 1.0)]
    said = [c.text for c in planned(write, lines).checks if c.code == "stray"]
    assert said
    assert said[0].startswith("1 row of")


def test_a_reduction_says_which_rows_it_counts(write, tmp_path):
    lines = [ANCHOR, ("u1", 54, "n1", 0, None)]
    one = rl.reduce(planned(write, lines))
    other = rl.reduce(planned(write, lines, where="size >= 0"))
    with pytest.raises(DataError, match="differ"):
        merge(one, other)
    one.save(tmp_path / "saved.parquet")
    assert Moments.load(tmp_path / "saved.parquet").definition == one.definition
    again = rl.plan(
        write(
            {},
            name="again",
            data={"moments": "saved.parquet", "as_of": AS_OF},
            design=DESIGN,
            metrics=METRICS[:4],
        )
    )
    assert rl.reduce(again).roll_up().mean(0, "orders") == one.roll_up().mean(0, "orders")
