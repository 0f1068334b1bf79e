"""Turns of a switchback: drawn by block, drawn more rarely, and tied to the hour of the day."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.experiment.schedule import by_hour, rarely_switched

START = dt.datetime(2026, 3, 1)


def turns(arms, regions=1):
    return {str(r): dict(enumerate(arms)) for r in range(regions)}


def coins(rng, blocks, share=0.5):
    return np.where(rng.random(blocks) < share, "b", "a").tolist()


@pytest.mark.parametrize(("blocks", "share"), [(28, 0.5), (56, 0.5), (600, 0.5), (168, 0.1)])
def test_draws_by_block_are_rarely_called_anything(blocks, share):
    rng, long, hours = np.random.default_rng(1), 0, 0
    for _ in range(3000):
        found = {str(r): dict(enumerate(coins(rng, blocks, share))) for r in range(2)}
        long += rarely_switched(found) is not None
        hours += by_hour(found, 6)
    assert max(long, hours) <= 12  # 3 are expected at most


@pytest.mark.parametrize("every", [1, 6])
def test_arms_drawn_by_day_in_shorter_blocks_are_found(every):
    days = coins(np.random.default_rng(2), 28)
    found = rarely_switched(turns(np.repeat(days, 24 // every).tolist()))
    assert found == pytest.approx(2 * 24 // every, rel=0.4)


def test_one_change_and_regions_that_keep_their_arm_are_found():
    assert rarely_switched(turns(["a"] * 14 + ["b"] * 14)) == 14.0
    kept = {r: dict.fromkeys(range(14), arm) for r, arm in zip("nesw", "abab", strict=True)}
    assert rarely_switched(kept) == 14.0


def test_turns_and_gaps_are_not_long_runs():
    assert rarely_switched(turns(list("ab") * 20)) is None
    far = {"": {10 * i: "a" if i < 20 else "b" for i in range(40)}}  # no neighbours
    assert rarely_switched(far) is None
    assert rarely_switched(turns(["a"] * 40)) is None
    assert rarely_switched({}) is None


@pytest.mark.parametrize(("every", "tied"), [(6, True), (8, False), (12, True)])
def test_turns_by_the_clock_follow_the_hours(every, tied):
    """Three blocks a day that take turns change places every day; two or four do not."""
    assert by_hour(turns((list("ab") * 60)[: 28 * 24 // every]), every) is tied
    shifted = [a for day in range(28) for a in ("abab" if day % 2 else "baba")]
    assert not by_hour(turns(shifted), 6)


@pytest.mark.parametrize(
    ("every", "schedule", "code"),
    [("12h", "turns", "fixed_hours"), ("1h", "days", "rarely_switched"), ("12h", "coins", None)],
)
def test_the_plan_says_so_and_no_number_comes_of_it(write, every, schedule, code):
    rng, half_days = np.random.default_rng(3), 60
    if schedule == "turns":
        arms = ["a", "b"] * (half_days // 2)
    elif schedule == "days":
        arms = np.repeat(coins(rng, half_days // 2), 2).tolist()
    else:
        arms = coins(rng, half_days)
    at = [START + dt.timedelta(hours=h) for h in range(12 * half_days) for _ in range(2)]
    rows = {
        "id": list(range(len(at))),
        "arm": [arms[(t - START) // dt.timedelta(hours=12)] for t in at],
        "at": at,
        "value": [10 + 2 * (t.hour < 12) + rng.normal() for t in at],
    }
    path = write(
        {"orders": rows},
        data={"assignments": {"table": "orders.parquet", "at": "at"}},
        design={"unit": "id", "arm": "arm", "control": "a", "switchback": {"every": every}},
        metrics=[{"name": "value", "kind": "mean", "role": "primary"}],
    )
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    row = results.one(estimand="mean_difference")
    if code is None:
        assert row.p_value is not None
        assert not plan.faults
    else:
        assert row.estimate is None
        assert row.note.startswith(code)
        assert any(c.code == code and not c.ok for c in plan.checks)
        assert rl.decide(plan, results).decision == "invalid"
