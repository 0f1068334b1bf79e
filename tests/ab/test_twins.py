"""Metrics of events adjusted for their pre-periods: against statsmodels on rows made by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

import retention_lab as rl

DAY = np.timedelta64(86400, "s")
START = np.datetime64("2026-03-01T00:00:00", "s")
N = 1200
WINDOW = {"event": "orders", "within": "14d", "pre": "30d"}
METRICS = [
    {"name": "money", "kind": "sum", "value": "amount", "role": "primary", "covariates": ["region"],
     "cap": {"quantile": 0.97}, **WINDOW},
    {"name": "times", "kind": "count", **WINDOW},
    {"name": "back", "kind": "retention", "covariates": ["times", "money"], **WINDOW},
    {"name": "basket", "kind": "ratio", "numerator": "whole", "denominator": "times"},
    {"name": "whole", "kind": "sum", "value": "amount", **WINDOW},
]  # fmt: skip


@pytest.fixture
def shop():
    """Units with regions and orders around their entry; a sixth has not had its 14 days."""
    rng = np.random.default_rng(21)
    entered = START + rng.integers(0, 20 * 86400, N).astype("timedelta64[s]")
    arm, often = rng.choice(["a", "b"], N, p=[0.6, 0.4]), rng.gamma(1.5, 1.0, N)
    before, after = rng.poisson(often), rng.poisson(often * np.where(arm == "b", 0.7, 0.5))
    who = np.repeat(np.tile(np.arange(N), 2), np.concatenate([before, after]))
    gap = np.where(
        np.arange(len(who)) < before.sum(),
        -rng.integers(1, 50 * 86400, len(who)),
        rng.integers(1, 30 * 86400, len(who)),
    )
    return {
        "units": {"unit": np.arange(N), "at": entered, "arm": arm,
                  "region": rng.choice(["e", "n", "s"], N)},
        "orders": {"unit": who, "at": entered[who] + gap.astype("timedelta64[s]"),
                   "amount": rng.lognormal(3, 0.8, len(who)).round(2)},
    }  # fmt: skip


def rows_of(shop):
    """By name, numbers of the units whose 14 days are over, in the window and in the one before."""
    units, orders = shop["units"], shop["orders"]
    gap = orders["at"] - units["at"][orders["unit"]]
    mature = units["at"] + 14 * DAY <= START + 30 * DAY
    found = {"treated": (units["arm"] == "b")[mature].astype(float)}
    spans = {"": (gap > 0) & (gap <= 14 * DAY), " pre": (gap < 0) & (gap >= -30 * DAY)}
    for when, inside in spans.items():
        who, amount = orders["unit"][inside], orders["amount"][inside]
        times = np.bincount(who, minlength=N)[mature].astype(float)
        money = np.bincount(who, amount, N)[mature]
        found["whole" + when], found["times" + when] = money, times
        found["money" + when] = np.minimum(money, np.quantile(money, 0.97))
        found["back" + when] = (times > 0).astype(float)
    for level in "ns":
        found[level] = (units["region"] == level)[mature].astype(float)
    return found, mature


def lin(y, treated, covariates):
    """The treatment's coefficient with full interactions, and its HC2 error."""
    z = np.column_stack(covariates)
    z = z - z.mean(axis=0)
    fit = sm.OLS(y, np.column_stack([np.ones(len(y)), treated, z, z * treated[:, None]])).fit()
    return fit.params[1], fit.HC2_se[1]


def linearised(over, under, treated):
    y = np.empty(len(over))
    for t in (0.0, 1.0):
        inside = treated == t
        ratio = over[inside].sum() / under[inside].sum()
        y[inside] = ratio + (over - ratio * under)[inside] / under[inside].mean()
    return y


def test_twins_are_lins_regression_on_rows(write, shop):
    data = {
        "assignments": {"table": "units.parquet", "at": "at"},
        "events": {"orders": {"table": "orders.parquet", "at": "at"}},
        "as_of": "2026-03-30",
    }
    design = {"unit": "unit", "arm": "arm", "control": "a"}
    plan = rl.plan(write(shop, design=design, metrics=METRICS, data=data))
    results = rl.analyse(plan, rl.reduce(plan))
    x, mature = rows_of(shop)
    treated, ratio = x["treated"], linearised(x["whole"], x["times"], x["treated"])
    region = [x["n"], x["s"]]
    wanted = {
        "money": (x["money"], [x["money pre"], *region]),
        "times": (x["times"], [x["times pre"]]),
        "back": (x["back"], [x["times pre"], x["money pre"], x["back pre"]]),
        "basket": (ratio, [x["whole pre"], x["times pre"]]),
    }
    assert results.one(metric="times", estimand="immature").estimate == N - mature.sum()
    for name, (y, covariates) in wanted.items():
        kind = "ratio_difference" if name == "basket" else "mean_difference"
        row = results.one(metric=name, estimand=kind)
        estimate, error = lin(y, treated, covariates)
        assert row.estimate == pytest.approx(estimate, rel=1e-9), name
        # HC2 weighs residuals by leverage, ours does not, and adds the covariates' sampled mean.
        assert row.std_error == pytest.approx(error, rel=0.03), name
    uncapped = lin(x["whole"], treated, [x["money pre"], *region])[0]
    found = results.one(metric="money", estimand="uncapped_difference").estimate
    assert found == pytest.approx(uncapped, rel=1e-9)
