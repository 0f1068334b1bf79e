"""Unit rows from assignments and events: windows, pre-periods, maturity, missing values."""

from __future__ import annotations

import datetime as dt

import pytest

import retention_lab as rl
from retention_lab.data.times import end_of
from retention_lab.errors import PlanError

DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)
START = dt.datetime(2026, 1, 1, 12, 0, 0)
AT = {"table": "who.parquet", "at": "at"}
DESIGN = {"unit": "unit", "arm": "arm", "control": "a"}
BACK = {"name": "back", "kind": "retention", "event": "orders", "within": "30d"}


def means(write, events, metrics, *, at=None, as_of=dt.date(2026, 3, 1), name="trial", **data):
    """Means over all units, by column, of the units u0, u1, ... and their events."""
    at = at or [START] * 4
    who = {"unit": [f"u{i}" for i in range(len(at))], "at": at}
    who["arm"] = ["ab"[i % 2] for i in range(len(at))]
    orders = {"unit": [e[0] for e in events], "at": [e[1] for e in events]}
    orders["value"] = [float(e[2]) if len(e) > 2 and e[2] is not None else None for e in events]
    path = write(
        {"who": who, "orders": orders},
        name=name,
        data={
            "assignments": AT,
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": as_of,
            **data,
        },
        design=DESIGN,
        metrics=metrics,
    )
    m = rl.reduce(rl.plan(path)).roll_up()
    return {c: (int(m.n[0, m.pair(c)]), m.mean(0, c)) for c in m.columns}


LATER = ("u3", START + DAY, 1.0)  # so that no plan stops for want of an event


@pytest.mark.parametrize(
    ("moment", "counts"),
    [
        (START - SECOND, False),
        (START, False),
        (START + SECOND, True),
        (START + 30 * DAY, True),
        (START + 30 * DAY + dt.timedelta(microseconds=1), False),
        (START + 30 * DAY + SECOND, False),
    ],
)
def test_a_window_is_open_at_exposure_and_closed_at_its_end(write, moment, counts):
    found = means(write, [("u0", moment), LATER], [BACK])
    assert found["back"] == (4, 0.5 if counts else 0.25)


@pytest.mark.parametrize(
    ("moment", "counts"),
    [
        (START - 90 * DAY, False),
        (START - 90 * DAY + SECOND, True),
        (START, True),
        (START + SECOND, False),
    ],
)
def test_a_pre_period_ends_with_the_exposure(write, moment, counts):
    count = {"name": "orders_7d", "kind": "count", "event": "orders", "within": "7d", "pre": "90d"}
    found = means(write, [("u0", moment), LATER], [count])
    assert found["orders_7d pre"] == (4, 0.25 if counts else 0.0)


def test_every_kind_in_one_pass(write):
    events = [
        ("u0", START + DAY, 10),
        ("u0", START + 2 * DAY, 30),
        ("u1", START + 20 * DAY, 5),
        ("u1", START - DAY, 100),
        ("stranger", START + DAY, 999),
    ]
    window = {"event": "orders", "within": "30d"}
    metrics = [
        {"name": "back", "kind": "retention", **window},
        {"name": "orders", "kind": "count", **window},
        {"name": "revenue", "kind": "sum", "value": "value", "pre": "7d", **window},
        {"name": "soon", "kind": "sum", "value": "value", "event": "orders", "within": "36h"},
        {"name": "basket", "kind": "ratio", "numerator": "revenue", "denominator": "orders_30d"},
    ]
    found = means(write, events, metrics)
    assert found["back"] == (4, 0.5)
    assert found["orders"] == (4, 0.75)
    assert found["orders_30d"] == (4, 0.75)
    assert found["revenue"] == (4, 45 / 4)
    assert found["revenue pre"] == (4, 25.0)
    assert found["soon"] == (4, 2.5)


def test_immature_units_are_in_neither_numerator_nor_denominator(write):
    """u1's window ends one second after the last complete day; its order does not count."""
    end = dt.datetime(2026, 2, 10)
    at = [end - 30 * DAY, end - 30 * DAY + SECOND, START, START]
    events = [("u0", at[0] + DAY), ("u1", at[1] + DAY), LATER]
    found = means(write, events, [BACK], at=at, as_of=dt.date(2026, 2, 9))
    assert found["back"] == (3, pytest.approx(2 / 3))


def test_each_window_has_its_own_maturity(write):
    at = [START, START, START + 20 * DAY, START + 20 * DAY]
    metrics = [BACK, {**BACK, "name": "week", "within": "7d"}]
    found = means(write, [("u0", START + DAY)], metrics, at=at, as_of=dt.date(2026, 2, 1))
    assert found["back"][0] == 2
    assert found["week"][0] == 4


