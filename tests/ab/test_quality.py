"""Units that do not count: told as immature or as without a value, of the units analysed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import retention_lab as rl

START = dt.datetime(2026, 1, 1, 12)
DAY = dt.timedelta(days=1)
REVENUE = {"name": "revenue", "kind": "sum", "event": "orders", "value": "value", "within": "14d",
           "role": "primary", "missing": "drop"}  # fmt: skip
RATIO = {"name": "per_order", "kind": "ratio", "numerator": "revenue", "denominator": "orders_7d"}


def shop(n=4000, without_arm=400, first=20):
    """A tenth has no arm, a quarter enters in the last 14 days, a fifth has an unknown order."""
    rng = np.random.default_rng(0)
    late = np.arange(n) % 4 == 0
    at = [START + (45 if is_late else int(d)) * DAY for is_late, d in
          zip(late, rng.integers(0, first, n), strict=True)]  # fmt: skip
    arm = ["ab"[i // 20 % 2] for i in range(n)]
    for i in range(without_arm):
        arm[10 * i] = None
    unknown = np.arange(n) % 5 == 0
    who = {"unit": np.arange(n), "arm": arm, "at": at}
    orders = {"unit": np.arange(n), "at": [t + DAY for t in at],
              "value": [None if u else 10.0 + i % 7 for i, u in enumerate(unknown)]}  # fmt: skip
    known_arm = np.array([a is not None for a in arm])
    return who, orders, int((known_arm & late).sum()), int((known_arm & ~late & unknown).sum())


def spec(**design):
    return {
        "data": {
            "assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": dt.date(2026, 2, 20),
        },
        "design": {"unit": "unit", "arm": "arm", "control": "a", **design},
        "metrics": [REVENUE, RATIO],
    }


def told(results, metric="revenue"):
    rows = results.where(analysis="quality", metric=metric, estimand=("immature", "missing")).rows
    return {r.estimand: r.estimate for r in rows}


@pytest.mark.parametrize("metric", ["revenue", "per_order"])
def test_units_without_an_arm_are_neither_immature_nor_missing(write, metric):
    who, orders, immature, missing = shop()
    plan = rl.plan(write({"who": who, "orders": orders}, **spec()))
    results = rl.analyse(plan, rl.reduce(plan))
    assert told(results, metric) == {"immature": immature, "missing": missing}


def test_saved_reductions_tell_the_same(write, tmp_path):
    who, orders, immature, missing = shop()
    said = spec()
    plan = rl.plan(write({"who": who, "orders": orders}, **said))
    rl.reduce(plan).save(tmp_path / "m.parquet")
    data = {"moments": "m.parquet", "as_of": said["data"]["as_of"]}
    again = rl.plan(write(None, name="again", **{**said, "data": data}))
    results = rl.analyse(again, rl.reduce(again))
    for metric in ("revenue", "per_order"):
        assert told(results, metric) == {"immature": immature, "missing": missing}


def test_units_of_a_burn_in_are_neither(write):
    who, orders, *_ = shop(without_arm=0, first=40)
    block = np.array([(t - dt.datetime(1970, 1, 1)) // (2 * DAY) for t in who["at"]])
    who["arm"] = np.array(["a", "b"])[block % 2]
    burnt = np.array([(t - dt.datetime(1970, 1, 1)) % (2 * DAY) < 0.7 * DAY for t in who["at"]])
    late = np.array([t + 14 * DAY > dt.datetime(2026, 2, 21) for t in who["at"]])
    unknown = np.array([v is None for v in orders["value"]])
    assert 0 < burnt.sum() < len(burnt)
    kept = spec(switchback={"every": "2d", "burn_in": "17h"})
    plan = rl.plan(write({"who": who, "orders": orders}, **kept))
    results = rl.analyse(plan, rl.reduce(plan))
    immature = int((late & ~burnt).sum())
    found = {"immature": immature, "missing": int((unknown & ~late & ~burnt).sum())}
    assert told(results) == {k: n for k, n in found.items() if n}
