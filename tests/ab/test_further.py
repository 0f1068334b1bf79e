"""Factors, non-inferiority, families and posteriors: against statsmodels and scipy on rows."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

import retention_lab as rl
from retention_lab.ab.further import effects

DESIGN = {"arm": "arm", "control": "a"}
X = {"name": "x", "kind": "mean", "role": "primary"}
FACTORS = {
    "coupon": {"a": "no", "b": "yes", "c": "no", "d": "yes"},
    "shipping": {"a": "paid", "b": "paid", "c": "free", "d": "free"},
}


def run(write, columns, metrics=(X,), design=DESIGN, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                 metrics=list(metrics), **spec)  # fmt: skip
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def units(seed=0, sizes=(300, 200, 250, 80), means=(5.0, 5.3, 5.1, 6.0)):
    rng = np.random.default_rng(seed)
    arm = np.repeat(list("abcd")[: len(sizes)], sizes)
    spread = np.repeat([1.0, 1.5, 0.7, 2.0][: len(sizes)], sizes)
    pre = rng.normal(size=len(arm))
    x = np.repeat(means[: len(sizes)], sizes) + spread * rng.normal(size=len(arm)) + pre
    return {"arm": arm, "x": x, "pre": pre, "y": x + rng.normal(size=len(arm))}


def values(columns, name="x"):
    return {a: columns[name][columns["arm"] == a] for a in np.unique(columns["arm"])}


@pytest.mark.parametrize("term", ["coupon: yes", "shipping: free", "coupon: yes, shipping: free"])
def test_factors_are_contrasts_of_ols_on_cells_with_hc2(write, term):
    """HC2 of a saturated regression is s^2 / n of every cell."""
    columns = units()
    results = run(write, columns, design=DESIGN | {"factors": FACTORS})[1]
    dummies = np.stack([columns["arm"] == a for a in "abcd"], axis=1).astype(float)
    fit = sm.OLS(columns["x"], dummies).fit(cov_type="HC2")
    weights = {
        "coupon: yes": [-0.5, 0.5, -0.5, 0.5],
        "shipping: free": [-0.5, -0.5, 0.5, 0.5],
        "coupon: yes, shipping: free": [1, -1, -1, 1],
    }[term]
    theirs = fit.t_test(weights)
    row = results.one(term=term)
    assert row.estimand == ("interaction" if "," in term else "main_effect")
    assert row.estimate == pytest.approx(theirs.effect[0], rel=1e-9)
    assert row.std_error == pytest.approx(theirs.sd[0, 0], rel=1e-9)
    parts = np.square(weights) * np.diag(fit.cov_params())
    df = parts.sum() ** 2 / (parts**2 / (dummies.sum(axis=0) - 1)).sum()
    p_value = 2 * stats.t.sf(abs(row.estimate / row.std_error), df)
    assert row.p_value == pytest.approx(p_value, rel=1e-9)


def test_adjusted_factors_are_lins_regression(write):
    columns = units(seed=1)
    metric = X | {"covariates": ["pre"]}
    results = run(write, columns, [metric], DESIGN | {"factors": FACTORS})[1]
    dummies = np.stack([columns["arm"] == a for a in "abcd"], axis=1).astype(float)
    z = (columns["pre"] - columns["pre"].mean())[:, None]
    fit = sm.OLS(columns["x"], np.hstack([dummies, dummies * z])).fit(cov_type="HC2")
    for term, weights in (("coupon: yes", [-1, 1, -1, 1]), ("shipping: free", [-1, -1, 1, 1])):
        row = results.one(term=term)
        theirs = fit.t_test(np.array([*weights, 0, 0, 0, 0]) / 2)
        assert row.estimate == pytest.approx(theirs.effect[0], rel=1e-9)
        assert row.std_error == pytest.approx(theirs.sd[0, 0], rel=0.02)
        assert row.method.endswith("after Lin's adjustment")


def test_three_levels_and_arms_that_share_cells_are_averaged_equally():
    factors = {"dose": {"a": "0", "b": "5", "c": "10", "d": "10"}}
    found = dict(effects(factors, "a"))
    assert found["dose: 5"] == {"a": -1.0, "b": 1.0, "c": 0.0, "d": 0.0}
    assert found["dose: 10"] == {"a": -1.0, "b": 0.0, "c": 0.5, "d": 0.5}


def test_a_factor_with_an_arm_of_one_unit_is_a_null(write):
    columns = units(sizes=(30, 30, 30, 1))
    design = DESIGN | {"factors": FACTORS, "expected_split": {"a": 30, "b": 30, "c": 30, "d": 1}}
    row = run(write, columns, design=design, privacy={"min_cell": 1})[1].one(term="coupon: yes")
    assert row.estimate is not None
    assert row.p_value is None
    assert row.note.startswith("too_few_units")


# -- non-inferiority -----------------------------------------------------------------------------

GUARD = {"name": "y", "kind": "mean", "role": "guardrail"}


@pytest.mark.parametrize("direction", ["increase", "decrease"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("margin", [{"margin": 0.3}, {"relative_margin": 0.05}], ids=str)
def test_non_inferiority_is_a_one_sided_t_test_at_the_margin(write, direction, sign, margin):
    columns = units(seed=2, sizes=(300, 200))
    columns["y"] = sign * columns["y"]
    results = run(write, columns, [X, GUARD | {"direction": direction} | margin])[1]
    row = results.one(estimand="non_inferiority")
    by = values(columns, "y")
    good = 1.0 if direction == "increase" else -1.0
    if "margin" in margin:
        limit = by["a"] - good * 0.3
    else:
        limit = by["a"] * (1.0 - good * 0.05 * np.sign(by["a"].mean()))
    side = "greater" if direction == "increase" else "less"
    theirs = stats.ttest_ind(by["b"], limit, equal_var=False, alternative=side)
    assert row.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert row.estimate == pytest.approx(good * (by["b"].mean() - limit.mean()), rel=1e-9)
    two = stats.ttest_ind(good * by["b"], good * limit, equal_var=False).confidence_interval(0.95)
    assert (row.ci_low, row.ci_high) == pytest.approx((two.low, two.high), rel=1e-9)
    assert (row.p_value < 0.025) == (row.ci_low > 0)


def test_an_adjusted_guardrail_is_surer(write):
    columns = units(seed=3, sizes=(300, 200))
    columns["y"] = 5.0 + 3.0 * columns["pre"] + np.random.default_rng(0).normal(size=500)
    plain = run(write, columns, [X, GUARD | {"margin": 0.3}])[1]
    better = run(write, columns, [X, GUARD | {"margin": 0.3, "covariates": ["pre"]}])[1]
    a, b = (r.one(estimand="non_inferiority") for r in (plain, better))
    assert b.std_error < 0.5 * a.std_error
    difference = better.one(metric="y", estimand="mean_difference")
    assert b.estimate == pytest.approx(difference.estimate + 0.3, rel=1e-9)
    assert b.std_error == pytest.approx(difference.std_error, rel=1e-9)


@pytest.mark.parametrize("fill", [3.0, float("inf")], ids=str)
def test_a_guardrail_without_a_number_is_a_null_with_a_reason(write, fill):
    columns = units(seed=4, sizes=(300, 200))
    columns["y"][:] = 3.0
    columns["y"][7] = fill
    results = run(write, columns, [X, GUARD | {"relative_margin": 0.1}])[1]
    rows = results.where(metric="y", estimand="non_inferiority").rows
    assert all(r.p_value is None and r.note for r in rows)
    assert results.one(metric="y", estimand="mean_difference").note


# -- families and posteriors ---------------------------------------------------------------------


def test_simultaneous_intervals_are_welchs_at_a_part_of_alpha(write):
    columns = units(seed=5)
    metrics = [X, X | {"name": "y"}]
    results = run(write, columns, metrics)[1]
    rows = results.where(estimand="simultaneous_difference").rows
    assert len(rows) == 6
    for row in rows:
        by = values(columns, row.metric)
        theirs = stats.ttest_ind(by[row.arm], by["a"], equal_var=False)
        ends = theirs.confidence_interval(1 - 0.05 / 6)
        assert (row.ci_low, row.ci_high) == pytest.approx((ends.low, ends.high), rel=1e-9)


def test_all_pairs_make_a_larger_family(write):
    columns = units(seed=6, sizes=(100, 100, 100))
    results = run(write, columns, inference={"comparisons": "pairs"})[1]
    rows = results.where(estimand="simultaneous_difference").rows
    assert [(r.arm, r.baseline) for r in rows] == [("b", "a"), ("c", "a"), ("c", "b")]
    by = values(columns)
    ends = stats.ttest_ind(by["c"], by["b"], equal_var=False).confidence_interval(1 - 0.05 / 3)
    assert rows[-1].ci_low == pytest.approx(ends.low, rel=1e-9)


def test_with_a_flat_prior_the_better_of_two_is_the_normal_p_value(write):
    results = run(write, units(seed=7, sizes=(200, 200)))[1]
    difference = results.one(estimand="mean_difference")
    best = {r.arm: r.estimate for r in results.where(estimand="probability_best").rows}
    chance = stats.norm.cdf(difference.estimate / difference.std_error)
    assert best["b"] == pytest.approx(chance, abs=1e-6)
    assert best["a"] + best["b"] == pytest.approx(1.0, abs=1e-9)
    assert all(r.estimate >= 0 for r in results.where(estimand="expected_loss").rows)


def test_hidden_arms_and_faults_say_nothing_further(write):
    columns = units(seed=8, sizes=(300, 200, 250, 8))
    design = DESIGN | {"factors": FACTORS, "expected_split": {"a": 30, "b": 20, "c": 25, "d": 0.8}}
    results = run(write, columns, [X, GUARD | {"margin": 0.1}], design)[1]
    said = ["main_effect", "interaction", "non_inferiority", "probability_best",
            "expected_loss", "simultaneous_difference"]  # fmt: skip
    assert not [r for r in results.where(estimand=said).rows if r.estimate is not None]
