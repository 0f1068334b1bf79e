"""Who redeemed, by arm: what the plan remarks before anything runs, and where it says nothing."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.validate import REMARKS

DAY = dt.datetime(2026, 1, 10)
DESIGN = {"unit": "id", "arm": "got", "control": "no"}
SPENT = {"name": "spent", "kind": "sum", "event": "orders", "value": "value", "within": "30d",
         "role": "primary"}  # fmt: skip
BACK = {"name": "back", "kind": "retention", "event": "orders", "within": "60d"}
LEDGER = {"revenue": "spent", "margin": 0.3, "cost": {"contact": 0.1, "redemption": 2}}
CODES = ("nobody_redeems", "control_redeems", "everybody_redeems")
N = 90


def arms() -> np.ndarray:
    return np.array(["no", "a", "b"])[np.arange(N) % 3]


def planned(write, used, *, strategy="encouragement", metrics=(SPENT,), arm=None, **more):
    """The plan of a coupon, where the units of `used` are those who redeemed."""
    used = np.asarray(used)
    at = [DAY + dt.timedelta(hours=i) for i in range(N)]
    tables = {
        "who": {"id": np.arange(N), "got": arms() if arm is None else arm, "at": at, "used": used,
                "at_once": np.arange(N) % 7},
        "orders": {"id": np.arange(N), "at": [a + dt.timedelta(days=2) for a in at],
                   "value": np.full(N, 9.0)},
    }  # fmt: skip
    kinds = {"orders": {"table": "orders.parquet", "at": "at"}}
    for name, table in more.pop("events", {}).items():
        tables[name] = table
        kinds[name] = {"table": f"{name}.parquet", "at": "at"}
    data = {"assignments": {"table": "who.parquet", "at": "at"}, "events": kinds,
            "as_of": more.pop("as_of", "2026-04-01")}  # fmt: skip
    incentive = {"strategy": strategy, "redeemed": "used", **LEDGER, **more.pop("incentive", {})}
    incentive = {k: v for k, v in incentive.items() if v is not None}
    path = write(tables, data=data, design={**DESIGN, **more.pop("design", {})},
                 metrics=list(metrics), incentive=incentive,
                 **more)  # fmt: skip
    return rl.plan(path)


def said(write, used, **more):
    """The remarks about redemptions, by code; none of them is a fault."""
    plan = planned(write, used, **more)
    assert all(c.ok for c in plan.checks if c.code in CODES)
    return {c.code: c.text for c in plan.checks if c.code in CODES}


def test_remarks_are_shown_as_such():
    assert set(CODES) <= REMARKS


def test_nothing_is_said_where_some_of_each_arm_redeem_and_nobody_of_the_control(write):
    used = (arms() != "no") & (np.arange(N) % 2 == 0)
    assert said(write, used) == {}
    assert said(write, used, strategy="randomised") == {}


def test_nobody_redeemed(write):
    used = (arms() == "a") & (np.arange(N) % 2 == 0)
    asked = "is that where redemptions are kept?"
    assert said(write, used) == {
        "nobody_redeems": f"nobody in arm 'b' redeemed ('used'): the effect of redeeming is not "
        f"known; {asked}"
    }
    assert said(write, np.zeros(N), strategy="randomised") == {
        "nobody_redeems": f"nobody in arms 'a', 'b' redeemed ('used'): {asked}"
    }


def test_the_control_redeemed_as_well(write):
    used = np.arange(N) % 2 == 0
    taken = "what theirs cost is taken off the cost of the arms"
    told = "15 of 30 units in the control, 'no', redeemed ('used')"
    effect = "the effect is on those who redeem only because of the offer"
    assert said(write, used) == {"control_redeems": f"{told}: {effect}, and {taken}"}
    assert said(write, used, strategy="randomised") == {"control_redeems": f"{told}: {taken}"}
    bare = {"margin": None, "revenue": None, "cost": None}
    assert said(write, used, incentive=bare) == {"control_redeems": f"{told}: {effect}"}


def test_what_is_said_to_be_done_about_the_control_is_done(write):
    used = np.where(arms() == "no", np.arange(N) % 6 == 0, np.arange(N) % 2 == 0).astype(float)
    plan = planned(write, used)
    found = rl.analyse_incentive(plan, rl.reduce_incentive(plan)).where(arm="a", metric="spent")
    gap = used[arms() == "a"].mean() - used[arms() == "no"].mean()
    (first,) = found.where(estimand="first_stage").rows
    (cost,) = found.where(estimand="cost_redemption").rows
    assert first.estimate == pytest.approx(gap)
    assert cost.estimate == pytest.approx(2 * gap)
    assert not found.where(estimand="full_uptake_bound").rows


def test_everybody_redeemed(write):
    used = arms() != "no"
    asked = "is that who used the incentive, or who was given it?"
    told = "everybody in arms 'a', 'b' redeemed ('used')"
    assert said(write, used) == {
        "everybody_redeems": f"{told}: the effect of redeeming is that of the arm; {asked}"
    }
    assert said(write, used, strategy="randomised") == {"everybody_redeems": f"{told}: {asked}"}
    assert said(write, np.ones(N))["everybody_redeems"] == f"{told}: {asked}"


def redemptions(who, after) -> dict:
    """Events `used` of the units `who`, `after` days after each one's exposure."""
    at = [DAY + dt.timedelta(hours=int(i), days=after) for i in who]
    return {"used": {"id": np.asarray(who), "at": at}}


