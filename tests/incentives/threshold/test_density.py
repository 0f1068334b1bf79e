"""The density test: against rddensity, a crowd beside the limit, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from limit_units import CASES, case, golden, senate

from retention_lab.incentives.threshold.density import density_test


def same(found, said):
    assert [found.left, found.right] == pytest.approx([said["left"], said["right"]], rel=1e-8)
    assert found.error == pytest.approx(said["se"], rel=1e-8)
    assert found.statistic == pytest.approx(said["t"], rel=1e-6)
    assert found.p_value == pytest.approx(said["p"], rel=1e-6)
    assert list(found.widths) == pytest.approx(said["h"], rel=1e-8)
    assert list(found.n) == said["n"]


@pytest.mark.parametrize("name", CASES)
def test_made_units_are_rddensitys(name):
    x, _, said = case(name)
    same(density_test(x, 0.0), said["density"])


def test_the_senate_is_rddensitys():
    x, _, _ = senate()
    same(density_test(x, 0.0), golden()["senate"]["density"])


def test_a_crowd_above_the_limit_is_seen():
    rng = np.random.default_rng(3)
    x = np.round(rng.gamma(2.6, 54 / 2.6, 20_000), 2)
    near = (x > 44) & (x < 49) & (rng.random(len(x)) < 0.3)
    x[near] = 49 + np.round(rng.exponential(2, near.sum()), 2)
    found = density_test(x, 49.0)
    assert found.p_value < 1e-6
    assert found.right > 1.3 * found.left


def test_order_shift_and_scale():
    x, _, _ = case("cents")
    plain = density_test(x, 0.0)
    mixed = density_test(np.random.default_rng(2).permutation(x), 0.0)
    assert mixed == plain
    other = density_test(100 * x + 300, 300.0)
    assert other.p_value == pytest.approx(plain.p_value, rel=1e-5)
    assert other.difference == pytest.approx(plain.difference / 100, rel=1e-6)


def test_missing_values_are_left_out_and_an_empty_side_refused():
    x, _, _ = case("continuous")
    assert density_test(np.r_[x, np.nan], 0.0) == density_test(x, 0.0)
    with pytest.raises(ValueError, match="one side"):
        density_test(x, x.max() + 1)
