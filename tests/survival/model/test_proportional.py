"""Tests of proportional hazards: R's numbers, counted rows, and what cannot be tested."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cox_cases import columns_by_r, cox_by_r, random_data

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.proportional import proportionality

TRANSFORMS = ("km", "rank", "identity", "log")


@pytest.mark.parametrize("transform", ["km", "rank"])
def test_r_s_numbers_of_rossi(transform):
    inputs, expected, columns = reference.case(f"zph_rossi_{transform}")
    x = np.stack([columns[c] for c in inputs["covariates"]], axis=1)
    data = SurvivalData.of(columns["week"], columns["arrest"] == 1, x, inputs["covariates"])
    found = proportionality(fit_cox(data), data, transform)
    np.testing.assert_allclose(found.chisq, expected["chisq"], rtol=1e-7)
    np.testing.assert_allclose(found.p_value, expected["p"], rtol=1e-7)
    np.testing.assert_array_equal(found.df, expected["df"])
    assert found.terms == (*expected["rows"][:-1], "all")


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("kind", ["plain", "late", "strata"])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "expanded"])
def test_r_s_numbers_with_a_term_of_two_columns(kind, ties, transform, counted):
    content = cox_by_r()
    expected = content["cox"][f"{kind}_{ties}"]["zph"][transform]
    rows = columns_by_r(content)
    table = LifeTable.of(
        rows["time"], rows["cause"], rows["k"],
        None if kind == "plain" else rows["entry"].astype(float), ("one", "two"), z1=rows["z1"],
        z2=rows["z2"].astype(float), g=rows["g"].astype(object), s=rows["s"].astype(float),
    )  # fmt: skip
    data = design(table, ["z1", "z2", "g"], ["s"] if kind == "strata" else [], "one")
    data = data if counted else data.expanded()
    found = proportionality(fit_cox(data, ties), data, transform)
    assert found.terms == ("z1", "z2", "g", "all")
    np.testing.assert_array_equal(found.df, expected["df"])
    np.testing.assert_allclose(found.chisq, expected["chisq"], rtol=1e-8)
    np.testing.assert_allclose(found.p_value, expected["p"], rtol=1e-8)


def test_it_finds_an_effect_that_fades():
    rng = np.random.default_rng(2)
    arm = rng.integers(0, 2, 4000).astype(float)
    time = np.where(
        rng.random(4000) < 0.3 * arm, rng.integers(1, 5, 4000), rng.integers(1, 60, 4000)
    )
    data = SurvivalData.of(time, np.ones(4000), arm[:, None])
    assert proportionality(fit_cox(data), data).p_value[-1] < 1e-6


def test_what_cannot_be_tested_has_a_reason():
    x = np.arange(6.0)[:, None] % 3
    at_zero = SurvivalData.of([0, 1, 2, 3, 4, 5], [1] * 6, x)
    assert proportionality(fit_cox(at_zero), at_zero, "log").note.startswith("time_zero:")
    once = SurvivalData.of([3] * 6, [1, 1, 0, 0, 1, 0], x)
    assert proportionality(fit_cox(once), once).note.startswith("one_time:")
    none = SurvivalData.of([1, 2, 3, 4, 5, 6], [0] * 6, x)
    assert proportionality(fit_cox(none), none).note.startswith("no_estimate:")
    assert np.isnan(proportionality(fit_cox(none), none).chisq).all()


def test_cluster_and_order_of_rows_do_not_matter():
    data = random_data(np.random.default_rng(3))
    fit = fit_cox(data)
    one, other = (proportionality(fit, d, "rank").chisq for d in (data, data.expanded()))
    np.testing.assert_allclose(one, other, rtol=1e-9)
