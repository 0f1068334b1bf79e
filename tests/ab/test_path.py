"""The effect day by day, from assignments and orders to the verdict; looks that may be repeated."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from scipy import stats

import retention_lab as rl
from retention_lab.ab.sequential import confidence_sequence, repeated_intervals

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 1, 1, 9)
SPENT = {"name": "spent", "kind": "sum", "value": "value", "event": "orders", "within": "7d",
         "role": "primary"}  # fmt: skip
BACK = {"name": "back", "kind": "retention", "event": "orders", "within": "7d"}
DESIGN = {"unit": "unit", "arm": "arm", "control": "a"}
DIFFERENCE = {"metric": "spent", "estimand": "mean_difference", "segment": None}


def shop(n=2400, days=20, effect=0.0, seed=0, base=5.0, share=0.5, spread=2.0):
    """Units that enter over `days` days, each with one order after a day: arms, days, values."""
    rng = np.random.default_rng(seed)
    return {
        "arm": np.where(rng.random(n) < share, "b", "a"),
        "day": np.sort(rng.integers(0, days, n)),
        "value": rng.normal(base, spread, n),
        "pre": rng.normal(size=n),
    } | {"effect": effect}


def run(write, s, metrics=(SPENT,), inference=None, design=DESIGN, **spec):
    value = s["value"] + s["effect"] * (s["arm"] == "b")
    unit = [f"u{i}" for i in range(len(value))]
    at = [START + int(d) * DAY for d in s["day"]]
    who = {"unit": unit, "at": at, "arm": s["arm"], "pre": s["pre"]} | s.get("more", {})
    orders = {"unit": unit, "at": [t + DAY for t in at]}
    orders["value"] = [None if math.isnan(v) else float(v) for v in value]
    path = write(
        {"who": who, "orders": orders},
        data={
            "assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": dt.date(2026, 3, 1),
        },
        design=design,
        metrics=list(metrics),
        inference=inference or {},
        **spec,
    )
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def welch(s, inside):
    """Difference, error and units of the values that are `inside`."""
    value = s["value"] + s["effect"] * (s["arm"] == "b")
    b, a = (value[inside & (s["arm"] == arm)] for arm in "ba")
    error = math.sqrt(b.var(ddof=1) / len(b) + a.var(ddof=1) / len(a))
    return b.mean() - a.mean(), error, len(a) + len(b)


SEQUENCE = {"sequential": True, "planned_units": 2400}
KINDS = [
    SEQUENCE,
    {"sequential": "obrien_fleming", "planned_units": 2400},
    {"sequential": "pocock", "planned_units": 2400},
]


@pytest.mark.parametrize("inference", KINDS, ids=str)
def test_every_day_is_the_plain_difference_of_who_has_entered(write, inference):
    s = shop(effect=0.2)
    results = run(write, s, inference=inference)[1]
    rows = results.where(estimand="sequential_difference").rows
    assert len(rows) == 20
    looks = [welch(s, s["day"] <= d) for d in range(20)]
    estimate, error, n = np.array(looks).T
    for row, (difference, std_error, units) in zip(rows, looks, strict=True):
        assert row.estimate == pytest.approx(difference, rel=1e-9)
        assert row.std_error == pytest.approx(std_error, rel=1e-9)
        assert row.n + row.n_baseline == units
    if inference["sequential"] is True:
        bounds = confidence_sequence(estimate, error, n, 0.05, 2400)
    else:
        bounds = repeated_intervals(
            estimate, error, n / 2400, 0.05, inference["sequential"], n=n, last_p_only=True
        )
    known = np.isfinite(bounds.low)
    assert [r.ci_low is not None for r in rows] == known.tolist()
    assert rows[-1].ci_low == pytest.approx(bounds.low[-1], rel=1e-9)
    assert rows[0].at == "2026-01-01"


@pytest.mark.parametrize("inference", KINDS, ids=str)
def test_the_verdict_uses_the_interval_of_the_last_look(write, inference):
    """An effect of 2.5 errors: a plain test ships it, a confidence sequence does not yet."""
    s = shop(seed=1)
    _, error, _ = welch(s, s["day"] >= 0)
    s["effect"] = 2.5 * error - welch(s, s["day"] >= 0)[0]
    plain = run(write, s)
    assert plain[2].decision == "ship"
    _, results, verdict = run(write, s, inference=inference)
    row, last = results.one(**DIFFERENCE), results.where(estimand="sequential_difference").rows[-1]
    assert row.estimate == pytest.approx(last.estimate, rel=1e-9)
    ends, wide = (row.ci_low, row.ci_high), row.ci_high - row.ci_low
    fixed = plain[1].one(**DIFFERENCE)
    assert wide > fixed.ci_high - fixed.ci_low
    # Student's t with 2,400 units in place of the normal: a thousandth wider.
    assert ends == pytest.approx((last.ci_low, last.ci_high), abs=2e-3 * wide)
    assert row.p_value == last.p_value
    assert row.method.endswith(str(inference["sequential"]))
    lift = results.one(metric="spent", estimand="relative_lift")
    assert (lift.ci_low > 0) == (row.ci_low > 0)
    kept = row.p_adjusted < 0.05
    assert verdict.decision == ("ship" if kept else "keep_running")
    if inference is SEQUENCE:
        assert not kept


def test_with_a_covariate_the_last_day_is_the_adjusted_difference(write):
    s = shop(effect=0.3, seed=2)
    s["value"] = s["value"] + 2.0 * s["pre"]
    metric = SPENT | {"covariates": ["pre"]}
    fixed = run(write, s, [metric])[1].one(**DIFFERENCE)
    results = run(write, s, [metric], SEQUENCE)[1]
    last = results.where(estimand="sequential_difference").rows[-1]
    assert last.estimate == pytest.approx(fixed.estimate, rel=1e-9)
    assert last.std_error == pytest.approx(fixed.std_error, rel=1e-9)
    assert results.one(**DIFFERENCE).std_error == pytest.approx(fixed.std_error, rel=1e-9)


def test_days_of_entry_are_compared_each_and_with_each_other(write):
    s = shop(n=4000, days=5, seed=3)
    s["value"] += np.where((s["arm"] == "b") & (s["day"] == 0), 1.5, 0.0)
    results = run(write, s)[1]
    rows = results.where(estimand="daily_difference").rows
    for d, row in enumerate(rows):
        difference, error, _ = welch(s, s["day"] == d)
        assert row.estimate == pytest.approx(difference, rel=1e-9)
        assert row.std_error == pytest.approx(error, rel=1e-9)
    test = results.one(estimand="heterogeneity", segment=None)
    y, v = np.array([r.estimate for r in rows]), np.array([r.std_error for r in rows]) ** 2
    q = ((y - (y / v).sum() / (1 / v).sum()) ** 2 / v).sum()
    assert test.p_value == pytest.approx(stats.chi2.sf(q, len(rows) - 1), rel=1e-9)
    assert test.p_value < 1e-6


# -- the inputs at which peers fail --------------------------------------------------------------


def test_too_few_units_for_bounds_are_too_early(write):
    _, results, verdict = run(write, shop(n=120, days=3, effect=5.0), inference=SEQUENCE)
    row = results.one(**DIFFERENCE)
    assert row.estimate is not None
    assert row.ci_low is row.p_value is None
    assert row.note
    assert verdict.decision in ("invalid", "keep_running")


def test_half_of_the_values_missing_leave_the_rest(write):
    s = shop(seed=4)
    gone = np.random.default_rng(5).random(2400) < 0.5
    s["value"][gone] = np.nan
    results = run(write, s, [SPENT | {"missing": "drop"}], SEQUENCE)[1]
    row = results.one(**DIFFERENCE)
    difference, error, units = welch(s, ~gone)
    assert row.estimate == pytest.approx(difference, rel=1e-9)
    assert row.std_error == pytest.approx(error, rel=1e-9)
    assert row.n + row.n_baseline == units


def test_a_control_mean_near_zero_keeps_its_difference(write):
    s = shop(seed=6, base=0.0)
    s["value"] -= s["value"][s["arm"] == "a"].mean()
    results = run(write, s, inference=SEQUENCE)[1]
    assert results.one(metric="spent", estimand="relative_lift").note.startswith("unbounded")
    assert results.one(**DIFFERENCE).ci_low is not None


def test_a_negative_baseline_keeps_its_sign(write):
    results = run(write, shop(seed=7, base=-10.0, effect=2.0), inference=SEQUENCE)[1]
    lift = results.one(metric="spent", estimand="relative_lift")
    assert 0 < lift.ci_low < lift.estimate < lift.ci_high


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_large_means_are_followed_as_well_as_small_ones(write, offset):
    s = shop(seed=8, effect=0.5)
    s["value"] = np.round(s["value"], 2)
    near = run(write, s, inference=SEQUENCE)[1].where(estimand="sequential_difference").rows
    s["value"] = s["value"] + offset
    far = run(write, s, inference=SEQUENCE)[1].where(estimand="sequential_difference").rows
    for a, b in zip(near, far, strict=True):
        assert b.estimate == pytest.approx(a.estimate, rel=1e-2, abs=1e-3)
        assert b.std_error == pytest.approx(a.std_error, rel=1e-2)


@pytest.mark.parametrize("inference", KINDS, ids=str)
def test_an_absent_arm_has_no_path(write, inference):
    design = DESIGN | {"expected_split": {"a": 1, "b": 1, "c": 1}}
    _, results, verdict = run(write, shop(), inference=inference, design=design)
    assert not results.where(estimand="sequential_difference", arm="c").rows
    assert results.one(arm="c", **DIFFERENCE).note.startswith("empty_arm")
    assert results.where(estimand="sequential_difference", arm="b").rows
    assert verdict.decision == "invalid"


def test_one_unit_an_arm_ends_nothing(write):
    s = shop(n=2, days=1)
    s["arm"] = np.array(["a", "b"])
    _, results, verdict = run(write, s, inference=SEQUENCE, privacy={"min_cell": 1})
    row = results.one(**DIFFERENCE)
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("too_few_units")
    assert verdict.decision == "invalid"


@pytest.mark.parametrize("inference", KINDS, ids=str)
def test_zero_variance_is_no_certainty(write, inference):
    s = shop(spread=0.0, effect=1.0)
    row = run(write, s, inference=inference)[1].one(**DIFFERENCE)
    assert row.estimate == pytest.approx(1.0)
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("zero_variance")


def test_an_infinite_value_takes_its_metric_only(write):
    s = shop(seed=9)
    s["value"][17] = math.inf
    results = run(write, s, [SPENT, BACK | {"role": "primary"}], SEQUENCE)[1]
    row = results.one(**DIFFERENCE)
    assert row.p_value is row.ci_low is None
    assert row.note
    assert results.where(metric="back", estimand="mean_difference").rows


def test_very_uneven_arms_wait_for_more_units(write):
    s = shop(seed=10, share=0.1)
    even = run(write, shop(seed=10), inference=SEQUENCE)[1]
    design = DESIGN | {"expected_split": {"a": 9, "b": 1}}
    uneven = run(write, s, inference=SEQUENCE, design=design)[1]
    first = [
        next((i for i, r in enumerate(x.where(estimand="sequential_difference").rows)
              if r.ci_low is not None), 99)
        for x in (even, uneven)
    ]  # fmt: skip
    assert first[0] < first[1]
