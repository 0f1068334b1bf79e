"""Errors of whole clusters: against statsmodels, a jackknife by hand, and the inputs that hurt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

import retention_lab as rl

DESIGN = {"arm": "arm", "control": "a", "cluster": "shop"}
Y = {"name": "y", "kind": "mean", "role": "primary"}
RATIO = {"name": "r", "kind": "ratio", "numerator": "y", "denominator": "d", "role": "primary"}
DIFFERENCE = {"estimand": ["mean_difference", "ratio_difference"], "segment": None}


def run(write, columns, metrics=(Y,), design=DESIGN, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=design,
                 metrics=list(metrics), **spec)  # fmt: skip
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def shops(seed=0, clusters=(12, 9), even=False, effect=0.5, base=3.0):
    """Units of shops that are whole in an arm; x is a shop's own, known before."""
    rng = np.random.default_rng(seed)
    count = sum(clusters)
    n = np.full(count, 30) if even else rng.integers(5, 80, count)
    shop = np.repeat(np.arange(count), n)
    arm = np.repeat(list("ab"), clusters)[shop]
    own = rng.normal(size=count)
    x = own[shop] + rng.normal(size=len(shop))
    y = base + own[shop] + rng.normal(size=len(shop)) + effect * (arm == "b")
    d = 1.0 + rng.poisson(2.0, len(shop))
    return {"arm": arm, "shop": [f"s{i}" for i in shop], "y": y, "d": d, "x": x}


def of_arm(columns, arm, *names):
    """Sums by cluster of one arm: units, then each of `names`."""
    inside = np.asarray(columns["arm"]) == arm
    _, to = np.unique(np.asarray(columns["shop"])[inside], return_inverse=True)
    return [np.bincount(to, np.asarray(columns[c], float)[inside]) for c in names], np.bincount(to)


def jackknife(above, below):
    """Variance of sum above / sum below over clusters, each left out once."""
    without = [np.delete(above, g).sum() / np.delete(below, g).sum() for g in range(len(above))]
    return (len(above) - 1) / len(above) * ((without - above.sum() / below.sum()) ** 2).sum()


def freedom(below):
    """tr(B)^2 / tr(B B) of the jackknife's quadratic form, where units are independent."""
    share = below / below.sum()
    centred = np.eye(len(below)) - share[:, None]
    half = np.diag(1 / (1 - share)) @ centred @ np.diag(np.sqrt(share))
    b = half @ half.T
    return np.trace(b) ** 2 / np.trace(b @ b)


def test_even_clusters_are_statsmodels_cluster_robust_error(write):
    """In each arm OLS on a constant, whose G / (G - 1) (N - 1) / (N - 1) is the same factor."""
    columns = shops(even=True)
    row = run(write, columns)[1].one(**DIFFERENCE)
    variance, mean = {}, {}
    for arm in "ab":
        inside = columns["arm"] == arm
        groups = np.unique(np.asarray(columns["shop"])[inside], return_inverse=True)[1]
        y = columns["y"][inside]
        fit = sm.OLS(y, np.ones(len(y))).fit(cov_type="cluster", cov_kwds={"groups": groups})
        variance[arm], mean[arm] = fit.bse[0] ** 2, fit.params[0]
    assert row.estimate == pytest.approx(mean["b"] - mean["a"], rel=1e-9)
    assert row.std_error == pytest.approx(math.sqrt(sum(variance.values())), rel=1e-9)
    free = sum(variance.values()) ** 2 / (variance["a"] ** 2 / 11 + variance["b"] ** 2 / 8)
    p_value = 2 * stats.t.sf(row.estimate / row.std_error, free)
    assert row.p_value == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize("metric", [Y, RATIO], ids=lambda m: m["kind"])
def test_uneven_clusters_are_the_jackknife(write, metric):
    columns = shops(seed=1)
    columns["one"] = np.ones(len(columns["y"]))
    row = run(write, columns, [metric])[1].one(**DIFFERENCE)
    level, variance, free = {}, {}, {}
    for arm in "ab":
        (above, below), _ = of_arm(columns, arm, "y", "d" if metric is RATIO else "one")
        level[arm], variance[arm] = above.sum() / below.sum(), jackknife(above, below)
        free[arm] = freedom(below)
        assert free[arm] < len(below) - 1
    whole = variance["a"] + variance["b"]
    assert row.estimate == pytest.approx(level["b"] - level["a"], rel=1e-9)
    assert row.std_error == pytest.approx(math.sqrt(whole), rel=1e-9)
    df = whole**2 / sum(variance[a] ** 2 / free[a] for a in "ab")
    half = stats.t.isf(0.025, df) * row.std_error
    assert row.ci_high - row.estimate == pytest.approx(half, rel=1e-9)
    assert row.method.startswith("delta method, sums" if metric is RATIO else "sums by cluster")


