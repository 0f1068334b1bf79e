"""Whether a few units carry the mean of an arm."""

from __future__ import annotations

import numpy as np
import pytest

from retention_lab.incentives.arms.carriers import effective, few_carry, few_carry_values


def events(n, k):
    return np.r_[np.ones(k), np.zeros(n - k)]


def test_of_shares_it_is_how_many_it_happened_to():
    y = events(400, 12)
    assert effective(400, y.mean(), y.var()) == pytest.approx(12)
    assert effective(400, 0.0, 0.0) == 0


def test_few_are_less_than_five_or_25_where_they_make_the_error():
    assert few_carry((4.9, 400), (1.0, 1.0))
    assert not few_carry((5.1, 400), (1.0, 1.0))
    assert few_carry((24.9, 400), (4.0, 1.0))
    assert not few_carry((25.1, 400), (4.0, 1.0))
    assert not few_carry((24.9, 400), (1.0, 4.0))


@pytest.mark.parametrize("rare", [True, False])
def test_of_what_happens_to_most_those_count_to_whom_it_does_not(rare):
    for k, few in ((2, True), (40, False)):
        arms = [events(200, k), events(4000, 800)]
        arms = arms if rare else [1.0 - y for y in arms]
        assert few_carry_values(arms) == few


def test_numbers_on_both_sides_of_0_are_not_counted():
    rng = np.random.default_rng(1)
    assert not few_carry_values([rng.normal(size=50), rng.normal(size=500)])
    assert not few_carry_values([rng.gamma(3, size=50), rng.gamma(3, size=500)])
    assert few_carry_values([rng.lognormal(0, 3, 50), rng.lognormal(0, 3, 5000)])
