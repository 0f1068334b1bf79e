"""Concordance: R's numbers, and all pairs one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
from cox_cases import columns_by_r, cox_by_r, data_by_r, random_data

from retention_lab.survival.model.concordance import concordance, concordance_of
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData


def all_pairs(risk, data):
    data, risk = data.expanded(), np.repeat(risk, data.n)
    stratum = np.zeros(data.rows, int) if data.strata is None else data.strata
    found = np.zeros(3)
    for i in np.flatnonzero(data.event):
        later = (data.stop > data.stop[i]) | ((data.stop == data.stop[i]) & ~data.event)
        others = risk[(stratum == stratum[i]) & (data.start < data.stop[i]) & later]
        found += (others < risk[i]).sum(), (others > risk[i]).sum(), (others == risk[i]).sum()
    return tuple(found)


@pytest.mark.parametrize("seed", range(12))
def test_it_counts_all_pairs(seed):
    rng = np.random.default_rng(seed)
    data = random_data(rng, late=seed % 2 == 0, strata=1 + seed % 3)
    risk = rng.integers(0, 4, data.rows) / 3.0
    found = concordance_of(risk, data)
    assert (found.concordant, found.discordant, found.tied) == all_pairs(risk, data)
    np.testing.assert_allclose(
        concordance_of(np.repeat(risk, data.n), data.expanded()).std_error,
        found.std_error,
        rtol=1e-10,
    )


@pytest.mark.parametrize("kind", ["plain", "late", "strata"])
def test_r_s_numbers_and_errors(kind):
    content = cox_by_r()
    data = data_by_r(columns_by_r(content), kind != "plain", kind == "strata")
    found = concordance(fit_cox(data), data)
    expected = content["cox"][f"{kind}_efron"]["concordance"]
    np.testing.assert_allclose([found.estimate, found.std_error], expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["cox_rossi_efron", "cox_rossi_breslow", "cox_rossi_exact"])
def test_r_s_numbers_of_rossi(name):
    inputs, expected, columns = reference.case(name)
    x = np.stack([columns[c] for c in inputs["covariates"]], axis=1)
    data = SurvivalData.of(columns["week"], columns["arrest"] == 1, x)
    found = concordance(fit_cox(data, inputs["ties"]), data)
    assert found.estimate == pytest.approx(expected["concordance"], rel=1e-11)


def test_r_s_number_of_repeat_events():
    inputs, expected, columns = reference.case("lwyy_bladder2")
    x = np.stack([columns[c] for c in inputs["covariates"]], axis=1)
    data = SurvivalData.of(columns["stop"], columns["event"] == 1, x, start=columns["start"])
    assert concordance(fit_cox(data), data).estimate == pytest.approx(
        expected["concordance"], rel=1e-11
    )


def test_rounding_makes_no_order():
    rng = np.random.default_rng(1)
    data = random_data(rng, late=False)
    risk = rng.integers(0, 3, data.rows) + 5.0
    noisy = risk * (1 + 1e-15 * rng.integers(-2, 3, data.rows))
    assert concordance_of(noisy, data) == concordance_of(risk, data)


def test_without_pairs_there_is_no_number():
    data = SurvivalData.of([1, 1], [1, 1], [[0.0], [1.0]])
    found = concordance_of(np.array([0.0, 1.0]), data)
    assert found.estimate is None
    assert found.note.startswith("no_pairs:")
    nobody = dataclasses.replace(data, event=np.zeros(2, bool))
    assert concordance(fit_cox(nobody), nobody).note.startswith("no_pairs:")