def test_a_covariate_is_regressed_on_clusters(write):
    columns = shops(seed=2, clusters=(14, 16))
    columns["one"] = np.ones(len(columns["y"]))
    results = run(write, columns, [Y | {"covariates": ["x"]}])[1]
    row, centre, moved = results.one(**DIFFERENCE), columns["x"].mean(), {}
    parts = {a: of_arm(columns, a, "y", "x", "one")[0] for a in "ab"}
    over = {a: (x - centre * n) / n.mean() for a, (_, x, n) in parts.items()}
    middle = np.concatenate([over["a"], over["b"]]).mean()
    for arm, (y, _, n) in parts.items():
        g, mean = len(y), y.sum() / n.sum()
        error = (y - mean * n) / n.mean() / (1 - n / n.sum()) * (1 - 1 / g)
        slope = np.polyfit(over[arm], error, 1)[0]
        moved[arm] = mean - slope * (over[arm].mean() - middle)
    assert row.estimate == pytest.approx(moved["b"] - moved["a"], rel=1e-9)
    assert results.one(estimand="variance_reduction").estimate > 0.2
    assert row.std_error < results.one(estimand="unadjusted_difference").std_error


def test_a_segments_covariate_is_centred_there(write):
    """A region whose covariate lies far off: its clusters' sizes are not taken for it."""
    near, far = shops(seed=3), shops(seed=4)
    columns = {k: np.concatenate([near[k], far[k]]) for k in near if k != "shop"}
    columns["shop"] = [*near["shop"], *(f"far {s}" for s in far["shop"])]
    columns["region"] = np.repeat(["near", "far"], [len(near["y"]), len(far["y"])])
    metric = Y | {"covariates": ["x"]}
    first = run(write, columns, [metric], segments=["region"])[1]
    columns["x"] = columns["x"] + 1000.0 * (columns["region"] == "far")
    moved = run(write, columns, [metric], segments=["region"])[1]
    for level in ("near", "far"):
        where = {"estimand": "mean_difference", "segment": "region", "level": level}
        a, b = first.one(**where), moved.one(**where)
        assert b.estimate == pytest.approx(a.estimate, rel=1e-6)
        assert b.std_error == pytest.approx(a.std_error, rel=1e-6)


def test_units_that_are_alike_in_a_cluster_are_no_more_than_clusters(write):
    """Each shop's units all the same: the test is that of the shops' means."""
    count = 16
    rng = np.random.default_rng(5)
    mean, shop = rng.normal(size=count), np.repeat(np.arange(count), 25)
    arm = np.array(["a", "b"])[shop % 2]
    row = run(write, {"arm": arm, "shop": shop, "y": mean[shop]})[1].one(**DIFFERENCE)
    theirs = stats.ttest_ind(mean[1::2], mean[::2], equal_var=False)
    assert row.p_value == pytest.approx(theirs.pvalue, rel=1e-9)


# -- the inputs at which peers fail --------------------------------------------------------------


def test_one_cluster_an_arm_has_no_error(write):
    _, results, verdict = run(write, shops(clusters=(1, 1)))
    row = results.one(**DIFFERENCE)
    assert row.estimate is not None
    assert row.std_error is row.p_value is row.ci_low is None
    assert row.note.startswith("too_few_units")
    assert verdict.decision == "invalid"


def test_two_clusters_an_arm_have_one(write):
    row = run(write, shops(clusters=(2, 2), even=True))[1].one(**DIFFERENCE)
    assert row.ci_low < row.estimate < row.ci_high
    assert row.p_value > 0.01


def cr2(y, treated, cluster):
    """The difference's error by Bell and McCaffrey's CR2, from rows: sandwich, (I - H)^(-1/2)."""
    x = np.column_stack([np.ones(len(y)), treated])
    bread = np.linalg.inv(x.T @ x)
    left, meat = y - x @ bread @ x.T @ y, np.zeros((2, 2))
    for g in np.unique(cluster):
        rows = cluster == g
        values, vectors = np.linalg.eigh(np.eye(rows.sum()) - x[rows] @ bread @ x[rows].T)
        root = vectors @ np.diag(1 / np.sqrt(values)) @ vectors.T
        score = x[rows].T @ root @ left[rows]
        meat += np.outer(score, score)
    return math.sqrt((bread @ meat @ bread)[1, 1])


