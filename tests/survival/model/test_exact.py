"""Exact ties: R's numbers, and all choices of deaths one by one."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from cox_cases import columns_by_r, cox_by_r, data_by_r, random_data

from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.exact import exact_likelihood
from retention_lab.survival.model.likelihood import Problem


def slow(data, beta):
    loglik, score = 0.0, np.zeros(len(beta))
    stratum = data.strata if data.strata is not None else np.zeros(data.rows, int)
    for s, t in set(zip(stratum[data.event], data.stop[data.event], strict=True)):
        inside = (stratum == s) & (data.start < t) & (data.stop >= t)
        dying = inside & data.event & (data.stop == t)
        choices = list(combinations(np.flatnonzero(inside), int(dying.sum())))
        sums = np.array([data.x[list(c)].sum(axis=0) for c in choices])
        weight = np.exp(sums @ beta)
        loglik += float(data.x[dying].sum(axis=0) @ beta) - np.log(weight.sum())
        score += data.x[dying].sum(axis=0) - weight @ sums / weight.sum()
    return loglik, score


@pytest.mark.parametrize("late", [False, True])
def test_all_choices_of_deaths(late):
    rng = np.random.default_rng(1)
    data = random_data(rng, rows=18, k=2, late=late, counts=2).expanded()
    data = dataclasses.replace(data, strata_names=("0", "1"))
    problem, beta = Problem.of(data), rng.normal(size=2) / 2
    found = exact_likelihood(problem, beta * problem.scale)
    loglik, score = slow(data, beta)
    assert found.loglik == pytest.approx(loglik, rel=1e-12)
    np.testing.assert_allclose(found.score * problem.scale, score, rtol=1e-10, atol=1e-12)
    h = 1e-5
    for j, step in enumerate(h * np.eye(2)):
        up, down = (exact_likelihood(problem, found.beta + d) for d in (step, -step))
        np.testing.assert_allclose(
            found.information()[j], -(up.score - down.score) / (2 * h), rtol=1e-5, atol=1e-7
        )


def test_r_s_numbers():
    content = cox_by_r()
    expected = content["cox"]["exact_strata"]
    rows = columns_by_r(content)
    rows["k"] = np.ones(len(rows["k"]), int)
    fit = fit_cox(data_by_r(rows, strata=True), "exact")
    np.testing.assert_allclose(fit.coef, expected["coef"], rtol=1e-9)
    np.testing.assert_allclose(fit.std_error, expected["se"], rtol=1e-9)
    np.testing.assert_allclose([fit.loglik_null, fit.loglik], expected["loglik"], rtol=1e-12)
