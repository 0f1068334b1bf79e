"""Firth's penalty: its score against differences, its maximum against a plain optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from cox_cases import random_data, slow_cox
from scipy import optimize

from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.firth import penalised
from retention_lab.survival.model.likelihood import Problem


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("seed", range(4))
def test_its_score_is_the_derivative(seed, ties):
    rng = np.random.default_rng(seed)
    data = random_data(rng, strata=1 + seed % 2)
    problem, beta, h = Problem.of(data, ties), rng.normal(size=3) / 2, 1e-5
    found = penalised(problem, beta)
    for j, step in enumerate(h * np.eye(3)):
        up, down = penalised(problem, beta + step), penalised(problem, beta - step)
        assert found.score[j] == pytest.approx(
            (up.loglik - down.loglik) / (2 * h), rel=1e-6, abs=1e-6
        )


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_its_maximum_where_a_group_has_no_events(ties):
    rng = np.random.default_rng(3)
    n = 60
    time, z = rng.integers(1, 12, n), rng.normal(size=n)
    event = rng.random(n) < 0.6
    none = ~event & (rng.random(n) < 0.5)
    data = SurvivalData.of(time, event, np.stack([z, none], axis=1), n=rng.integers(1, 3, n))

    def loss(beta):
        loglik, _, information = slow_cox(data, beta, ties)
        return -loglik - 0.5 * np.linalg.slogdet(information)[1]

    best = optimize.minimize(
        loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}
    )
    fit = fit_cox(data, ties)
    assert fit.note.startswith("monotone:")
    np.testing.assert_allclose(fit.coef, best.x, rtol=1e-5)
    assert fit.loglik - fit.loglik_null == pytest.approx(loss(np.zeros(2)) - best.fun, rel=1e-8)


def test_it_can_be_asked_for_and_counts_are_replication():
    data = random_data(np.random.default_rng(4))
    one, other = (fit_cox(d, penalty="firth") for d in (data, data.expanded()))
    assert one.penalty == "firth"
    assert one.note is None
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-8)
    assert np.all(np.abs(one.coef) < np.abs(fit_cox(data).coef) * 1.5)
