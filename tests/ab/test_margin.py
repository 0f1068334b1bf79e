"""Comparisons of two cells: crossed segments against their rows, lifts against their tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import retention_lab as rl
from retention_lab.ab.margin import Margin
from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import Column, Needs

DESIGN = {"arm": "arm", "control": "a"}
X = {"name": "x", "kind": "mean", "role": "primary"}
CROSSED = {"segments": ["region", "tier"], "crossed_segments": [["region", "tier"]]}
DIFFERENCE = {"estimand": "mean_difference"}


def run(write, columns, metrics=(X,), design=DESIGN, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                 metrics=list(metrics), **(CROSSED | spec))  # fmt: skip
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def units(n=3000, seed=0, base=5.0, effect=0.4):
    rng = np.random.default_rng(seed)
    arm = rng.choice(list("ab"), n)
    pre = rng.normal(size=n)
    return {
        "arm": arm,
        "x": base + effect * (arm == "b") + pre + rng.normal(size=n),
        "pre": pre,
        "region": rng.choice(["n", "s", "w"], n),
        "tier": rng.choice(["1", "2"], n),
    }


def crossed(results, **where):
    return results.where(segment="region × tier", **where)


def inside(columns, level):
    region, tier = level.split(" × ")
    return (np.asarray(columns["region"]) == region) & (np.asarray(columns["tier"]) == tier)


def test_crossed_segments_are_the_analysis_of_their_rows(write):
    columns = units()
    rows = crossed(run(write, columns)[1], **DIFFERENCE).rows
    assert len(rows) == 6
    for row in rows:
        where = inside(columns, row.level)
        b, a = (columns["x"][where & (columns["arm"] == arm)] for arm in "ba")
        theirs = stats.ttest_ind(b, a, equal_var=False)
        assert row.estimate == pytest.approx(b.mean() - a.mean(), rel=1e-9)
        assert row.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
        assert (row.n, row.n_baseline) == (len(b), len(a))


def test_crossed_segments_are_adjusted_within(write):
    columns = units(seed=1)
    results = run(write, columns, [X | {"covariates": ["pre"]}])[1]
    for row in crossed(results, **DIFFERENCE).rows:
        where, moved = inside(columns, row.level), []
        for arm in "ba":
            mine = where & (columns["arm"] == arm)
            line = np.polyfit(columns["pre"][mine], columns["x"][mine], 1)
            moved.append(np.polyval(line, columns["pre"][where].mean()))
        assert row.estimate == pytest.approx(moved[0] - moved[1], rel=1e-9)
    assert all(r.estimate > 0.2 for r in crossed(results, estimand="variance_reduction").rows)


@pytest.mark.parametrize("covariates", [[], ["pre"]], ids=str)
@pytest.mark.parametrize("base", [2.0, -2.0])
def test_a_lift_excludes_zero_where_its_difference_does(write, base, covariates):
    columns = units(seed=2, base=base, effect=0.15)
    results = run(write, columns, [X | {"covariates": covariates}])[1]
    both = zip(
        crossed(results, **DIFFERENCE).rows,
        crossed(results, estimand="relative_lift").rows,
        strict=True,
    )
    seen = set()
    for difference, lift in both:
        out = difference.ci_low > 0 or difference.ci_high < 0
        seen.add(out)
        assert (lift.ci_low > 0 or lift.ci_high < 0) == out == (difference.p_value < 0.05)
        assert (lift.estimate > 0) == (difference.estimate > 0)
    assert seen == {True, False}


def test_fiellers_interval_with_adjusted_arms_is_where_the_test_of_a_ratio_turns():
    """At each end r the t test of arm - (1 + r) base has p = 0.05, shared variance included."""
    rng = np.random.default_rng(3)
    need = Needs("y", Column(name="y", how="value"), covariates=(Column(name="x", how="value"),))
    parts = []
    for slope, n in ((1.0, 400), (2.0, 300)):
        x = rng.normal(1.0, 1.0, n)
        parts.append((n, x, 5.0 + slope * x + rng.normal(size=n)))
    value = {(k, c): v for k, (_, x, y) in enumerate(parts) for c, v in (("x", x), ("y", y))}
    table = [[np.cov(value[k, a], value[k, b])[0, 1] for a, b in need.pairs] for k in (0, 1)]
    n = np.array([400, 300])
    m = Moments(
        ("arm",),
        need.pairs,
        (("a",), ("b",)),
        n,
        np.tile(n[:, None], (1, len(need.pairs))),
        np.array([[value[k, a].mean() for a, _ in need.pairs] for k in (0, 1)]),
        np.array([[value[k, b].mean() for _, b in need.pairs] for k in (0, 1)]),
        np.array(table) * (n[:, None] - 1),
    )
    margin = Margin(m, need, None, ("arm",), 0.05)
    found, adjusted = margin.compare(("b",), ("a",)), margin.adjusted(("b",), ("a",))
    arm, base = adjusted.levels
    both = arm.variance + base.variance
    free = both**2 / (arm.variance**2 / arm.freedom + base.variance**2 / base.freedom)
    t = stats.t.isf(0.025, free)
    for end in (found.lift.low, found.lift.high):
        times = 1.0 + end
        apart = arm.estimate - times * base.estimate
        own = arm.variance + times**2 * base.variance + adjusted.variance([1.0, -times])
        assert abs(apart) / np.sqrt(own) == pytest.approx(t, rel=1e-9)


# -- the inputs at which peers fail, in crossed segments -------------------------------------------


@pytest.mark.parametrize("covariates", [[], ["pre"]], ids=str)
@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_large_means(write, offset, covariates):
    columns = units(seed=4)
    columns["x"] = np.round(columns["x"], 3) + offset
    near = columns | {"x": columns["x"] - offset}
    metric = X | {"covariates": covariates}
    rows = [crossed(run(write, c, [metric])[1], **DIFFERENCE).rows for c in (near, columns)]
    for a, b in zip(*rows, strict=True):
        assert b.estimate == pytest.approx(a.estimate, rel=1e-6)
        assert b.std_error == pytest.approx(a.std_error, rel=1e-6)


@pytest.mark.parametrize("covariates", [[], ["pre"]], ids=str)
def test_half_of_the_outcomes_missing(write, covariates):
    columns = units(seed=5)
    gone = np.random.default_rng(6).random(3000) < 0.5
    kept = {k: v[~gone] for k, v in columns.items()}
    columns["x"] = [None if g else float(v) for g, v in zip(gone, columns["x"], strict=True)]
    metric = X | {"missing": "drop", "covariates": covariates}
    rows = [crossed(run(write, c, [metric])[1], **DIFFERENCE).rows for c in (kept, columns)]
    for a, b in zip(*rows, strict=True):
        assert b.estimate == pytest.approx(a.estimate, rel=1e-9)
        assert b.std_error == pytest.approx(a.std_error, rel=1e-9)


def test_a_level_near_zero_has_an_unbounded_lift_there_alone(write):
    columns = units(seed=7)
    at = inside(columns, "n × 1") & (columns["arm"] == "a")
    columns["x"][at] -= columns["x"][at].mean()
    for row in crossed(run(write, columns)[1], estimand="relative_lift").rows:
        assert (row.estimate is None) == (row.level == "n × 1")
        assert row.estimate is not None or row.note.startswith("unbounded")


def test_a_level_of_one_unit_or_none_in_an_arm(write):
    columns = units(seed=8)
    alone = np.flatnonzero(inside(columns, "w × 2") & (columns["arm"] == "b"))
    keep = np.ones(3000, bool)
    keep[alone[1:]] = False
    both = inside(columns, "s × 1") & (columns["arm"] == "b")
    keep[both] = False
    columns = {k: v[keep] for k, v in columns.items()}
    split = {"a": 1500, "b": 1000}
    results = run(
        write, columns, design=DESIGN | {"expected_split": split}, privacy={"min_cell": 1}
    )[1]
    rows = {r.level: r for r in crossed(results, **DIFFERENCE).rows}
    assert all(r.p_value is None for level, r in rows.items() if level in ("w × 2", "s × 1"))
    assert all(r.note for level, r in rows.items() if level in ("w × 2", "s × 1"))


@pytest.mark.parametrize("value", [np.inf, 3.0])
def test_levels_that_are_infinite_or_constant(write, value):
    columns = units(seed=9)
    columns["x"][inside(columns, "n × 2")] = value
    results = run(write, columns)[1]
    for row in crossed(results, **DIFFERENCE).rows:
        if row.level == "n × 2" or value == np.inf:
            assert row.p_value is None
            assert row.note
        else:
            assert row.p_value is not None


def test_an_absent_arm_is_a_null_everywhere(write):
    design = DESIGN | {"expected_split": {"a": 1, "b": 1, "c": 1}}
    results = run(write, units(seed=10), design=design)[1]
    rows = crossed(results, arm="c", **DIFFERENCE).rows
    assert len(rows) == 6
    assert all(r.estimate is None and r.note.startswith("empty_arm") for r in rows)


def test_crossed_segments_of_clusters(write):
    columns = units(seed=11)
    columns["shop"] = np.char.add(columns["arm"], (np.arange(3000) % 40).astype(str))
    results = run(write, columns, design=DESIGN | {"cluster": "shop"})[1]
    for row in crossed(results, **DIFFERENCE).rows:
        where, total = inside(columns, row.level), 0.0
        for arm in "ba":
            mine = where & (columns["arm"] == arm)
            _, to = np.unique(columns["shop"][mine], return_inverse=True)
            y, n = np.bincount(to, columns["x"][mine]), np.bincount(to)
            g = len(n)
            without = (y.sum() - y) / (n.sum() - n)
            total += (g - 1) / g * ((without - y.sum() / n.sum()) ** 2).sum()
        assert row.std_error == pytest.approx(np.sqrt(total), rel=1e-9)