def test_a_ratio_of_two_windows_uses_units_that_have_had_both(write):
    at = [START, START, START + 20 * DAY, START + 20 * DAY]
    events = [("u0", START + DAY, 8.0), ("u2", START + 21 * DAY, 100.0)]
    metrics = [
        {"name": "revenue", "kind": "sum", "event": "orders", "value": "value", "within": "7d"},
        {"name": "r", "kind": "ratio", "numerator": "revenue", "denominator": "orders_30d"},
    ]
    found = means(write, events, metrics, at=at, as_of=dt.date(2026, 2, 1))
    assert found["revenue"] == (4, 27.0)
    assert found["r numerator"] == (2, 4.0)
    assert found["r denominator"] == (2, 0.5)


def test_units_exposed_after_the_last_day_are_left_out(write):
    at = [START, START, dt.datetime(2026, 3, 2), dt.datetime(2026, 3, 5)]
    found = means(write, [("u0", START + DAY)], [BACK], at=at)
    assert found["back"] == (2, 0.5)


@pytest.mark.parametrize(
    ("missing", "expected"), [("drop", (3, pytest.approx(5 / 3))), ("zero", (4, 2.0))]
)
def test_an_event_without_value_follows_the_missing_rule(write, missing, expected):
    """u0's total is unknown, or without the unknown part; a missing value elsewhere is no fault."""
    events = [("u0", START + DAY, 3.0), ("u0", START + 2 * DAY, None), ("u1", START + DAY, 5.0)]
    events.append(("u2", START - DAY, None))
    revenue = {"name": "revenue", "kind": "sum", "event": "orders", "value": "value"}
    found = means(write, events, [{**revenue, "within": "30d", "missing": missing}])
    assert found["revenue"] == expected


def test_times_without_a_zone_are_read_in_the_files_zone(write):
    """Exposed 20:00 on 31 January; 30 days end 20:00 on 2 March, by the clock of the file."""
    at = [dt.datetime(2026, 1, 31, 20)] * 4
    zone = {"timezone": "Asia/Shanghai", "at": at}
    events = [("u0", at[0] + DAY)]
    assert means(write, events, [BACK], as_of=dt.date(2026, 3, 2), **zone)["back"] == (4, 0.25)
    with pytest.raises(PlanError, match="no unit has had its 30d by 2026-03-01"):
        means(write, events, [BACK], as_of=dt.date(2026, 3, 1), **zone)


def test_a_window_is_elapsed_time_over_a_clock_change(write):
    """Berlin's clocks go forward on 29 March 2026: 24 h after 12:00 is 13:00."""
    noon = dt.datetime(2026, 3, 28, 12)
    day = {**BACK, "name": "day", "within": "24h"}
    zone = {"timezone": "Europe/Berlin", "at": [noon] * 4, "as_of": dt.date(2026, 4, 1)}
    inside = means(write, [("u0", dt.datetime(2026, 3, 29, 13))], [day], name="in", **zone)
    assert inside["day"] == (4, 0.25)
    late = [("u0", dt.datetime(2026, 3, 29, 13, 0, 1)), ("u1", noon + SECOND)]
    assert means(write, late, [day], name="out", **zone)["day"] == (4, 0.25)


def test_aware_times_are_absolute(write):
    zone = dt.timezone(dt.timedelta(hours=8))
    at = [START.replace(tzinfo=zone)] * 4
    events = [("u0", at[0] + 30 * DAY), ("u1", at[0] + 30 * DAY + SECOND), ("u3", at[0] + DAY)]
    assert means(write, events, [BACK], at=at, timezone="America/New_York")["back"] == (4, 0.5)


def test_dates_are_midnights(write):
    at = [dt.date(2026, 1, 1)] * 4
    events = [
        ("u0", dt.date(2026, 1, 1)),
        ("u1", dt.date(2026, 1, 2)),
        ("u2", dt.date(2026, 1, 31)),
    ]
    assert means(write, events, [BACK], at=at)["back"] == (4, 0.5)


def test_end_of_a_day_in_its_zone():
    utc = dt.datetime(2026, 1, 16, tzinfo=dt.UTC).timestamp() * 1e6
    assert end_of(dt.date(2026, 1, 15), "UTC") == utc
    assert end_of(dt.date(2026, 1, 15), "Asia/Shanghai") == utc - 8 * 3600e6
