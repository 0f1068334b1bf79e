"""Inputs at which peers fail, from rows to a verdict: missing, infinite, constant, few, absent."""

from __future__ import annotations

import numpy as np
import pytest
from trial import DESIGN, DIFFERENCE, X, normal, run

from retention_lab.errors import PlanError

# -- the inputs at which peers fail -------------------------------------------------------------


def test_missing_outcomes_are_an_error_that_says_how_many(write):
    columns = normal()
    columns["x"] = [None if i % 4 == 0 else float(v) for i, v in enumerate(columns["x"])]
    plan, results, verdict = run(write, columns)
    assert [c.text for c in plan.checks if not c.ok] == [
        "100 of 400 values of 'x' are missing: say missing: drop or missing: zero"
    ]
    row = results.one(metric="x", **DIFFERENCE)
    assert row.estimate is row.p_value is None
    assert "100 of 400" in row.note
    assert verdict.decision == "invalid"


def test_missing_outcomes_dropped_leave_the_test_of_the_rest(write):
    """Half of the outcomes missing: the test counts the units that are there, not all."""
    from scipy import stats

    columns = normal()
    keep = np.random.default_rng(1).random(400) < 0.5
    x, arm = columns["x"], columns["arm"]
    columns["x"] = [float(v) if k else None for v, k in zip(x, keep, strict=True)]
    _, results, _ = run(write, columns, [{**X, "missing": "drop"}])
    row = results.one(metric="x", **DIFFERENCE)
    theirs = stats.ttest_ind(x[keep & (arm == "b")], x[keep & (arm == "a")], equal_var=False)
    assert row.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (row.n, row.n_baseline) == ((keep & (arm == "b")).sum(), (keep & (arm == "a")).sum())
    assert results.one(estimand="missing").estimate == 400 - keep.sum()


def test_a_control_mean_near_zero_ends_nothing(write):
    columns = normal(b=0.5)
    inside = columns["arm"] == "a"
    columns["x"][inside] -= columns["x"][inside].mean()
    columns["y"] = columns["x"] + 10
    _, results, _ = run(write, columns, [X, {"name": "y", "kind": "mean"}])
    lift = results.one(metric="x", estimand="relative_lift")
    assert lift.estimate is None
    assert lift.note.startswith("unbounded")
    assert results.one(metric="x", **DIFFERENCE).p_value < 0.01
    assert results.one(metric="y", estimand="relative_lift").estimate > 0


def test_a_negative_baseline_keeps_its_sign(write):
    columns = normal(a=-10.0, b=-8.0)
    _, results, verdict = run(write, columns)
    lift = results.one(metric="x", estimand="relative_lift")
    assert 0 < lift.ci_low < lift.estimate < lift.ci_high
    assert lift.estimate == pytest.approx(0.2, abs=0.03)
    assert verdict.decision == "ship"


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_large_means_are_compared_as_well_as_small_ones(write, offset):
    far = normal(seed=3, b=0.3)
    far["x"] += offset
    near = {**far, "x": far["x"] - offset}
    _, small, _ = run(write, near)
    _, large, _ = run(write, far)
    a, b = (r.one(metric="x", **DIFFERENCE) for r in (small, large))
    assert b.std_error == pytest.approx(a.std_error, rel=1e-9)
    assert b.estimate == pytest.approx(a.estimate, rel=1e-9)
    assert b.p_value == pytest.approx(a.p_value, rel=1e-9)


def test_an_absent_arm_is_a_mismatch_not_a_perfect_split(write):
    split = {"a": 1, "b": 1, "c": 1}
    plan, results, verdict = run(write, normal(b=1.0), design={**DESIGN, "expected_split": split})
    assert [c.text for c in plan.checks if not c.ok] == ["arm 'c' of expected_split has no units"]
    assert results.one(estimand="sample_ratio").p_value < 1e-20
    assert verdict.decision == "invalid"
    row = results.one(metric="x", arm="c", **DIFFERENCE)
    assert row.estimate is None
    assert row.note.startswith("empty_arm")


def test_one_unit_an_arm_has_no_test(write):
    columns = {"arm": ["a", "b"], "x": [1.0, 2.0]}
    _, results, verdict = run(write, columns, privacy={"min_cell": 1})
    row = results.one(metric="x", **DIFFERENCE)
    assert row.p_value is row.ci_low is row.std_error is None
    assert row.note.startswith("too_few_units")
    assert verdict.decision == "invalid"


