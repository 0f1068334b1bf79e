"""Rows pooled by pattern: the same likelihood, derivatives and errors as row by row."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.finegray import subdistribution
from retention_lab.survival.model.likelihood import Problem, likelihood
from retention_lab.survival.model.patterns import Patterns


def counted_rows(rng, rows=120, late=False, strata=None, competing=False):
    """Rows of six patterns (codes with a gap), times 1 .. 9, up to five units each."""
    code = rng.integers(0, 6, rows)
    stop = rng.integers(1, 10, rows).astype(float)
    cause = rng.integers(0, 3 if competing else 2, rows)
    return SurvivalData.of(
        stop,
        cause == 1,
        rng.normal(size=(6, 3))[code],
        n=rng.integers(1, 6, rows),
        start=stop - rng.integers(1, 6, rows) if late else None,
        strata=None if strata is None else rng.integers(0, strata, rows),
        competing=cause == 2 if competing else None,
        pattern=np.array([0, 1, 2, 4, 5, 7])[code],
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ties=st.sampled_from(["efron", "breslow"]),
    late=st.booleans(),
    strata=st.sampled_from([None, 3]),
    lingering=st.booleans(),
)
def test_pooled_and_row_by_row_are_the_same(seed, ties, late, strata, lingering):
    rng = np.random.default_rng(seed)
    data = counted_rows(rng, late=late and not lingering, strata=strata, competing=lingering)
    plain = dataclasses.replace(data, pattern=None)
    risk = subdistribution(data) if lingering else None
    problems = [Problem.of(d, ties, risk) for d in (data, plain)]
    assert problems[0].pooled is not None
    assert problems[1].pooled is None
    beta, weight = rng.normal(size=3) / 2, rng.normal(size=problems[0].risk.times)
    one, two = (likelihood(p, beta) for p in problems)
    np.testing.assert_allclose(one.loglik, two.loglik, rtol=1e-12)
    np.testing.assert_allclose(one.weight, two.weight, rtol=1e-12)
    for mine, theirs in (
        (one.score, two.score),
        (one.information(), two.information()),
        (one.information(weight), two.information(weight)),
        (one.schoenfeld, two.schoenfeld),
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_a_fit_is_the_same_with_robust_errors():
    data = counted_rows(np.random.default_rng(4), rows=400, late=True)
    one, two = (fit_cox(d, robust=True) for d in (data, dataclasses.replace(data, pattern=None)))
    np.testing.assert_allclose(one.coef, two.coef, rtol=1e-10)
    np.testing.assert_allclose(one.robust_error, two.robust_error, rtol=1e-10)


def test_a_life_tables_cells_are_its_patterns():
    rng = np.random.default_rng(1)
    arm = np.array(["a", "b"], object)[rng.integers(0, 2, 500)]
    table = LifeTable.of(rng.integers(0, 30, 500), rng.integers(0, 2, 500), arm=arm)
    found = Patterns.of(design(table, ["arm"]))
    assert found is not None
    assert found.n.tolist() == [int(np.sum(arm == level)) for level in ("a", "b")]


@pytest.mark.parametrize("of", [1, 3])
def test_many_patterns_are_left_as_rows(of):
    rng = np.random.default_rng(2)
    data = dataclasses.replace(counted_rows(rng), pattern=np.arange(120) // of)
    assert Patterns.of(data) is None
    assert Patterns.of(dataclasses.replace(data, pattern=None)) is None
