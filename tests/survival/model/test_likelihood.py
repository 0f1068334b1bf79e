"""The partial likelihood: against a sum over all rows and deaths, replication, tiny shares."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cox_cases import random_data, slow_cox
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.survival.model.likelihood import Problem, likelihood
from retention_lab.survival.model.riskset import RiskSets
from retention_lab.survival.model.ties import MANY, death_sums

TIES = ("efron", "breslow")


def in_own_units(data, beta, ties):
    """Log-likelihood, score and information of unstandardised covariates."""
    problem = Problem.of(data, ties)
    state = likelihood(problem, beta * problem.scale)
    scale = problem.scale
    return state.loglik, state.score * scale, state.information() * np.outer(scale, scale)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_sum_over_all_deaths(seed, ties):
    rng = np.random.default_rng(seed)
    data = random_data(rng, late=seed % 2 == 0, strata=1 + seed % 3)
    beta = rng.normal(size=3) / 2
    found, slow = in_own_units(data, beta, ties), slow_cox(data, beta, ties)
    for mine, theirs in zip(found, slow, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.sampled_from(TIES))
def test_counts_are_replication_and_order_does_not_matter(seed, ties):
    rng = np.random.default_rng(seed)
    data = random_data(rng, rows=30, times=4, counts=6)
    if not data.events:
        return
    beta = rng.normal(size=3)
    order = rng.permutation(data.rows)
    fields = ("start", "stop", "event", "x", "n", "strata", "cluster")
    mixed = dataclasses.replace(data, **{f: getattr(data, f)[order] for f in fields})
    whole = in_own_units(data, beta, ties)
    for other in (data.expanded(), mixed):
        for a, b in zip(whole, in_own_units(other, beta, ties), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("deaths", [1, 2, 7, MANY, 3 * MANY + 5, 40_000])
@pytest.mark.parametrize("share", [1e-12, 1e-3, 0.5, 1.0])
def test_sums_over_deaths_hold_their_digits(deaths, share):
    shares = np.array([share, share / 3])
    found = death_sums(shares, np.array([deaths, deaths]), "efron", cubes=True)
    f = np.arange(deaths, dtype=np.longdouble) / deaths
    for i in range(2):
        r = 1 - f * np.longdouble(shares[i])
        np.testing.assert_allclose(
            found.log[i], float(np.log(r).sum()), rtol=1e-11, atol=1e-15 * deaths
        )
        for power, sums in ((1, found.first), (2, found.second), (3, found.third)):
            for m, row in enumerate(sums):
                np.testing.assert_allclose(row[i], float((f**m / r**power).sum()), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 40), (40, 3)], ids=["few strata", "many strata"])
def test_running_sums_begin_anew_in_each_stratum(shape):
    strata, times = shape
    rng = np.random.default_rng(1)
    data = random_data(rng, rows=2000, k=1, times=times, strata=strata, late=False)
    risk = RiskSets.of(data)
    values = rng.random((risk.times, 2))
    heads, tails = risk.heads(values), risk.tails(values)
    for g in range(risk.times):
        same = risk.stratum == risk.stratum[g]
        at = np.arange(risk.times)
        np.testing.assert_allclose(heads[g], values[same & (at <= g)].sum(axis=0), rtol=1e-12)
        np.testing.assert_allclose(tails[g], values[same & (at >= g)].sum(axis=0), rtol=1e-12)


def test_a_distinct_time_for_every_row_is_no_other_case():
    """More event times than rows in a chunk take another way to the same sums."""
    rng = np.random.default_rng(2)
    rows = 400
    data = random_data(rng, rows=rows, late=False, strata=1)
    stop = rng.permutation(np.arange(len(data.n)) + 1.0)
    data = dataclasses.replace(data, stop=stop, start=np.full(len(stop), -np.inf))
    beta = rng.normal(size=3) / 3
    for a, b in zip(in_own_units(data, beta, "efron"), slow_cox(data, beta, "efron"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