@pytest.mark.parametrize("values", [(3.0, 3.0), (3.0, 4.0), (0.1, 0.1)])
def test_zero_variance_is_no_certainty(write, values):
    columns = {"arm": ["a", "b"] * 200, "x": list(values) * 200}
    _, results, verdict = run(write, columns)
    row = results.one(metric="x", **DIFFERENCE)
    assert row.estimate == pytest.approx(values[1] - values[0])
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("zero_variance")
    assert verdict.decision == "invalid"


def test_one_arm_is_refused(write):
    with pytest.raises(PlanError, match="one arm only"):
        run(write, {"arm": ["a"] * 50, "x": [1.0] * 50})


def test_units_without_an_arm_make_the_verdict_invalid(write):
    columns = normal(b=2.0)
    columns["arm"] = [None if i < 30 else str(v) for i, v in enumerate(columns["arm"])]
    plan, results, verdict = run(write, columns)
    assert "30 of 400 units have no arm" in next(c for c in plan.checks if not c.ok).text
    assert results.one(estimand="sample_ratio").n == 370
    assert verdict.decision == "invalid"
    assert verdict.reasons[0].code == "no_arm"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_one_infinite_value_takes_its_metric_only(write, value):
    columns = normal(b=1.0)
    columns["y"] = columns["x"].copy()
    columns["y"][7] = value
    plan, results, verdict = run(write, columns, [X, {"name": "y", "kind": "mean"}])
    assert (
        "1 of 400 values of 'y' are infinite or NaN"
        in next(c for c in plan.checks if not c.ok).text
    )
    row = results.one(metric="y", **DIFFERENCE)
    assert row.estimate is row.p_value is None
    assert row.note.startswith("not_finite")
    assert results.one(metric="x", **DIFFERENCE).p_value < 1e-6
    assert verdict.decision == "ship"


def test_a_proportion_of_other_values_is_refused(write):
    columns = normal()
    columns["x"] = np.where(np.arange(400) % 3 == 0, 2, 1)
    _, results, _ = run(write, columns, [{**X, "kind": "proportion"}])
    assert results.one(metric="x", **DIFFERENCE).note.startswith("not_binary: 134 of 400")


def test_few_events_are_said(write):
    columns = normal()
    columns["x"] = (np.arange(400) < 9).astype(int)
    _, results, _ = run(write, columns, [{**X, "kind": "proportion"}])
    assert results.one(metric="x", **DIFFERENCE).note.startswith("few_events")


def test_numbers_as_arms_and_levels_are_text(write):
    columns = normal(b=1.0)
    columns["arm"] = np.where(columns["arm"] == "a", 0, 1)
    columns["tier"] = np.arange(400) // 2 % 2
    design = {"arm": "arm", "control": 0, "expected_split": {0: 1, 1: 1}}
    _, results, verdict = run(write, columns, design=design, segments=["tier"])
    assert verdict.arm == "1"
    levels = results.where(segment="tier", estimand="mean_difference").rows
    assert {r.level for r in levels} == {"0", "1"}


def test_values_missing_in_one_arm_only_are_no_fair_comparison(write):
    columns = normal(a=5.0, b=5.5)
    gone = np.isin(np.arange(400), np.arange(1, 400, 2)[:100])
    columns["x"] = [None if g else float(v) for v, g in zip(columns["x"], gone, strict=True)]
    _, results, verdict = run(write, columns, [{**X, "missing": "drop"}])
    assert results.one(metric="x", **DIFFERENCE).note.startswith("uneven_missing")
    assert verdict.decision == "invalid"


def test_a_ratio_of_a_handful_of_orders_has_no_error(write):
    columns = normal(1000)
    columns["orders"] = np.where(np.arange(1000) % 250 < 2, 1.0, 0.0)
    columns["revenue"] = columns["orders"] * np.where(columns["arm"] == "b", 30.0, 10.0)
    ratio = {"name": "aov", "kind": "ratio", "numerator": "revenue", "denominator": "orders"}
    _, results, verdict = run(write, columns, [{**ratio, "role": "primary"}])
    row = results.one(metric="aov", **DIFFERENCE)
    assert row.estimate == pytest.approx(20.0)
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("few_events: the ratio rests on fewer than 20 units")
    assert verdict.decision == "invalid"
