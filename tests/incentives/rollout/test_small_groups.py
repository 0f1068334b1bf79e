"""Markets that begin alone: with covariates, in an average over groups, and in the trend test."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panels import GOLDEN

from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.few import error_of
from retention_lab.incentives.rollout.pretrend import _samples, trend_test
from retention_lab.incentives.rollout.staggered import group_time_effects

SAID = json.loads((GOLDEN / "small_groups.json").read_text())["variants"]


def lonely():
    """40 markets in 7 periods; groups of 1, 2, 6 and 1, two covariates, unequal weights."""
    rng = np.random.default_rng(20261122)
    adopted = np.r_[np.full(30, np.inf), 2.0, 3.0, 3.0, np.full(6, 4.0), 5.0]
    x = np.round(rng.normal(size=(40, 2)) + 0.4 * np.isfinite(adopted)[:, None], 3)
    w = np.round(rng.uniform(0.5, 3.0, 40), 2)
    step = rng.normal(size=(40, 7)) + (x @ np.array([0.3, -0.2]))[:, None]
    y = np.cumsum(step, axis=1)
    y = np.round(y + (np.arange(7)[None, :] >= adopted[:, None]) * (1.0 + x[:, :1]), 3)
    return y, adopted, w, x


@pytest.mark.parametrize("controls", ["never", "not_yet"])
def test_a_group_of_one_with_covariates_is_csdids(controls):
    """No more markets than covariates, or fewer: the change is fitted on the controls."""
    y, adopted, w, x = lonely()
    said = SAID[controls]
    cells = group_time_effects(y, adopted, w, x, controls)
    assert not cells.missing
    assert cells.period.tolist() == said["period"]
    assert cells.att == pytest.approx(said["att"], rel=1e-7, abs=1e-8)
    averager = Averager(cells, adopted, w)
    for name in ("simple", "groups", "dynamic", "calendar"):
        found = getattr(averager, name)().overall
        assert [found.estimate, found.std_error] == pytest.approx(said[name], rel=1e-7)


def test_controls_too_few_for_the_covariates_are_told():
    y, adopted, w, x = lonely()
    kept = np.r_[0:3, 30:40]
    cells = group_time_effects(y[kept], adopted[kept], w[kept], x[kept], "never")
    assert {why.partition(":")[0] for *_, why in cells.missing} == {"no_overlap"}
    assert not len(cells.att)


def test_the_error_over_groups_holds_how_groups_of_one_differ():
    """Nobody in a group of one differs from its mean, but the groups do from each other."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        adopted = np.r_[np.full(20, np.inf), 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
        made = Averager(group_time_effects(rng.normal(size=(26, 9)), adopted), adopted)
        overall = made.groups().overall
        found.append((overall.estimate, error_of(overall).std_error))
    estimates, errors = np.array(found).T
    assert np.sqrt((errors**2).mean()) == pytest.approx(estimates.std(), rel=0.12)


def test_markets_that_began_together_are_a_sample():
    start = np.array([3, 3, 3, 3, 5, 5, 6, 7, np.inf, np.inf, np.inf, 4.0])
    some = np.ones(12, bool)
    some[11] = False
    sizes = [np.flatnonzero(s).tolist() for s in _samples(start, some)]
    assert sizes == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    some[6:8] = False  # two of a group alone join the smallest other one
    sizes = [np.flatnonzero(s).tolist() for s in _samples(start, some)]
    assert sizes == [[0, 1, 2, 3, 4, 5], [8, 9, 10]]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_placebo_of_one_group_is_that_groups_t_test(seed):
    """The earliest rests on the last group alone: its variance is that group's, not of all."""
    rng = np.random.default_rng(seed)
    adopted = np.r_[np.full(12, np.inf), np.full(20, 2.0), np.full(5, 4.0)]
    y = rng.normal(size=(37, 5))
    parts = Averager(group_time_effects(y, adopted, controls="never"), adopted).dynamic().parts
    (earliest,) = (p for p in parts if p.at == -3)
    change = y[:, 1] - y[:, 0]
    mine, other = change[32:], change[:12]
    variance = mine.var(ddof=1) / 5, other.var(ddof=1) / 12
    found = trend_test([earliest])
    squared = (mine.mean() - other.mean()) ** 2 / sum(variance)
    assert found.statistic == pytest.approx(squared, rel=1e-9)
    df = sum(variance) ** 2 / (variance[0] ** 2 / 4 + variance[1] ** 2 / 11)
    assert found.df == pytest.approx(df, rel=1e-9)
