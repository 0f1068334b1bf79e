"""Customers in shares, reduced one after the other: the same look and tables as all at once."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from lives_sample import ORDERS, REFUNDS, at_day, counter, plan_of
from test_cohorts import assert_same
from test_lives_loop import random_rows

import retention_lab as rl
from retention_lab.data import passes
from retention_lab.data.lives import lives
from retention_lab.errors import PlanError

CUSTOMERS = 60
BOTH = {"orders": ORDERS | {"id": "number"}, "refunds": REFUNDS | {"where": "good"}}
HOME = {"data": {"units": "customers.parquet"}}
PROMOTION = {"name": "spring", "from": dt.date(2026, 3, 1), "to": dt.date(2026, 3, 9)}
STUDIES = {
    "late entry": {"survival": {"from": dt.date(2026, 3, 4), "by": ["place"]}},
    "competing": {"survival": {"competing": ["refunds"], "same_day": "event", "value": "value"}},
    "won or there before": {
        "survival": {"promotion": PROMOTION, "existing": dt.date(2026, 2, 25), "by": ["place"]}
    },
    "numbers": {"survival": {"covariates": ["value", {"column": "number", "bins": [2, 4]}]}},
    "a table of customers": {"survival": {"by": ["land", "good"]}, **HOME},
    "an origin of theirs": {
        "survival": {"origin": "joined", "same_day": "event", "existing": True},
        **HOME,
    },
}


@pytest.fixture
def tables():
    rng = np.random.default_rng(4)
    who = [f"c{i}" for i in range(CUSTOMERS + 5)]
    joined = [None if i % 9 == 0 else at_day(int(rng.integers(-9, 30))).date() for i in who_of(who)]
    land = [None if i % 7 == 0 else "ABC"[i % 3] for i in who_of(who)]
    customers = {"who": who, "joined": joined, "land": land}
    orders, refunds = random_rows(rng, 300, CUSTOMERS), random_rows(rng, 80, CUSTOMERS + 9)
    return {"orders": orders, "refunds": refunds, "customers": customers}


def who_of(who):
    return [int(w[1:]) for w in who]


def both_ways(monkeypatch, plan, at_once=1):
    """What `plan` makes of all customers at once, and in shares of `at_once`."""
    whole = plan()
    with monkeypatch.context() as patch:
        patch.setattr(passes, "CUSTOMERS", at_once)
        parts = plan()
    assert whole.cohort.passes == 1 < parts.cohort.passes
    assert len(passes.shares_of(parts)) == parts.cohort.passes
    return whole, parts


@pytest.mark.parametrize("name", STUDIES)
def test_shares_of_customers_add_up_to_the_whole(tmp_path, monkeypatch, tables, name):
    study = {"data": {"timezone": "America/New_York"}} | STUDIES[name]

    def plan():
        return plan_of(tmp_path, tables, events=BOTH, **study)

    whole, parts = both_ways(monkeypatch, plan, 15)
    assert dataclasses.replace(parts.cohort, passes=1) == whole.cohort
    assert said(parts) == said(whole)
    added, once = rl.reduce_cohorts(parts), rl.reduce_cohorts(whole)
    assert_same(added, once)
    assert added.life.notes == once.life.notes
    assert len(added.life.notes) > 2


def said(plan):
    """What was checked: the number of patterns is approximate, and exact where there are shares."""
    return [(c.code, c.ok, c.text) for c in plan.checks if c.code != "patterns"]


def test_arms_since_exposure_add_up_as_well(tmp_path, monkeypatch, tables):
    rng = np.random.default_rng(5)
    who = [f"c{i}" for i in range(CUSTOMERS)]
    arm = [None if i % 11 == 0 else "xy"[i % 2] for i in range(CUSTOMERS)]
    at = [at_day(int(d)) for d in rng.integers(-9, 12, CUSTOMERS)]
    tables["who"] = {"who": who, "arm": arm, "at": at}
    design = {"unit": "who", "arm": "arm", "control": "x"}
    survival = {"origin": "exposure", "unit": None, "existing": True, "competing": ["refunds"]}
    metric = {"name": "back", "kind": "retention", "event": "orders", "within": "7d"}
    data = {"assignments": {"table": "who.parquet", "at": "at"}}

    def plan():
        more = {"design": design, "metrics": [metric]}
        return plan_of(tmp_path, tables, events=BOTH, data=data, survival=survival, **more)

    whole, parts = both_ways(monkeypatch, plan, 9)
    assert said(parts) == said(whole)
    added, once = rl.reduce_cohorts(parts), rl.reduce_cohorts(whole)
    assert set(once.life.levels["arm"]) == {"x", "y"}
    assert_same(added, once)
    assert added.life.notes == once.life.notes


@pytest.mark.parametrize("kind", [pa.int16(), pa.float64()])
def test_an_id_of_another_type_is_in_the_share_of_its_equal(tmp_path, monkeypatch, kind):
    ids = list(range(50)) * 2
    orders = {"who": pa.array(ids), "at": [at_day(2 * (i >= 50 and i % 2)) for i in range(100)]}
    refunds = {"who": pa.array(ids[:50], kind), "at": [at_day(4)] * 50}

    def plan():
        tables = {"orders": orders, "refunds": refunds}
        events = {"orders": ORDERS, "refunds": REFUNDS}
        return plan_of(tmp_path, tables, events=events, survival={"competing": ["refunds"]})

    whole, parts = both_ways(monkeypatch, plan, 7)
    assert counter(lives(parts)) == counter(lives(whole))
    assert lives(whole).events == {"event": 25, "refunds": 25}


def test_many_events_make_shares_too_and_ids_that_are_converted_none(tmp_path, monkeypatch, tables):
    monkeypatch.setattr(passes, "EVENTS", 100)
    assert plan_of(tmp_path, tables).cohort.passes == 3
    monkeypatch.setattr(passes, "CUSTOMERS", 1)
    ids = [at_day(0), at_day(1)]
    zoned = pa.array(ids, pa.timestamp("us", "UTC"))
    odd = {"orders": {"who": ids, "at": [at_day(0)] * 2}}
    odd["refunds"] = {"who": zoned, "at": [at_day(2)] * 2}
    events, survival = {"orders": ORDERS, "refunds": REFUNDS}, {"competing": ["refunds"]}
    plan = plan_of(tmp_path, odd, events=events, survival=survival)
    assert passes.shares_of(plan) == [plan.source]


@pytest.mark.parametrize("customers", [1, 10_000])
def test_an_event_is_looked_for_in_every_share(tmp_path, monkeypatch, tables, customers):
    """Nobody in the first ones may have it, so the others are asked too."""
    monkeypatch.setattr(passes, "CUSTOMERS", customers)
    texts = [c.text for c in plan_of(tmp_path, tables).checks]
    assert not any("all are censored" in text for text in texts)
    alone = {"orders": {"who": ["a", "b", "c"], "at": [at_day(0)] * 3}}
    texts = [c.text for c in plan_of(tmp_path, alone).checks]
    assert any("all are censored" in text for text in texts)
    data, survival = HOME["data"], STUDIES["an origin of theirs"]["survival"]
    alone["orders"]["who"] = ["z"] * 3
    alone["customers"] = tables["customers"]
    with pytest.raises(PlanError, match="are the ids the right ones"):
        plan_of(tmp_path, alone, data=data, survival=survival)
