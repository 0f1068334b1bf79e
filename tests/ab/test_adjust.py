"""Lin's adjustment from moments: against statsmodels on rows, and where it must step aside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import yaml

import retention_lab as rl

DESIGN = {"arm": "arm", "control": "a"}
COVARIATES = ["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]


def analysed(write, columns, metrics, **spec):
    path = write({"units": columns}, data={"units": "units.parquet"}, design=DESIGN,
                 metrics=metrics, **spec)  # fmt: skip
    plan = rl.plan(path)
    return plan, rl.analyse(plan, rl.reduce(plan))


def lin(y, treated, x):
    """OLS with full interactions, covariates centred over both arms: HC2 of the treatment."""
    z = x - x.mean(axis=0)
    design = np.column_stack([np.ones(len(y)), treated, z, z * treated[:, None]])
    fit = sm.OLS(y, design).fit(cov_type="HC2")
    return fit.params[1], fit.bse[1]


def shop(n=3000, seed=0, slope=2.0, effect=0.3):
    rng = np.random.default_rng(seed)
    arm = np.array(["a", "b"])[(rng.random(n) < 0.3).astype(int)]
    pre = rng.lognormal(size=n)
    city = np.array(["x", "y", "z"])[rng.integers(0, 3, n)]
    age = rng.normal(40, 10, n)
    treated = arm == "b"
    y = effect * treated + slope * pre * (1 + 0.5 * treated) + (city == "y") + rng.normal(size=n)
    return {"arm": arm, "pre": pre, "city": city, "age": age, "y": y}


def design_of(columns, *, missing=False):
    age = np.array([np.nan if v is None else v for v in columns["age"]], float)
    parts = [columns["pre"], columns["city"] == "y", columns["city"] == "z", np.nan_to_num(age)]
    return np.column_stack([*parts, np.isnan(age)] if missing else parts).astype(float)


METRIC = {"name": "y", "kind": "mean", "role": "primary", "covariates": ["pre", "city", "age"]}


def test_hillstrom_adjusted_for_nine_covariates_is_lins(hillstrom, tmp_path, golden):
    """Estimates to 1e-9 of statsmodels' OLS; its HC2 error differs from ours by definition.

    HC2 takes the covariates' mean for known and each unit's squared residual; ours adds what the
    sampled mean costs and takes the residuals' variance by arm. Here they differ by 0.2% at most.
    """
    metrics = [
        {"name": m, "kind": "mean", "covariates": COVARIATES}
        for m in ("spend", "conversion", "visit")
    ]
    spec = {"schema": 1, "name": "email", "title": "E-mail", "data": {"units": str(hillstrom)},
            "design": {"arm": "treatment", "control": "No E-Mail"}, "metrics": metrics}  # fmt: skip
    path = tmp_path / "email.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    plan = rl.plan(path)
    results = rl.analyse(plan, rl.reduce(plan))
    for key, expected in golden["hillstrom_itt"]["values"].items():
        arm, metric = key.split("|")
        row = results.one(metric=metric, arm=arm, estimand="mean_difference")
        assert row.estimate == pytest.approx(expected["lin_itt"], rel=1e-9)
        assert row.std_error == pytest.approx(expected["lin_se_hc2"], rel=2e-3)
        plain = results.one(metric=metric, arm=arm, estimand="unadjusted_difference")
        assert plain.estimate == pytest.approx(expected["itt"], rel=1e-9)
        gain = results.one(metric=metric, arm=arm, estimand="variance_reduction")
        assert gain.estimate == pytest.approx(1 - (row.std_error / plain.std_error) ** 2)


def test_the_estimate_is_statsmodels_with_interactions(write):
    columns = shop()
    _, results = analysed(write, columns, [METRIC])
    row = results.one(metric="y", estimand="mean_difference")
    estimate, error = lin(columns["y"], columns["arm"] == "b", design_of(columns))
    assert row.estimate == pytest.approx(estimate, rel=1e-9)
    gain = results.one(estimand="variance_reduction").estimate
    assert gain > 0.5
    assert error < row.std_error < 1.5 * error  # the slopes differ, and the mean is a sample's
    assert row.method == "Welch t after Lin's adjustment"


def test_with_equal_slopes_the_error_is_hc2s(write):
    rng = np.random.default_rng(5)
    n = 20_000
    arm = np.array(["a", "b"])[rng.integers(0, 2, n)]
    pre = rng.normal(size=n)
    y = pre + rng.normal(size=n)
    metric = {"name": "y", "kind": "mean", "covariates": ["pre"]}
    _, results = analysed(write, {"arm": arm, "pre": pre, "y": y}, [metric])
    row = results.one(estimand="mean_difference")
    estimate, error = lin(y, arm == "b", pre[:, None])
    assert row.estimate == pytest.approx(estimate, rel=1e-9)
    assert row.std_error == pytest.approx(error, rel=2e-3)


def test_missing_covariates_are_a_group_of_their_own(write):
    columns = shop(seed=1)
    gone = np.random.default_rng(9).random(3000) < 0.2
    columns["age"] = [None if g else v for g, v in zip(gone, columns["age"], strict=True)]
    plan, results = analysed(write, columns, [METRIC])
    row = results.one(metric="y", estimand="mean_difference")
    x = design_of(columns, missing=True)
    estimate, _ = lin(columns["y"], columns["arm"] == "b", x)
    assert row.estimate == pytest.approx(estimate, rel=1e-9)
    assert any("units without covariate 'age'" in c.text for c in plan.checks)


def test_where_half_of_the_outcomes_are_missing_only_known_units_count(write):
    columns = shop(seed=2)
    known = np.random.default_rng(3).random(3000) < 0.5
    columns["y"] = [v if k else None for v, k in zip(columns["y"], known, strict=True)]
    _, results = analysed(write, columns, [METRIC | {"missing": "drop"}])
    row = results.one(metric="y", estimand="mean_difference")
    y = np.array([v for v, k in zip(columns["y"], known, strict=True) if k], float)
    arm = columns["arm"][known] == "b"
    assert row.estimate == pytest.approx(lin(y, arm, design_of(columns)[known])[0], rel=1e-9)
    assert row.n + row.n_baseline == known.sum()


def test_a_ratio_is_adjusted_by_its_linearisation(write):
    rng = np.random.default_rng(4)
    n = 5000
    arm = np.array(["a", "b"])[rng.integers(0, 2, n)]
    pre = rng.gamma(2.0, size=n)
    orders = rng.poisson(pre) + 1.0
    revenue = orders * (20 + 5 * pre) + rng.normal(size=n)
    columns = {"arm": arm, "pre": pre, "orders": orders, "revenue": revenue}
    metric = {"name": "value", "kind": "ratio", "numerator": "revenue", "denominator": "orders",
              "covariates": ["pre"]}  # fmt: skip
    _, results = analysed(write, columns, [metric])
    row = results.one(estimand="ratio_difference")
    expected = []
    for a in "ba":
        y, d, x = revenue[arm == a], orders[arm == a], pre[arm == a]
        ratio = y.mean() / d.mean()
        line = (y - ratio * d) / d.mean()
        slope = np.cov(line, x)[0, 1] / x.var(ddof=1)
        expected.append(ratio - slope * (x.mean() - pre.mean()))
    assert row.estimate == pytest.approx(expected[0] - expected[1], rel=1e-9)
    assert results.one(estimand="variance_reduction").estimate > 0.3


def test_text_covariates_are_post_stratification(write):
    """Adjusted for one text alone: the strata's differences, weighted by the strata's sizes."""
    columns = shop(seed=6)
    metric = {"name": "y", "kind": "mean", "covariates": ["city"]}
    _, results = analysed(write, columns, [metric])
    frame = pd.DataFrame(columns)
    means = frame.groupby(["city", "arm"])["y"].mean().unstack()
    share = frame["city"].value_counts(normalize=True)
    expected = ((means["b"] - means["a"]) * share).sum()
    assert results.one(estimand="mean_difference").estimate == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_covariates_far_from_zero_keep_their_digits(write, offset):
    columns = shop(seed=7)
    columns["pre"] = np.round(columns["pre"], 2)
    near = analysed(write, columns, [METRIC])[1].one(estimand="mean_difference")
    columns = columns | {"pre": columns["pre"] + offset}
    far = analysed(write, columns, [METRIC])[1].one(estimand="mean_difference")
    assert far.estimate == pytest.approx(near.estimate, rel=1e-3)
    assert far.std_error == pytest.approx(near.std_error, rel=1e-3)


def test_collinear_and_constant_covariates_do_no_harm(write):
    columns = shop(seed=8)
    once = analysed(write, columns, [METRIC | {"covariates": ["pre"]}])[1]
    columns |= {"same": 3 * columns["pre"] - 1, "fixed": np.full(3000, 7.0)}
    more = analysed(write, columns, [METRIC | {"covariates": ["pre", "same", "fixed"]}])[1]
    one, two = (r.one(estimand="mean_difference") for r in (once, more))
    assert two.estimate == pytest.approx(one.estimate, rel=1e-7)
    assert two.std_error == pytest.approx(one.std_error, rel=1e-7)


def test_numbers_whose_squares_are_infinite_end_nothing_and_adjust_nothing(write):
    columns = shop(seed=8)
    columns |= {"far": 1e300 * columns["pre"], "huge": 1e300 * columns["y"]}
    huge = METRIC | {"name": "huge", "value": "huge", "covariates": ["pre"]}
    both = [METRIC | {"covariates": ["pre", "far"]}, huge]
    results = analysed(write, columns, both)[1]
    once = analysed(write, columns, [METRIC | {"covariates": ["pre"]}])[1]
    one = once.one(estimand="mean_difference")
    found = results.one(metric=METRIC["name"], estimand="mean_difference")
    assert found.estimate == pytest.approx(one.estimate, rel=1e-12)
    assert found.std_error == pytest.approx(one.std_error, rel=1e-12)
    none = results.one(metric="huge", estimand="mean_difference")
    assert none.estimate is None
    assert none.note.startswith("not_finite")


def test_too_few_units_are_not_adjusted_and_it_is_said(write):
    columns = {k: v[:22] for k, v in shop(seed=10).items()}
    columns["arm"] = np.array(["a", "b"] * 11)
    _, results = analysed(write, columns, [METRIC], privacy={"min_cell": 1})
    row = results.one(estimand="mean_difference")
    plain = columns["y"][1::2].mean() - columns["y"][::2].mean()
    assert row.estimate == pytest.approx(plain, rel=1e-9)
    assert row.note.startswith("not_adjusted")
    assert not results.where(estimand="variance_reduction").rows


def test_a_covariate_that_is_infinite_is_left_out_with_a_fault(write):
    columns = shop(seed=11)
    columns["age"][5] = np.inf
    plan, results = analysed(write, columns, [METRIC])
    assert any(not c.ok and "covariate 'age'" in c.text for c in plan.checks)
    x = design_of(columns)[:, :3]
    estimate, _ = lin(columns["y"], columns["arm"] == "b", x)
    assert results.one(estimand="mean_difference").estimate == pytest.approx(estimate, rel=1e-9)


def test_merged_reductions_are_adjusted_like_the_whole(write, tmp_path):
    columns = shop(seed=12)
    half = {k: v[:1500] for k, v in columns.items()}, {k: v[1500:] for k, v in columns.items()}
    _, whole = analysed(write, columns, [METRIC], segments=["city"])
    for i, part in enumerate(half):
        path = write({"units": part}, data={"units": "units.parquet"}, design=DESIGN,
                     metrics=[METRIC], segments=["city"])  # fmt: skip
        plan = rl.plan(path)
        rl.reduce(plan).save(tmp_path / f"part{i}.parquet")
    files = [str(tmp_path / f"part{i}.parquet") for i in (0, 1)]
    path = write({}, data={"moments": files}, design=DESIGN, metrics=[METRIC], segments=["city"])
    plan = rl.plan(path)
    merged = rl.analyse(plan, rl.reduce(plan))
    for level in (None, "x", "y", "z"):
        one, two = (r.one(estimand="mean_difference", level=level) for r in (whole, merged))
        assert two.estimate == pytest.approx(one.estimate, rel=1e-9)
        assert two.std_error == pytest.approx(one.std_error, rel=1e-9)


def test_without_its_cap_a_metric_is_adjusted_as_well(write):
    columns = shop(seed=13)
    _, plain = analysed(write, columns, [METRIC])
    _, capped = analysed(write, columns, [METRIC | {"cap": {"value": 8.0}}])
    row = capped.one(estimand="uncapped_difference")
    whole = plain.one(estimand="mean_difference")
    assert (row.estimate, row.std_error) == pytest.approx((whole.estimate, whole.std_error))
    assert row.method == "Welch t after Lin's adjustment"
    assert capped.one(estimand="mean_difference").estimate < row.estimate
