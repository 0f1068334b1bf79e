"""The confidence set of a ratio: against the test that it inverts, value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention_lab.incentives.arms.fieller import Region, critical, fieller, solve

number = st.floats(-5, 5).map(lambda v: round(v, 3))
spread = st.floats(0.01, 3).map(lambda v: round(v, 3))


@given(number, number, spread, spread, st.floats(-0.95, 0.95))
def test_the_set_holds_just_the_ratios_that_the_test_does_not_reject(x, y, sx, sy, rho):
    cov = rho * sx * sy
    region = fieller(x, y, sx**2, sy**2, cov)
    z = critical(0.05)
    for r in np.concatenate([np.linspace(-30, 30, 241), [-1e4, 1e4]]):
        off = abs(x - r * y) - z * math.sqrt(sx**2 - 2 * r * cov + r * r * sy**2)
        if abs(off) > 1e-6 * (1 + abs(r)):
            assert region.holds(r) == (off < 0)


def test_shapes_have_names():
    assert fieller(3, 2, 0.01, 0.01, 0.0).shape == "interval"
    assert fieller(3, 0.1, 0.01, 0.01, 0.0).shape == "outside"
    assert fieller(0.1, 0.1, 1, 1, 0).shape == "everything"
    assert fieller(3, 0.0, 0.0, 0.0, 0.0).shape == "nothing"


def test_a_certain_denominator_scales_the_interval():
    found = fieller(2.0, 0.5, 0.04, 0.0, 0.0)
    half = critical(0.05) * 0.2
    assert (found.low, found.high) == pytest.approx(((2 - half) / 0.5, (2 + half) / 0.5))
    moved = found.mapped(lambda v: v - 1)
    assert (moved.low, moved.high) == pytest.approx((found.low - 1, found.high - 1))


def test_one_sided_sets_and_numbers_that_are_none():
    assert solve(0.0, 1.0, -4.0) == Region("interval", high=2.0)
    assert solve(0.0, -1.0, -4.0) == Region("interval", low=-2.0)
    assert solve(0.0, 0.0, 1.0).shape == "nothing"
    assert solve(math.nan, 1.0, 1.0).shape == "everything"


@pytest.mark.parametrize("size", [1e-150, 1e-9, 1e150])
def test_the_set_knows_no_units(size):
    for y in (2.0, 0.1):
        plain = fieller(3.0, y, 0.01, 0.01, 0.002)
        above = fieller(3.0 * size, y, 0.1 * size * 0.1 * size, 0.01, 0.002 * size)
        assert above.shape == plain.shape
        ends = (above.low / size, above.high / size)
        assert ends == pytest.approx((plain.low, plain.high), rel=1e-6)
