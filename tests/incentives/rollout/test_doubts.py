"""Trends before the start, the bootstrap of few markets, and bands that hold together."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from panels import panel

from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.few import error_of
from retention_lab.incentives.rollout.pretrend import trend_test
from retention_lab.incentives.rollout.staggered import group_time_effects
from retention_lab.incentives.rollout.wild import WEBB, simultaneous, webb_weights, wild_p


def averager(y, adopted, **more):
    return Averager(group_time_effects(y, adopted, **more), adopted)


def before(y, adopted):
    return [p for p in averager(y, adopted, controls="never").dynamic().parts if p.at < 0]


def test_one_placebo_is_a_t_test():
    y, adopted = panel(starts=(2,), periods=4)
    (only,) = before(y, adopted)
    found, error = trend_test([only]), error_of(only)
    assert (found.terms, found.df) == (1, pytest.approx(error.df))
    assert found.statistic == pytest.approx((only.estimate / error.std_error) ** 2)
    assert found.p_value == pytest.approx(error.p_value(only.estimate))


def test_a_trend_is_found_and_its_slope_is_about_what_is_seen():
    y, adopted = panel(treated=40, never=40, starts=(6,), periods=8)
    slope = trend_test(before(y, adopted)).slope
    apart = np.arange(8) * np.isfinite(adopted)[:, None]
    assert trend_test(before(y + 3 * slope * apart, adopted)).p_value < 1e-4
    # The slope rests on the spread alone: a trend does not move it.
    assert trend_test(before(y + slope * apart, adopted)).slope == pytest.approx(slope)
    # It is in units of the outcome a period.
    assert trend_test(before(y * 100, adopted)).slope == pytest.approx(slope * 100)


def test_as_many_placebos_as_the_markets_allow():
    y, adopted = panel(treated=40, never=9, starts=(7,), periods=9)
    assert trend_test(before(y, adopted)).terms == 3
    y, adopted = panel(treated=2, never=9, starts=(7,), periods=9)
    assert trend_test(before(y, adopted)) is None
    assert trend_test([]) is None


def test_webbs_weights():
    assert WEBB.mean() == pytest.approx(0)
    assert (WEBB**2).mean() == pytest.approx(1)
    drawn = np.concatenate(list(webb_weights(3000, 3000)))
    assert drawn.shape == (3000, 3000)
    assert abs(drawn.mean()) < 0.002
    again = np.concatenate(list(webb_weights(3000, 3000)))
    assert np.array_equal(drawn, again)


def test_the_bootstrap_is_that_of_all_patterns():
    """Five markets in all: every one of 6^5 patterns of weights, by hand from the outcomes."""
    y, adopted = panel(treated=3, never=2, starts=(1,), periods=2, effect=0.6)
    found = averager(y, adopted).simple().overall
    change = y[:, 1] - y[:, 0]
    treated = np.isfinite(adopted)
    centred = change - change[~treated].mean()

    def t_of(v, inflate=1.0):
        x = v * np.where(treated, centred / 3, -centred / 2 * inflate)
        rest = np.where(treated, x - x[treated].mean(), x - x[~treated].mean())
        scale = np.where(treated, 3 / 2, 2 / 1)
        return abs(x.sum()) / np.sqrt((rest**2 * scale).sum())

    own = t_of(np.ones(5))
    every = itertools.product(WEBB, repeat=5)
    share = np.mean([t_of(np.array(v), np.sqrt(2)) >= own * (1 - 1e-9) for v in every])
    assert wild_p(found, draws=49_999) == pytest.approx(share, abs=0.01)


def test_the_bootstrap_finds_what_is_there_and_not_what_is_not():
    assert wild_p(averager(*panel(effect=3.0)).simple().overall, draws=999) < 0.01
    p = [
        wild_p(averager(*panel(seed, effect=0.0)).simple().overall, draws=199) for seed in range(40)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.2
    assert np.mean(p) > 0.3
    assert wild_p(averager(*panel(treated=1, starts=(4,))).simple().overall) is None
    made = averager(*panel()).simple().overall
    assert wild_p(made, seed=5, draws=99) == wild_p(made, seed=5, draws=99)


def test_bands_are_wider_than_single_intervals_and_one_alone_is_itself():
    parts = averager(*panel(treated=40, never=40)).dynamic().parts
    errors = [error_of(p) for p in parts]
    together = simultaneous(parts, errors, 0.05)
    assert all(b > e.half(0.05) for b, e in zip(together, errors, strict=True))
    (alone,) = simultaneous(parts[:1], errors[:1], 0.05)
    fewer = dataclasses.replace(errors[0], df=min(errors[0].df, 19.0))
    assert alone == pytest.approx(fewer.half(0.05), rel=0.05)
    few = averager(*panel(treated=2, starts=(3,))).dynamic().parts
    assert simultaneous(few, [error_of(p) for p in few], 0.05) == [None] * len(few)
