"""Local lines: against rdrobust, weighted least squares by hand, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from limit_units import CASES, case, made, senate

from retention_lab.incentives.threshold.bandwidth import mse_optimal
from retention_lab.incentives.threshold.local import (
    coefficient,
    fits,
    jump,
    line,
    neighbour_residuals,
    sides,
)


def found_of(x, y, cutoff=0.0):
    both = sides(x, y, cutoff)
    widths = mse_optimal(*both)
    return jump(*both, widths.h, widths.b)


def three(found):
    return found.conventional, found.bias_corrected, found.robust


def test_the_senate_is_rdrobusts():
    x, y, said = senate()
    found = found_of(x, y)
    names = ("Conventional", "Bias-Corrected", "Robust")
    for e, name, ends in zip(three(found), names, said["ci"], strict=True):
        assert e.value == pytest.approx(said["coef"][name], rel=1e-9)
        assert e.error == pytest.approx(said["se"][name], rel=1e-9)
        assert (e.low, e.high) == pytest.approx(ends, rel=1e-9)
        assert e.p_value == pytest.approx(said["p"][name], rel=1e-6)
    assert [found.h, found.b] == pytest.approx([w[0] for w in said["bws"]], rel=1e-9)
    assert list(found.n) == said["N_h"]


@pytest.mark.parametrize("name", CASES)
def test_made_units_are_rdrobusts(name):
    """Continuous, in cents, dollars and fours (whose pilots hold ten values at least), and few."""
    x, y, said = case(name)
    found = found_of(x, y)
    assert [found.h, found.b] == pytest.approx([said["h"], said["b"]], rel=1e-9)
    assert [e.value for e in three(found)] == pytest.approx(said["coef"], rel=1e-9)
    assert [e.error for e in three(found)] == pytest.approx(said["se"], rel=1e-9)
    assert [e.p_value for e in three(found)] == pytest.approx(said["p"], rel=1e-6)
    assert list(found.n) == said["n_h"]


def test_it_is_weighted_least_squares():
    """The conventional jump: one regression with a triangular kernel and a line a side."""
    x, y = made(5, 800, None, "normal")
    both = sides(x, y, 0.0)
    found = jump(*both, 15.0, 25.0)
    near = np.abs(x) < 15
    d = (x >= 0).astype(float)
    design = np.column_stack([np.ones_like(x), d, x, d * x])[near]
    fit = sm.WLS(y[near], design, weights=1 - np.abs(x[near]) / 15).fit()
    assert found.conventional.value == pytest.approx(fit.params[1], rel=1e-10)
    drawn = line(both[1], 15.0, np.array([0.0, 7.0]))
    level, slope = fit.params[0] + fit.params[1], fit.params[2] + fit.params[3]
    assert drawn.value == pytest.approx([level, level + 7 * slope], rel=1e-9)


def test_with_one_bandwidth_the_correction_is_a_parabola():
    """With b = h the corrected jump is that of local parabolas (Calonico et al. 2014, remark 7)."""
    x, y = made(6, 900, None, "normal")
    found = jump(*sides(x, y, 0.0), 20.0, 20.0)
    near = np.abs(x) < 20
    d = (x >= 0).astype(float)
    design = np.column_stack([np.ones_like(x), d, x, d * x, x**2, d * x**2])[near]
    fit = sm.WLS(y[near], design, weights=1 - np.abs(x[near]) / 20).fit()
    assert found.robust.value == pytest.approx(fit.params[1], rel=1e-9)


def test_neighbours_by_hand():
    """Nearest three with ties whole; as far to the left as to the right comes in together."""
    x = np.array([1.0, 2.0, 2.0, 4.0, 7.0, 7.0, 7.0, 7.0, 20.0])
    y = np.array([1.0, 3.0, 5.0, 2.0, 8.0, 1.0, 0.0, 3.0, 9.0])
    near = [
        [1, 2, 3],  # 1: both 2s, and then 4
        [0, 2, 3],  # 2: its own twin, 1, and then 4
        [0, 1, 3],
        [0, 1, 2, 4, 5, 6, 7],  # 4: both 2s, and then 1 and the 7s, both 3 away
        [5, 6, 7],
        [4, 6, 7],
        [4, 5, 7],
        [4, 5, 6],
        [4, 5, 6, 7],  # 20: the 7s, whole
    ]
    found = neighbour_residuals(sides(x, y, 0.0)[1])
    order = np.lexsort((y, x))
    expected = np.array([
        np.sqrt(len(near[i]) / (len(near[i]) + 1)) * (y[i] - y[near[i]].mean()) for i in order
    ])  # fmt: skip
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(8))
def test_neighbours_are_those_of_a_plain_search(seed):
    rng = np.random.default_rng(seed)
    x, y = np.round(rng.gamma(2, 3, 60), seed % 2), rng.normal(size=60)
    side = sides(x, y, -1.0)[1]
    expected = []
    for i, u in enumerate(side.u):
        apart = np.abs(side.u - u)
        kept = np.zeros(len(x), bool)
        kept[side.u == u] = True
        for distance in np.unique(np.round(apart, 9)):
            if kept.sum() - 1 >= 3:
                break
            kept |= apart <= distance + 1e-9
        kept[i] = False
        j = kept.sum()
        expected.append(np.sqrt(j / (j + 1)) * (side.y[i] - side.y[kept].mean()))
    assert neighbour_residuals(side) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("law", ["normal", "gamma"])
def test_the_order_of_units_changes_no_digit(law):
    x, y = made(7, 500, 0, law)
    mixed = np.random.default_rng(1).permutation(len(x))
    assert found_of(x, y) == found_of(x[mixed], y[mixed])


def test_shift_and_scale_go_through():
    """Dollars or cents, from 0 or from 49: the same question."""
    x, y = made(8, 700, 1, "gamma")
    plain, other = found_of(x, y), found_of(100 * x + 4900, 7 - 3 * y, cutoff=4900.0)
    for e, o in zip(three(plain), three(other), strict=True):
        assert o.value == pytest.approx(-3 * e.value, rel=1e-7)
        assert o.error == pytest.approx(3 * e.error, rel=1e-7)
        assert o.p_value == pytest.approx(e.p_value, rel=1e-5)
    assert (other.h, other.b) == pytest.approx((100 * plain.h, 100 * plain.b), rel=1e-7)
    assert other.n == plain.n


def test_a_mirror_turns_the_sign():
    x, y = made(9, 700, None, "normal")
    plain, other = found_of(x, y), found_of(-x, y)
    assert other.robust.value == pytest.approx(-plain.robust.value, rel=1e-9)
    assert other.robust.error == pytest.approx(plain.robust.error, rel=1e-9)
    assert (other.n, other.h) == (plain.n[::-1], pytest.approx(plain.h))


def test_a_line_has_no_bias_and_a_unit_at_the_cutoff_is_right():
    x = np.linspace(-10, 10, 201)
    y = 1 + 2 * x + 5 * (x >= 0)
    found = jump(*sides(x, y, 0.0), 4.0, 6.0)
    assert found.conventional.value == pytest.approx(5)
    assert found.robust.value == pytest.approx(5)
    assert found.limits == pytest.approx((1, 6))
    left, right = sides(x, y, 0.0)
    assert (len(left), len(right), right.u[0]) == (100, 101, 0)


def test_limits_and_errors_make_the_jump():
    x, y = made(10, 600, None, "normal")
    found = found_of(x, y)
    assert found.limits[1] - found.limits[0] == pytest.approx(found.robust.value)
    assert np.hypot(*found.errors) == pytest.approx(found.robust.error)


def test_units_twice_change_no_estimate():
    x, y = made(14, 400, None, "normal")
    plain = jump(*sides(x, y, 0.0), 15.0, 25.0)
    twice = jump(*sides(np.r_[x, x], np.r_[y, y], 0.0), 15.0, 25.0)
    for one, two in zip(three(plain), three(twice), strict=True):
        assert two.value == pytest.approx(one.value, rel=1e-9)


def test_too_few_values_are_refused():
    x = np.repeat([-3.0, -2.0, 1.0, 2.0], 30)
    both = sides(x, np.arange(120.0), 0.0)
    assert not fits(*both, 5.0, 5.0)
    with pytest.raises(ValueError, match="too few"):
        jump(*both, 5.0, 5.0)
    with pytest.raises(ValueError, match="too few"):
        mse_optimal(*both)


def test_weights_give_back_a_polynomial():
    u = np.linspace(0, 9, 40)
    y = 3 - 2 * (u / 9) + 4 * (u / 9) ** 2
    found = [coefficient(u, 9.0, 2, k) @ y for k in range(3)]
    assert found == pytest.approx([3, -2, 4])
