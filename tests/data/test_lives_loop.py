"""Life tables of random rows: against a plain loop over customers, whole and merged from parts."""

from __future__ import annotations

import collections
import datetime as dt
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from lives_sample import AS_OF, ORDERS, REFUNDS, counter, plan_of

from retention_lab.data.lifetable import merge
from retention_lab.data.lives import ask, lives

START = dt.datetime(2026, 2, 20, tzinfo=dt.UTC)
SPAN = 40  # days: with the change to summer time in New York, on 8 March


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
