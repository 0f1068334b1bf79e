"""Clusters that are few, uneven, or all of one arm: errors and degrees of freedom."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from retention_lab.incentives.observed.effects import covariance, effect, naive, shared


def shops(sizes, treated, seed=3):
    """A plain difference of units in whole shops; who is in the arm, and each unit's shop."""
    rng = np.random.default_rng(seed)
    home = np.repeat(np.arange(len(sizes)), sizes)
    mine = home < treated
    y = rng.normal(size=len(sizes))[home] + rng.normal(size=len(home))
    return naive(mine.astype(int), y, 1, 0), mine, home, y


def test_whole_shops_are_the_jackknife_of_each_side():
    found, mine, home, y = shops([40, 15, 25, 20, 3, 60, 10, 8, 11, 30], 4)
    variance = 0.0
    for side in (mine, ~mine):
        own = np.unique(home[side])
        rest = [y[side & (home != g)].mean() for g in own]
        variance += (len(own) - 1) / len(own) * ((rest - y[side].mean()) ** 2).sum()
    told = effect(found, home, mine=mine)
    # The plain difference's influences are over sqrt(n (n - 1)), so nearly.
    assert told.std_error == pytest.approx(np.sqrt(variance), rel=0.03)
    assert told.std_error > effect(found, home).std_error


def test_few_shops_of_many_have_their_own_degrees_of_freedom():
    found, mine, home, _ = shops([20] * 40, 4)
    told = shared(found.influence[None], home, mine)
    assert told.doubt is None
    assert told.df <= (1 / 4 + 1 / 36) ** 2 / (1 / 16 / 3 + 1 / 36**2 / 35) + 1e-9
    wide, narrow = effect(found, home, mine=mine), effect(found, home)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_even_shops_that_both_arms_share_are_g_over_g_less_one():
    home = np.repeat(np.arange(30), 20)
    mine = np.arange(600) % 2 == 0
    y = np.random.default_rng(2).normal(size=600)
    found = naive(mine.astype(int), y, 1, 0)
    assert covariance([found], home, mine) == pytest.approx(covariance([found], home), rel=1e-9)
    assert shared(found.influence[None], home, mine).df == pytest.approx(29)


def test_one_large_shop_is_no_sample():
    found, mine, home, _ = shops([2000, 5, 5, 5, 20, 20, 20, 20, 20], 4)
    told = effect(found, home, mine=mine)
    assert told.note.startswith("few_clusters: ")
    assert (told.estimate, told.low) == (found.theta, None)


def test_the_order_of_units_and_names_of_shops_do_not_matter():
    found, mine, home, _ = shops([40, 15, 25, 20, 3, 60, 10, 8, 11, 30], 4)
    order = np.random.default_rng(1).permutation(len(home))
    again = dataclasses.replace(found, influence=found.influence[order])
    one, two = effect(found, home, mine=mine), effect(again, 7 - home[order], mine=mine[order])
    assert two.std_error == pytest.approx(one.std_error, rel=1e-12)
    assert two.p_value == pytest.approx(one.p_value, rel=1e-9)