@pytest.mark.parametrize(
    ("sizes", "above"), [((30,) * 5, 1e-9), ((10, 20, 30, 80, 100), 0.25)], ids=["even", "uneven"]
)
def test_five_clusters_an_arm_have_an_error_beside_cr2s(write, sizes, above):
    """Even clusters: CR2's. Uneven ones: more, as a jackknife has it, but not by much."""
    rng = np.random.default_rng(4)
    shop = np.repeat(np.arange(10), sizes * 2)
    y = 3 + rng.normal(size=10)[shop] + rng.normal(size=len(shop))
    arm = np.where(shop < 5, "a", "b")
    columns = {"arm": arm, "shop": shop.astype(str), "y": y, "d": np.ones(len(y)), "x": y}
    row = run(write, columns)[1].one(**DIFFERENCE)
    ratio = row.std_error / cr2(y, (arm == "b").astype(float), shop)
    assert 1 - 1e-9 < ratio < 1 + above
    assert row.p_value > 0.05


def test_one_huge_cluster_is_few_clusters(write):
    columns = shops(seed=6)
    count = 20_000
    more = {"arm": ["b"] * count, "shop": ["huge"] * count}
    more |= {c: np.random.default_rng(0).normal(size=count) for c in "yx"} | {"d": np.ones(count)}
    columns = {k: np.concatenate([columns[k], more[k]]) for k in columns}
    row = run(write, columns)[1].one(**DIFFERENCE)
    assert row.p_value is row.ci_low is None
    b = np.asarray(columns["arm"]) == "b"
    assert row.estimate == pytest.approx(columns["y"][b].mean() - columns["y"][~b].mean())
    assert row.note.startswith("few_clusters")


@pytest.mark.parametrize(
    ("times", "in_both", "told"), [(20, False, True), (20, True, False), (4, False, False)]
)
def test_an_arm_without_clusters_as_large_as_the_others_is_told(write, times, in_both, told):
    """Whether arm b differs, or only the six shops that are large, nobody can know."""
    rng = np.random.default_rng(16)
    shop = np.arange(40)
    arm = np.where(shop < 20, "a", "b")
    large = (shop % 20 < 6) & (in_both | (arm == "b"))
    at = np.repeat(shop, np.where(large, 10 * times, 10))
    y = rng.normal(size=40)[at] + rng.normal(size=len(at))
    columns = {"arm": arm[at], "shop": at.astype(str), "y": y}
    row = run(write, columns)[1].one(**DIFFERENCE)
    assert (row.note or "").startswith("unlike_clusters") == told
    assert (row.p_value is None) == told
    b = columns["arm"] == "b"
    assert row.estimate == pytest.approx(y[b].mean() - y[~b].mean())


def test_missing_outcomes_are_left_out_of_their_clusters(write):
    columns = shops(seed=7)
    gone = np.random.default_rng(8).random(len(columns["y"])) < 0.5
    gone |= np.asarray(columns["shop"]) == "s3"
    kept = {k: np.asarray(v)[~gone] for k, v in columns.items()}
    columns["y"] = [None if g else float(v) for g, v in zip(gone, columns["y"], strict=True)]
    row = run(write, columns, [Y | {"missing": "drop"}])[1].one(**DIFFERENCE)
    alone = run(write, kept)[1].one(**DIFFERENCE)
    assert row.estimate == pytest.approx(alone.estimate, rel=1e-9)
    assert row.std_error == pytest.approx(alone.std_error, rel=1e-9)


def test_a_control_mean_near_zero_has_an_unbounded_lift(write):
    columns = shops(seed=9)
    inside = columns["arm"] == "a"
    columns["y"][inside] -= columns["y"][inside].mean()
    results = run(write, columns)[1]
    assert results.one(estimand="relative_lift").note.startswith("unbounded")
    assert results.one(**DIFFERENCE).p_value is not None


def test_a_negative_baseline_keeps_its_sign(write):
    results = run(write, shops(seed=10, base=-10.0, effect=2.0))[1]
    lift = results.one(estimand="relative_lift")
    assert 0 < lift.ci_low < lift.estimate < lift.ci_high < 1


@pytest.mark.parametrize("covariates", [[], ["x"]], ids=str)
@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_large_means_are_compared_as_well_as_small_ones(write, offset, covariates):
    columns = shops(seed=11)
    columns["y"] = np.round(columns["y"], 3) + offset
    near = columns | {"y": columns["y"] - offset}
    metric = Y | {"covariates": covariates}
    a, b = (run(write, c, [metric])[1].one(**DIFFERENCE) for c in (near, columns))
    assert b.estimate == pytest.approx(a.estimate, rel=1e-6)
    assert b.std_error == pytest.approx(a.std_error, rel=1e-6)


