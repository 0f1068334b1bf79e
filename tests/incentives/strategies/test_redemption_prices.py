"""What a redemption costs in each arm, where a dose is its price: ledger, profit and remarks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import retention_lab as rl

N = 900
DOSES = {"none": 0, "c2": 2, "c5": 5}


def shop(seed=3):
    """Customers who collect something also without a voucher, and more of them with one."""
    rng = np.random.default_rng(seed)
    arm = np.array(list(DOSES))[rng.integers(0, 3, N)]
    dose = np.array([DOSES[a] for a in arm], float)
    redeemed = rng.random(N) < 0.3 + 0.1 * dose
    spent = np.where(redeemed, np.round(rng.gamma(2.0, 10.0, N), 2), 0.0)
    return {"id": np.arange(N), "arm": arm, "redeemed": redeemed.astype(int), "spent": spent}


def asked(write, columns, **incentive):
    said = {"revenue": "spent", "margin": 0.5, "redeemed": "redeemed", "dose": DOSES,
            "cost": {"contact": 0.25, "redemption": "dose"}}  # fmt: skip
    path = write(
        {"units": columns},
        data={"units": "units.parquet"},
        design={"unit": "id", "arm": "arm", "control": "none"},
        metrics=[{"name": "spent", "kind": "mean", "role": "primary"}],
        incentive={**said, **incentive},
    )
    plan = rl.plan(path)
    return plan, rl.analyse_incentive(plan, rl.reduce_incentive(plan))


def profits(columns, arm, price, contact):
    """Every customer's own profit: the ledger is the difference of its means."""
    mine = columns["arm"] == arm
    return 0.5 * columns["spent"][mine] - price * columns["redeemed"][mine] - contact


@pytest.mark.parametrize("strategy", ["randomised", "dose", "encouragement"])
def test_a_control_without_a_voucher_costs_nothing(write, strategy):
    d = shop()
    _, results = asked(write, d, strategy=strategy)
    base = profits(d, "none", 0.0, 0.0)
    for arm, price in (("c2", 2.0), ("c5", 5.0)):
        own = profits(d, arm, price, 0.25)
        row = results.one(estimand="incremental_profit", arm=arm)
        welch = np.sqrt(own.var(ddof=1) / len(own) + base.var(ddof=1) / len(base))
        assert row.estimate == pytest.approx(own.mean() - base.mean(), rel=1e-9)
        assert row.std_error == pytest.approx(welch, rel=1e-9)
        half = stats.norm.isf(0.025) * welch
        assert row.ci_high == pytest.approx(row.estimate + half, rel=1e-9)
        rate = d["redeemed"][d["arm"] == arm].mean()
        cost = results.one(estimand="incremental_cost", arm=arm)
        assert cost.estimate == pytest.approx(price * rate + 0.25, rel=1e-9)
        assert cost.note is None
        assert results.one(estimand="control_redemption_rate", arm=arm).estimate > 0.2


def test_the_ledger_and_the_profit_by_dose_are_one(write):
    _, results = asked(write, shop(), strategy="dose")
    profit = {r.arm: r.estimate for r in results.where(estimand="profit_at_dose").rows}
    for arm in ("c2", "c5"):
        row = results.one(estimand="incremental_profit", arm=arm)
        assert row.estimate == pytest.approx(profit[arm] - profit["none"], rel=1e-9)


def test_a_control_with_a_voucher_of_its_own_pays_its_price(write):
    d = shop()
    _, results = asked(write, d, strategy="randomised", dose={**DOSES, "none": 1})
    own, base = profits(d, "c5", 5.0, 0.25), profits(d, "none", 1.0, 0.0)
    row = results.one(estimand="incremental_profit", arm="c5")
    assert row.estimate == pytest.approx(own.mean() - base.mean(), rel=1e-9)
    welch = np.sqrt(own.var(ddof=1) / len(own) + base.var(ddof=1) / len(base))
    assert row.std_error == pytest.approx(welch, rel=1e-9)
    assert results.one(estimand="incremental_cost", arm="c5").note.startswith("control_redeems")


def test_a_control_without_a_value_redeemed_what_the_arm_was_given(write):
    """As with a price that is a number: its redemptions can only be leaks of the arm's."""
    d = shop()
    doses = {"c2": 2, "c5": 5}
    _, leaked = asked(write, d, strategy="randomised", dose=doses)
    for arm, price in doses.items():
        own, base = profits(d, arm, price, 0.25), profits(d, "none", price, 0.0)
        row = leaked.one(estimand="incremental_profit", arm=arm)
        assert row.estimate == pytest.approx(own.mean() - base.mean(), rel=1e-9)


def test_customers_alike_pay_the_control_its_own_price(write):
    d = shop()
    d["x"] = np.random.default_rng(1).normal(size=N)
    said = {"strategy": "observational", "covariates": ["x"]}
    _, results = asked(write, d, **said)
    rate = d["redeemed"][d["arm"] == "c5"].mean()
    row = results.one(estimand="cost_redemption", arm="c5")
    assert row.estimate == pytest.approx(5 * rate, rel=1e-9)
    assert row.note is None


def test_the_check_says_that_a_cost_is_taken_off_only_where_it_is(write):
    def remark(**said):
        plan, _ = asked(write, shop(), strategy="randomised", **said)
        return next(c.text for c in plan.checks if c.code == "control_redeems")

    taken = "what theirs cost is taken off"
    assert taken not in remark()
    assert taken in remark(cost={"redemption": 2})
    assert taken in remark(dose={"c2": 2, "c5": 5})
    assert taken not in remark(cost={"contact": 2})
