"""Folds: equal shares of every arm, whole clusters, the same for the same seed; threads."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import made, sample_of

from retention_lab.incentives.observed import threads as of_threads
from retention_lab.incentives.observed.crossfit import cross_fit, make_folds
from retention_lab.incentives.observed.nuisance import Boosting, Linear


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 99), st.integers(1, 4))
def test_folds_share_every_arm_equally(n, folds, seed, arms):
    arm = np.random.default_rng(seed).integers(0, arms, n)
    fold = make_folds(arm, folds, seed)
    whole = np.bincount(fold, minlength=folds)
    assert np.ptp(whole) <= 1
    for a in range(arms):
        counts = np.bincount(fold[arm == a], minlength=folds)
        assert np.ptp(counts) <= 1
    np.testing.assert_array_equal(fold, make_folds(arm, folds, seed))


@given(st.integers(2, 300), st.integers(2, 8), st.integers(0, 99))
def test_clusters_stay_whole(n, folds, seed):
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 40, n)
    fold = make_folds(rng.integers(0, 2, n), folds, seed, cluster)
    for name in np.unique(cluster):
        assert len(set(fold[cluster == name].tolist())) == 1
    sizes = [len(set(cluster[fold == f].tolist())) for f in range(folds)]
    assert max(sizes) - min(sizes) <= 1


def test_another_seed_is_another_split():
    arm = np.zeros(200, np.int64)
    assert (make_folds(arm, 5, 1) != make_folds(arm, 5, 2)).any()


def test_no_fold_is_an_error():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        make_folds(np.zeros(3, np.int64), 0, 1)


def test_nobody_is_predicted_by_a_fit_that_saw_them():
    """An outcome changed in one fold changes predictions in all the others only."""
    columns = made(300)
    sample = sample_of(columns)
    fitted = cross_fit(sample, Linear(), 4)
    moved = dict(sample.y)
    moved["y"] = sample.y["y"] + 100.0 * (fitted.fold == 2) * sample.x[:, 0]
    import dataclasses

    again = cross_fit(dataclasses.replace(sample, y=moved), Linear(), 4).crossed["y"]
    first = fitted.crossed["y"]
    before = first.expected * first.scale + first.centre
    after = again.expected * again.scale + again.centre
    same = np.isclose(before, after, rtol=1e-9, atol=1e-9).all(axis=0)
    np.testing.assert_array_equal(same, fitted.fold[first.rows] == 2)


def test_threads_are_no_more_than_free_cores(monkeypatch):
    monkeypatch.setattr(of_threads, "_others", lambda: 0)
    free = of_threads.free_cores()
    assert 1 <= free <= (os.cpu_count() or 1)
    monkeypatch.setattr(of_threads, "_others", lambda: 10_000)
    assert of_threads.free_cores() == 1
    fitted = cross_fit(sample_of(made(200)), Linear(), 2)
    assert fitted.threads == 1


def test_learners_are_held_to_their_threads():
    from threadpoolctl import threadpool_info

    with of_threads.threads(1) as number:
        assert number == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}


def test_trees_on_several_cores_are_those_on_one():
    """Every fit has its own rows and place; with one thread each, sums have one order."""
    sample = sample_of(made(900))
    alone = cross_fit(sample, Boosting(), 3, most_threads=1)
    many = cross_fit(sample, Boosting(), 3, most_threads=3)
    assert (alone.threads, many.threads) == (1, 3)
    assert alone.fits == many.fits
    np.testing.assert_array_equal(alone.crossed["y"].expected, many.crossed["y"].expected)
    np.testing.assert_array_equal(alone.crossed["y"].chance, many.crossed["y"].chance)


@pytest.mark.parametrize(("jobs", "cores", "each"), [(5, 2, 1), (1, 2, 2), (3, 1, 1)])
def test_jobs_share_the_cores_and_the_largest_is_first(jobs, cores, each):
    from threadpoolctl import threadpool_info

    seen, order = [], []

    def job(size):
        pools = [p for p in threadpool_info() if p["user_api"] == "openmp"]
        seen.extend(p["num_threads"] for p in pools)
        order.append(size)

    with of_threads.threads(cores):
        of_threads.at_once([(n, partial(job, n)) for n in range(jobs)], cores)
    assert sorted(order) == list(range(jobs))
    assert order[0] >= jobs - cores
    assert set(seen) <= {each}


def test_the_first_fits_of_a_process_are_held_to_their_threads_too():
    """OpenMP comes with scikit-learn, which is imported when the first tree is wanted."""
    code = """
import numpy as np
from unittest import mock
from retention_lab.incentives.observed import nuisance, threads
seen = []
def fit(self, *_):
    from threadpoolctl import threadpool_info
    seen.extend(p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp")
blocks = nuisance.Blocks(np.ones((8, 1)), np.ones((8, 1)), np.array([[0, 2, 4], [4, 6, 8]]))
with threads.threads(2), mock.patch.multiple(
    nuisance.Boosting, _fit_outcome=fit, _fit_odds=fit
):
    nuisance.Boosting().predict(blocks, chances=True, cores=2)
print(sorted(set(seen)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1]"


def test_a_fit_that_fails_is_not_lost():
    def fail():
        raise MemoryError

    with pytest.raises(MemoryError):
        of_threads.at_once([(1, fail), (2, lambda: None)], 2)


def test_what_others_run_is_counted():
    assert of_threads._others() >= 0


def test_an_arm_of_one_cluster_is_told():
    """Nothing is left to learn its chances from; that is no lack of customers alike."""
    s, at = sample_of(made(600)), np.arange(600)
    for clusters, good in ((1, False), (2, True)):
        shop = np.where(s.arm == 1, at % clusters, clusters + at % 9)
        found = cross_fit(dataclasses.replace(s, cluster=shop), Linear(), 5).crossed["y"]
        assert (found.doubt is None) is good
    one = dataclasses.replace(s, cluster=np.where(s.arm == 1, 0, 1 + at % 9))
    doubt = cross_fit(one, Linear(), 5).crossed["y"].doubt
    assert doubt.startswith("too_few_units: all units of the arm are of one cluster")
