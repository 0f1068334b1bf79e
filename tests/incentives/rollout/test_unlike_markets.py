"""Markets of unlike sizes, and very few of them: errors, degrees of freedom, trends and bands."""

from __future__ import annotations

import numpy as np
import pytest
from panels import panel

from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.few import effective, error_of, scale_of, sides_of
from retention_lab.incentives.rollout.pretrend import trend_test
from retention_lab.incentives.rollout.staggered import group_time_effects
from retention_lab.incentives.rollout.wild import simultaneous


def two_periods(weight, treated=6):
    """One start, two periods: a difference of two weighted means of changes, and the changes."""
    rng = np.random.default_rng(5)
    adopted = np.where(np.arange(len(weight)) < treated, 1.0, np.inf)
    change = rng.normal(size=len(weight))
    y = np.column_stack([np.zeros(len(weight)), change])
    cells = group_time_effects(y, adopted, weight)
    return Averager(cells, adopted, weight).simple().overall, change


def test_the_error_is_the_jackknife_of_each_side():
    weight = np.r_[8.0, np.ones(5), 20.0, np.linspace(0.5, 3, 11)]
    found, change = two_periods(weight)
    variance = 0.0
    for side in (slice(0, 6), slice(6, 18)):
        w, x = weight[side], change[side]
        n = len(w)
        mean = w @ x / w.sum()
        without = np.array([np.delete(w, i) @ np.delete(x, i) / np.delete(w, i).sum()
                            for i in range(n)])  # fmt: skip
        variance += (n - 1) / n * ((without - mean) ** 2).sum()
    assert error_of(found).std_error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_markets_of_one_weight_are_n_over_n_less_one():
    treated = np.arange(9) < 4
    scale = scale_of(treated, np.ones(9, bool), np.full(9, 3.0))
    assert scale == pytest.approx(np.where(treated, 4 / 3, 5 / 4))


def test_a_large_market_counts_for_few():
    assert effective(np.ones(7)) == 7
    assert effective(np.r_[1e9, np.ones(6)]) == pytest.approx(1)
    even, _ = two_periods(np.ones(18))
    large, _ = two_periods(np.r_[10.0, np.ones(17)])
    assert sides_of(even) == pytest.approx((6, 12))
    assert sides_of(large) == pytest.approx((225 / 105, 12))
    assert error_of(large).df < 2 < 7 < error_of(even).df
    alone, _ = two_periods(np.r_[1e20, np.ones(17)])
    assert error_of(alone).std_error is None


def test_two_markets_that_happen_to_agree_borrow_no_degrees_of_freedom():
    """Welch's would be those of the others, about 19; at most they are 1.2."""
    adopted = np.r_[1.0, 1.0, np.full(20, np.inf)]
    change = np.random.default_rng(1).normal(size=22)
    change[:2] = 0.3, 0.3001
    cells = group_time_effects(np.column_stack([np.zeros(22), change]), adopted)
    found = Averager(cells, adopted).simple().overall
    want = (1 / 2 + 1 / 20) ** 2 / (1 / 4 + 1 / 20**2 / 19)
    assert error_of(found).df == pytest.approx(want)


def test_trends_and_bands_know_of_weights():
    """Of markets of which one has nearly all of the weight neither can be told."""
    y, adopted = panel(treated=12, never=12, periods=8)
    large = np.where(np.arange(24) == 0, 1000.0, 1.0)
    for weight, known in ((np.ones(24), True), (large, False)):
        cells = group_time_effects(y, adopted, weight)
        parts = Averager(cells, adopted, weight).dynamic().parts
        assert (trend_test([p for p in parts if p.at < 0]) is not None) == known
        first = [p for p in parts if p.at == 0]
        half = simultaneous(first, [error_of(p) for p in first], 0.05)[0]
        assert (half is not None) == known
