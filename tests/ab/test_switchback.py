"""Blocks of time that take turns: which units count, in which block, and with which error."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from zoneinfo import ZoneInfo

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.errors import DataError, PlanError, SpecError

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


def weeks(first, count=10):
    """An order an hour for `count` weeks from `first`; the arm changes every week."""
    at = [first + dt.timedelta(hours=i) for i in range(168 * count)]
    return {"id": range(len(at)), "at": at, "arm": ["on" if i // 168 % 2 else "off" for i in
            range(len(at))], "value": np.random.default_rng(0).normal(size=len(at))}  # fmt: skip


def blocks(plan):
    (text,) = [c.text for c in plan.checks if c.code == "clusters"]
    return text


def test_blocks_begin_where_the_file_says(write):
    """Weeks from Monday, 6 o'clock; without that they begin on Thursdays at midnight."""
    rows = weeks(dt.datetime(2026, 3, 2, 6))
    design = {"unit": "id", "arm": "arm", "control": "off", "switchback": {"every": "1w"}}
    with pytest.raises(PlanError, match="9 of 11 blocks of time are in two arms"):
        plan_of(write, rows, design)
    for begin in ("2026-03-02 06:00", "2026-03-30 06:00:00", "2025-12-29 06:00"):
        design["switchback"] = {"every": "1w", "from": begin, "burn_in": "1d"}
        plan = plan_of(write, rows, design)
        assert blocks(plan).startswith("10 blocks of time")
        assert rl.reduce(plan).units == 10 * 6 * 24
    thursday = weeks(dt.datetime(2026, 3, 5))
    del design["switchback"]["from"]
    assert blocks(plan_of(write, thursday, design)).startswith("10 blocks of time")
    design["switchback"]["from"] = "2026-03-02"
    monday = weeks(dt.datetime(2026, 3, 2))
    assert blocks(plan_of(write, monday, design)).startswith("10 blocks of time")


def test_the_start_of_blocks_has_no_zone(write):
    design = DESIGN | {"switchback": {"every": "1w", "from": "2026-03-02T06:00:00+01:00"}}
    with pytest.raises(SpecError, match="a time without a zone"):
        plan_of(write, hours(days=1), design)


def test_reductions_of_other_blocks_do_not_fit(write, tmp_path):
    rows = weeks(dt.datetime(2026, 3, 2))
    design = {"unit": "id", "arm": "arm", "control": "off"}
    switched = {"every": "1w", "from": "2026-03-02"}
    rl.reduce(plan_of(write, rows, design | {"switchback": switched})).save(tmp_path / "m.parquet")
    metrics = [{"name": "value", "kind": "mean"}]
    for begin, fits in (("2026-03-02", True), ("2026-03-03", False)):
        later = design | {"switchback": switched | {"from": begin}}
        path = write(None, name="again", data={"moments": "m.parquet"}, design=later,
                     metrics=metrics)  # fmt: skip
        if fits:
            assert rl.reduce(rl.plan(path)).units == 1680
        else:
            with pytest.raises(DataError, match="do not fit the file: randomised"):
                rl.reduce(rl.plan(path))


@pytest.mark.parametrize(("night", "units"), [((2026, 3, 29), 5), ((2026, 10, 25), 7)])
def test_a_block_over_a_clock_change_is_said_to_be_of_another_length(write, night, units):
    """Berlin: the block from 0 to 6 o'clock has 5 hours in spring and 7 in autumn."""
    zone = ZoneInfo("Europe/Berlin")
    midnight = dt.datetime(*night, tzinfo=zone).astimezone(dt.UTC)
    at = [midnight + dt.timedelta(hours=i) for i in range(-48, 72)]
    local = [t.astimezone(zone) for t in at]
    arm = ["on" if (t.toordinal() * 4 + t.hour // 6) % 2 else "off" for t in local]
    rows = {"id": range(len(at)), "at": at, "arm": arm, "value": [i % 7 for i in range(len(at))]}
    design = {"unit": "id", "arm": "arm", "control": "off", "switchback": {"every": "6h"}}
    plan = plan_of(write, rows, design, timezone="Europe/Berlin")
    wall = Counter((t.date(), t.hour // 6) for t in local)
    assert wall[dt.date(*night), 0] == units
    assert sorted(rl.reduce(plan).size) == sorted(wall.values())
    day = dt.date(*night)
    assert [c.text for c in plan.checks if c.code == "clock_change"] == [
        f"the clocks changed on {day}: the blocks then are that much longer or shorter"
    ]
    calm = {k: v[:40] if k != "id" else range(40) for k, v in rows.items()}
    plan = plan_of(write, calm, design, timezone="Europe/Berlin")
    assert not [c for c in plan.checks if c.code == "clock_change"]
