"""Means of several columns by arm: against numpy and statsmodels on the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from arm_rows import moments_of

from retention_lab.incentives.arms.means import clustered_means, contrast, means_of


def rows(n=400, seed=3):
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(n) < 0.4, "b", "a")
    x, z = rng.normal(size=n), rng.integers(0, 3, n).astype(float)
    y = x * (1 + (arm == "b")) + 0.3 * (arm == "b") + rng.normal(size=n)
    r = ((arm == "b") & (rng.random(n) < 0.3 + 0.1 * (x > 0))).astype(float)
    store = rng.integers(0, 12, n) * 2 + (arm == "b")
    return {"arm": arm, "x": x, "z": z, "y": y, "r": r, "store": store}


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_means_and_their_covariance_are_numpys(shift):
    d = rows()
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in ("y", "r", "x")}, shift)
    found = means_of(m, 1, ("y", "r", "x"))
    mine = np.stack([d[k][d["arm"] == "b"] for k in ("y", "r", "x")])
    np.testing.assert_allclose(found.mean, mine.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(mine) / mine.shape[1], atol=1e-14)


def test_the_adjusted_difference_is_lins_for_every_column_at_once():
    d = rows()
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in ("y", "r", "x", "z")}, 0.5)
    found = contrast(m, 1, 0, ("y", "r"), ("x", "z"))
    treated = (d["arm"] == "b").astype(float)
    x = np.column_stack([d["x"], d["z"]])
    z = x - x.mean(axis=0)
    design = np.column_stack([np.ones(len(treated)), treated, z, z * treated[:, None]])
    for i, column in enumerate(("y", "r")):
        ols = sm.OLS(d[column], design).fit()
        assert found.difference[i] == pytest.approx(ols.params[1], abs=1e-12)
    # The joint error of any combination is that of the combined column, adjusted by itself.
    w = np.array([0.7, -2.0])
    one = moments_of(
        {"arm": d["arm"]}, {"c": w[0] * d["y"] + w[1] * d["r"], "x": d["x"], "z": d["z"]}
    )
    alone = contrast(one, 1, 0, ("c",), ("x", "z"))
    assert w @ found.difference == pytest.approx(alone.difference[0], abs=1e-12)
    assert w @ found.covariance @ w == pytest.approx(alone.covariance[0, 0], rel=1e-10)
    mean, whole = found.joint()
    np.testing.assert_allclose(mean[:2] - mean[2:], found.difference)
    both = np.concatenate([w, -w])
    assert both @ whole @ both == pytest.approx(alone.covariance[0, 0], rel=1e-10)


def test_a_covariate_that_adds_nothing_changes_nothing():
    d = rows()
    columns = {k: d[k] for k in ("y", "r", "x")} | {"twice": 2 * d["x"] + 1}
    m = moments_of({"arm": d["arm"]}, columns)
    one = contrast(m, 1, 0, ("y", "r"), ("x",))
    two = contrast(m, 1, 0, ("y", "r"), ("x", "twice"))
    np.testing.assert_allclose(one.difference, two.difference, atol=1e-12)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-9)


def test_too_few_units_for_the_covariates_are_not_adjusted():
    d = {k: v[:18] for k, v in rows().items()}
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in ("y", "x", "z")})
    found = contrast(m, 1, 0, ("y",), ("x", "z"))
    plain = contrast(m, 1, 0, ("y",))
    assert found.difference == plain.difference
    assert not found.shared_arm.any()


def test_clusters_of_one_unit_are_units_and_larger_ones_are_jackknifed():
    d = rows()
    mine = d["arm"] == "b"
    own = moments_of({"arm": d["arm"][mine], "id": np.arange(mine.sum())}, {"y": d["y"][mine]}, 2.0)
    each = clustered_means(own, range(len(own.cells)), ("y",))
    plain = means_of(moments_of({"arm": d["arm"][mine]}, {"y": d["y"][mine]}), 0, ("y",))
    assert each.covariance[0, 0] == pytest.approx(plain.covariance[0, 0], rel=1e-10)
    columns = {"y": d["y"][mine], "r": d["r"][mine]}
    stores = moments_of({"arm": d["arm"][mine], "store": d["store"][mine]}, columns)
    found = clustered_means(stores, range(len(stores.cells)), ("y", "r"))
    store, values = d["store"][mine], np.stack(list(columns.values()), axis=1)
    left = np.stack([values[store != g].mean(axis=0) for g in np.unique(store)])
    off = left - values.mean(axis=0)
    groups = len(left)
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.covariance, (groups - 1) / groups * off.T @ off)
    assert (found.n, found.units) == (groups, mine.sum())


def test_columns_that_are_known_for_other_units_are_refused():
    d = rows()
    m = moments_of({"arm": d["arm"]}, {"y": d["y"], "r": d["r"]})
    n = m.n.copy()
    n[0, m.pairs.index(("r", "r"))] -= 1
    broken = type(m)(m.keys, m.pairs, m.cells, m.size, n, m.mean_x, m.mean_y, m.comoment)
    with pytest.raises(ValueError, match="same units"):
        means_of(broken, 0, ("y", "r"))


NSW = Path(__file__).parents[4] / "shared" / "golden" / "data" / "nsw_mixtape.dta"
PEOPLE = ("age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75")


def test_lalondes_experiment(golden):
    """The effect as published, and adjusted in each arm; the errors are the arms' variances.

    The reference's `adj` (1676.34) has one slope for both arms, which is another estimator; ours is
    its `lin`, whose HC2 error takes the covariates' means for known, and ours does not.
    """
    if not NSW.is_file():
        pytest.skip("nsw_mixtape.dta is not in ../shared/golden/data")
    import pandas as pd

    people = pd.read_stata(NSW)
    columns = {c: people[c].to_numpy(float) for c in ("re78", *PEOPLE)}
    m = moments_of({"arm": people["treat"].astype(int).astype(str)}, columns)
    expected = golden["lalonde"]["experimental"]
    plain = contrast(m, m.cell("1"), m.cell("0"), ("re78",))
    assert plain.difference[0] == pytest.approx(expected["itt"], rel=1e-9)
    assert plain.covariance[0, 0] ** 0.5 == pytest.approx(expected["se_hc2"], rel=1e-9)
    adjusted = contrast(m, m.cell("1"), m.cell("0"), ("re78",), PEOPLE)
    assert adjusted.difference[0] == pytest.approx(expected["lin"], rel=1e-9)
    assert adjusted.covariance[0, 0] ** 0.5 == pytest.approx(expected["lin_se_hc2"], rel=0.05)
