"""One outcome's jump, placebo cutoffs and bins: what is found, and what is said of nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from limit_units import made

from retention_lab.incentives.threshold.bins import binned
from retention_lab.incentives.threshold.local import sides
from retention_lab.incentives.threshold.measure import measure
from retention_lab.incentives.threshold.placebo import at_placebo, placebo_cutoffs


def test_the_jump_is_found_and_missing_outcomes_told():
    x, y = made(11, 3000, None, "normal")
    found = measure(x, y, 0.0)
    assert found.note is None
    assert abs(found.jump.robust.value - 1.5) < 4 * found.jump.robust.error
    y[::7] = np.nan
    some = measure(x, y, 0.0)
    assert some.note.startswith("missing_outcomes: ")
    kept = np.isfinite(y)
    assert some.jump == measure(x[kept], y[kept], 0.0).jump


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        (np.r_[np.linspace(-9, -1, 12), np.linspace(0, 9, 80)], None, "few_units"),
        (np.linspace(-9, 9, 200), np.full(200, 3.0), "constant_outcome"),
        (np.linspace(-9, 9, 200), 1.0 * (np.linspace(-9, 9, 200) >= 0), "constant_outcome"),
        (np.repeat([-3.0, -2, -1, 0, 1, 2], 40), None, "few_values"),
    ],
)
def test_where_there_is_none_a_note_says_why(x, y, code):
    y = np.random.default_rng(0).normal(size=len(x)) if y is None else y
    found = measure(x, y, 0.0)
    assert found.jump is None
    assert found.note.startswith(f"{code}: ")


def test_few_units_or_values_near_the_limit_are_told():
    x, y = made(4, 160, None, "normal")
    assert measure(x, y, 0.0).note.startswith("few_near: ")
    x, y = made(3, 2000, 0, "gamma")
    assert measure(x, y, 0.0).note.startswith("mass_points: ")


def test_placebos_lie_inside_their_sides_and_do_not_see_the_limit():
    x, y = made(12, 4000, None, "normal")
    at = placebo_cutoffs(x, 0.0)
    assert at == (np.median(x[x < 0]), np.median(x[x >= 0]))
    far = y + 100 * (x >= 0)  # another jump at the limit is nothing to them
    for c in at:
        plain, other = (at_placebo(x, v, 0.0, c).jump for v in (y, far))
        assert plain.robust.error == pytest.approx(other.robust.error)
        assert plain.robust.value == pytest.approx(other.robust.value, abs=1e-9)
        assert abs(plain.robust.value) < 4 * plain.robust.error
    assert placebo_cutoffs(np.array([-1.0, -1.0, 0.0, 0.0]), 0.0) == ()


def test_bins_hold_all_units_and_no_few():
    x, y = made(13, 1000, 0, "gamma")
    for side in sides(x, y, 0.0):
        found = binned(side, 30)
        assert sum(b.n for b in found) == len(side)
        assert min(b.n for b in found) >= 30
        assert len(found) <= 20
        assert sum(b.n * b.mean for b in found) == pytest.approx(side.y.sum())
        assert all(a.u < z.u for a, z in pairwise(found))
    assert binned(sides(x, y, 0.0)[0], 10_000) == []


def test_units_with_one_value_share_a_bin():
    x = np.repeat(np.arange(5.0), [200, 1, 1, 200, 3])
    found = binned(sides(x, np.arange(len(x)) * 1.0, 0.0)[1], 20)
    assert [b.n for b in found] == [200, 205]