def test_an_absent_arm_is_a_mismatch_of_clusters(write):
    design = DESIGN | {"expected_split": {"a": 1, "b": 1, "c": 1}}
    _, results, verdict = run(write, shops(clusters=(20, 20)), design=design)
    split = results.one(estimand="sample_ratio")
    assert split.p_value < 1e-3
    assert split.term.endswith("of clusters")
    assert verdict.decision == "invalid"
    assert results.one(arm="c", **DIFFERENCE).note.startswith("empty_arm")


@pytest.mark.parametrize("values", [(3.0, 3.0), (0.1, 0.4)])
def test_zero_variance_is_no_certainty(write, values):
    columns = shops(seed=12)
    columns["y"] = np.where(columns["arm"] == "b", values[1], values[0])
    row = run(write, columns)[1].one(**DIFFERENCE)
    assert row.estimate == pytest.approx(values[1] - values[0])
    assert row.p_value is row.ci_low is None
    assert row.note.startswith("zero_variance")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e308])
def test_values_that_are_not_finite_take_their_metric_only(write, value):
    columns = shops(seed=13)
    columns["z"] = columns["y"].copy()
    columns["z"][[3, 4]] = value
    _, results, verdict = run(write, columns, [Y, {"name": "z", "kind": "mean"}])
    row = results.one(metric="z", **DIFFERENCE)
    assert row.p_value is None or row.p_value > 0.01
    assert row.p_value is not None or row.note
    assert results.one(metric="y", **DIFFERENCE).p_value is not None
    assert verdict.decision != "invalid"


def test_a_ratio_whose_denominator_is_zero_in_an_arm_is_a_null(write):
    columns = shops(seed=14)
    columns["d"] = np.where(columns["arm"] == "b", 0.0, columns["d"])
    row = run(write, columns, [RATIO])[1].one(**DIFFERENCE)
    assert row.estimate is None
    assert row.note.startswith("zero_denominator")


def test_too_few_clusters_for_a_covariate_are_not_adjusted(write):
    results = run(write, shops(seed=15, clusters=(6, 7)), [Y | {"covariates": ["x"]}])[1]
    assert results.one(**DIFFERENCE).note.startswith("not_adjusted")
    assert not results.where(estimand="variance_reduction").rows


def test_groups_plan_no_share_of_the_customers(write):
    """Twelve shops an arm, with 87 of 100 customers in one of them: as was planned."""
    shop = np.repeat(np.arange(24), np.where(np.arange(24) < 12, 30, 200))
    columns = {"arm": np.where(shop < 12, "a", "b"), "shop": shop.astype(str)}
    columns["y"] = np.random.default_rng(0).normal(size=len(shop))
    checks = run(write, columns)[0].checks
    assert all(c.ok for c in checks)
    said = [c.text for c in checks if c.code == "arms"]
    assert len(said) == 2
    assert not any("planned" in s for s in said)


# -- covariates, which no arm can have moved -----------------------------------------------------


def test_covariates_of_clusters_are_compared_as_a_metric_of_clusters_is(write):
    columns = shops(seed=17)
    other = {"name": "x", "kind": "mean"}
    _, results, verdict = run(write, columns, [Y | {"covariates": ["x"]}, other])
    row = results.one(estimand="covariate_difference")
    same = results.one(metric="x", **DIFFERENCE)
    assert (row.estimate, row.std_error) == (same.estimate, same.std_error)
    assert row.p_value >= same.p_value
    assert row.method.startswith("sums by cluster")
    assert "covariate_differs" not in {r.code for r in verdict.reasons}


def test_a_covariate_that_the_clusters_arm_moved_makes_the_test_invalid(write):
    columns = shops(seed=18, clusters=(20, 20))
    columns["x"] = columns["x"] + 3.0 * (np.asarray(columns["arm"]) == "b")
    _, _, verdict = run(write, columns, [Y | {"covariates": ["x"]}])
    assert verdict.decision == "invalid"
    assert verdict.reasons[0].code == "covariate_differs"


def test_customers_of_few_clusters_do_not_make_a_covariate_differ(write):
    """Shops differ by far more than chance between their customers would have it."""
    columns = shops(seed=19, clusters=(6, 6))
    shop = np.unique(np.asarray(columns["shop"]), return_inverse=True)[1]
    columns["x"] = np.random.default_rng(21).normal(size=12)[shop] * 5.0
    b = np.asarray(columns["arm"]) == "b"
    assert stats.ttest_ind(columns["x"][b], columns["x"][~b]).pvalue < 1e-6
    _, results, verdict = run(write, columns, [Y | {"covariates": ["x"]}])
    assert results.one(estimand="covariate_difference").p_value > 0.05
    assert "covariate_differs" not in {r.code for r in verdict.reasons}