def test_redemptions_are_events_of_the_longest_window(write):
    who = np.flatnonzero((arms() != "no") & (np.arange(N) % 2 == 0))
    both = {"metrics": (SPENT, BACK), "events": redemptions(who, 40)}
    assert said(write, np.zeros(N), **both) == {}
    late = {"metrics": (SPENT, BACK), "events": redemptions(who, 70)}
    assert said(write, np.zeros(N), **late)["nobody_redeems"].startswith(
        "nobody in arms 'a', 'b' redeemed ('used', within 60d): "
    )
    before = {"metrics": (SPENT,), "events": redemptions(who, -1)}
    before["events"]["used"]["at"][0] = DAY + dt.timedelta(days=90)  # or the table would be silent
    assert "nobody_redeems" in said(write, np.zeros(N), **before)


def test_two_redemptions_of_a_unit_are_one_unit(write):
    everyone = np.flatnonzero(arms() != "b")
    told = said(write, np.zeros(N), events=redemptions([*everyone, *everyone], 3))
    assert told["control_redeems"].startswith("30 of 30 units in the control")
    assert told["everybody_redeems"].startswith("everybody in arm 'a'")
    assert told["nobody_redeems"].startswith("nobody in arm 'b'")


def test_units_count_once_their_window_has_elapsed(write):
    used = np.where(arms() == "no", np.arange(N) < 60, np.arange(N) % 2 == 0)
    # Exposed on 10 January and up to 90 hours later: by the end of 11 February 2.5 days had 30.
    told = said(write, used, as_of="2026-02-11", privacy={"min_cell": 1})
    assert told["control_redeems"].startswith("20 of 25 units in the control")


@pytest.mark.parametrize("small", ["no", "a"])
def test_nothing_is_said_of_an_arm_too_small_to_show(write, small):
    arm = np.array(["no", "a"])[(np.arange(N) % 2)]
    arm[np.flatnonzero(arm == small)[12:]] = "a" if small == "no" else "no"
    used = arm == "a" if small == "no" else np.zeros(N)
    assert said(write, used, arm=arm) == {}
    assert set(said(write, used, arm=arm, privacy={"min_cell": 5})) in (
        {"everybody_redeems"}, {"nobody_redeems"},
    )  # fmt: skip


def test_other_strategies_and_files_without_redemptions_say_nothing(write):
    used = np.arange(N) % 2 == 0
    dose = {"dose": {"no": 0, "a": 1, "b": 2}}
    assert said(write, used, strategy="dose", incentive=dose) == {}
    alike = {"covariates": ["at_once"]}
    assert said(write, used, strategy="observational", incentive=alike) == {}
    none = {"redeemed": None, "cost": {"contact": 1}}
    assert said(write, used, strategy="randomised", incentive=none) == {}


def test_units_of_a_burn_in_do_not_count(write):
    hour = np.arange(N)
    arm = np.where(hour // 4 % 2, "a", "no")  # blocks of four hours
    used = np.where(arm == "a", hour % 2 == 1, hour % 4 == 0)  # of the control the first hour only
    blocks = {"design": {"switchback": {"every": "4h", "burn_in": "1h"}}, "arm": arm}
    assert said(write, used, **blocks) == {}
    whole = {**blocks, "design": {"switchback": {"every": "4h"}}}
    assert said(write, used, **whole)["control_redeems"].startswith("12 of 46 units in the control")


@pytest.mark.parametrize("strategy", ["encouragement", "randomised"])
def test_saved_reductions_say_the_same_as_their_rows(write, tmp_path, strategy):
    used = np.where(arms() == "a", np.arange(N) % 2 == 0, (arms() == "no") & (np.arange(N) < 9))
    plan = planned(write, used, strategy=strategy)
    whole = {c.code: c.text for c in plan.checks if c.code in CODES}
    assert set(whole) == {"nobody_redeems", "control_redeems"}
    rl.reduce(plan).save(tmp_path / "saved.parquet")
    incentive = {"strategy": strategy, "redeemed": "used", **LEDGER}
    saved = {"as_of": "2026-04-01", "moments": "saved.parquet"}
    again = rl.plan(
        write(name="again", data=saved, design=DESIGN, metrics=[SPENT], incentive=incentive)
    )
    assert {c.code: c.text for c in again.checks if c.code in CODES} == whole
