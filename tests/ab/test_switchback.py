"""Blocks of time that take turns: which units count, in which block, and with which error."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.errors import PlanError

START = dt.datetime(2026, 3, 1)
DESIGN = {"unit": "id", "arm": "arm", "control": "off",
          "switchback": {"every": "6h", "by": "region", "burn_in": "1h"}}  # fmt: skip


def hours(seed=0, days=10, effect=1.0):
    """An order every ten minutes in each of two regions; the arm changes by coin every six hours.

    In the first hour of a block the arm has no effect yet; whole blocks share a shock.
    """
    rng = np.random.default_rng(seed)
    rows = {"id": [], "arm": [], "region": [], "at": [], "value": []}
    for region in ("north", "south"):
        for block in range(days * 4):
            arm, shock = rng.choice(["off", "on"]), rng.normal(scale=0.5)
            for i in range(36):
                rows["id"].append(len(rows["id"]))
                rows["arm"].append(arm)
                rows["region"].append(region)
                rows["at"].append(START + dt.timedelta(hours=6 * block, minutes=10 * i))
                works = effect * (arm == "on") * (i >= 6)
                rows["value"].append(10 + works + shock + rng.normal())
    return rows


def plan_of(write, rows, design=DESIGN, **spec):
    data = {"assignments": {"table": "orders.parquet", "at": "at"}, **spec}
    path = write({"orders": rows}, data=data, design=design,
                 metrics=[{"name": "value", "kind": "mean"}])  # fmt: skip
    return rl.plan(path)


def test_blocks_are_the_units_and_the_burn_in_is_left_out(write):
    rows = hours()
    plan = plan_of(write, rows)
    results = rl.analyse(plan, rl.reduce(plan))
    row = results.one(estimand="mean_difference")
    kept = np.array(
        [(t - START) % dt.timedelta(hours=6) >= dt.timedelta(hours=1) for t in rows["at"]]
    )
    arm, value = np.array(rows["arm"]), np.array(rows["value"])
    want = value[kept & (arm == "on")].mean() - value[kept & (arm == "off")].mean()
    assert row.estimate == pytest.approx(want, rel=1e-9)
    assert row.n + row.n_baseline == kept.sum()
    assert any("80 blocks of time" in c.text for c in plan.checks)
    assert any("units of the burn-in are left out" in c.text for c in plan.checks)
    # Every block has 30 units and a shock of its own: the error is that of the blocks' means.
    block = np.arange(len(value)) // 36
    means = np.array([value[kept & (block == b)].mean() for b in range(80)])
    on = arm[::36] == "on"
    error = np.sqrt(means[on].var(ddof=1) / on.sum() + means[~on].var(ddof=1) / (~on).sum())
    assert row.std_error == pytest.approx(error, rel=1e-9)


def test_blocks_are_wall_clock_time_of_the_file(write):
    rows = hours(days=4)
    shifted = {**rows, "at": [t.replace(tzinfo=dt.UTC) - dt.timedelta(hours=8) for t in rows["at"]]}
    found = []
    for table, zone in ((rows, "UTC"), (shifted, "Asia/Shanghai")):
        plan = plan_of(write, table, timezone=zone)
        found.append(rl.analyse(plan, rl.reduce(plan)).one(estimand="mean_difference"))
    first, second = found
    assert second.estimate == pytest.approx(first.estimate, rel=1e-12)


def test_a_block_in_two_arms_is_a_plan_error(write):
    rows = hours(days=2)
    rows["arm"][20] = "on" if rows["arm"][20] == "off" else "off"
    with pytest.raises(PlanError, match="1 of 16 blocks of time are in two arms"):
        plan_of(write, rows)
