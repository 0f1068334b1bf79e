"""Residuals and robust errors: R's numbers, clusters, and that rows count as often as they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
from cox_cases import columns_by_r, cox_by_r, data_by_r, random_data

from retention_lab.survival.model.cox import fit_cox, state_of
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.robust import residuals


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("kind", ["plain", "late", "strata"])
def test_r_s_residuals(kind, ties):
    content = cox_by_r()
    expected = content["cox"][f"{kind}_{ties}"]
    data = data_by_r(columns_by_r(content), kind != "plain", kind == "strata", counted=False)
    fit = fit_cox(data, ties)
    found = residuals(state_of(fit, data), fit.covariance)
    for mine, name in (
        (found.martingale, "martingale"),
        (found.deviance, "deviance"),
        (found.score, "score_residuals"),
        (found.dfbeta, "dfbeta"),
    ):
        wanted = np.array(expected[name])
        np.testing.assert_allclose(mine[: len(wanted)], wanted, rtol=1e-7, atol=1e-9, err_msg=name)


def test_r_s_residuals_of_rossi():
    inputs, expected, columns = reference.case("cox_rossi_residuals")
    x = np.stack([columns[c] for c in inputs["covariates"]], axis=1)
    data = SurvivalData.of(columns["week"], columns["arrest"] == 1, x)
    fit = fit_cox(data)
    found = residuals(state_of(fit, data), fit.covariance)
    for name in ("martingale", "deviance", "score", "dfbeta", "schoenfeld"):
        key = next(k for k in expected if k.startswith(name))
        wanted = np.array(expected[key])
        np.testing.assert_allclose(getattr(found, name)[: len(wanted)], wanted, rtol=1e-7)


def test_they_add_up_to_the_score_which_is_zero():
    data = random_data(np.random.default_rng(1))
    fit = fit_cox(data)
    found = residuals(state_of(fit, data), fit.covariance)
    np.testing.assert_allclose(data.n @ found.score, 0.0, atol=1e-9)
    np.testing.assert_allclose(data.n @ found.martingale, 0.0, atol=1e-9)
    n = data.n[found.schoenfeld_row]
    np.testing.assert_allclose(n @ found.schoenfeld, 0.0, atol=1e-9)


def test_a_row_of_three_is_three_rows_not_one_of_weight_nine():
    data = dataclasses.replace(random_data(np.random.default_rng(2)), cluster=None)
    counted, expanded = (fit_cox(d, robust=True) for d in (data, data.expanded()))
    np.testing.assert_allclose(counted.robust_error, expanded.robust_error, rtol=1e-9)


def test_a_cluster_is_summed_first():
    """All rows of a cluster, and all n of a row, belong to that one cluster."""
    data = random_data(np.random.default_rng(3))
    fit = fit_cox(data)
    assert fit.clusters == len(np.unique(data.cluster))
    found = residuals(state_of(fit, data), fit.covariance)
    total = np.array(
        [
            (found.dfbeta * data.n[:, None])[data.cluster == c].sum(axis=0)
            for c in np.unique(data.cluster)
        ]
    )
    np.testing.assert_allclose(fit.robust_error, np.sqrt((total**2).sum(axis=0)), rtol=1e-9)
    np.testing.assert_allclose(fit_cox(data.expanded()).robust_error, fit.robust_error, rtol=1e-9)
    alone = dataclasses.replace(data.expanded(), cluster=np.arange(data.size))
    unclustered = dataclasses.replace(data, cluster=None)
    np.testing.assert_allclose(
        fit_cox(alone).robust_error, fit_cox(unclustered, robust=True).robust_error, rtol=1e-9
    )


def test_dfbeta_is_what_leaving_a_row_out_does():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(400, 2))
    data = SurvivalData.of(
        np.ceil(rng.exponential(9 * np.exp(-x[:, 0] / 2))), rng.random(400) < 0.8, x
    )
    fit = fit_cox(data)
    found = residuals(state_of(fit, data), fit.covariance)
    moved = []
    for row in range(25):
        kept = np.delete(np.arange(400), row)
        moved.append(
            fit.coef - fit_cox(SurvivalData.of(data.stop[kept], data.event[kept], x[kept])).coef
        )
    assert np.corrcoef(np.ravel(moved), found.dfbeta[:25].ravel())[0, 1] > 0.99
