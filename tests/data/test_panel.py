"""Periods, starts and weights of a panel."""

from __future__ import annotations

import numpy as np

from retention_lab.data.panel import Panel, first_treated

INF = np.inf


def test_the_first_treated_period_is_the_one_that_holds_the_start():
    periods = np.array([10.0, 20.0, 30.0])
    starts = np.array([9.0, 10.0, 19.9, 20.0, 35.0, 40.0, 99.0, np.nan, INF])
    assert first_treated(starts, periods).tolist() == [0, 0, 0, 1, 2, INF, INF, INF, INF]


def test_one_period():
    assert first_treated(np.array([2.0, 3.0, 9.0]), np.array([3.0])).tolist() == [0, 0, 0]


def made(weight, adopted=(1.0, 2.0, INF), hole=None):
    market, period = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    kept = np.arange(9) != (-1 if hole is None else hole)
    return Panel(
        market=market[kept],
        period=period[kept],
        outcomes={"y": np.arange(9.0)[kept]},
        weight=np.asarray(weight, float)[kept],
        adopted=np.array(adopted),
        markets=("a", "b", "c"),
        periods=("1", "2", "3"),
    )


def test_a_market_weighs_what_it_did_before_anyone_began():
    assert made([1, 9, 9, 2, 9, 9, 3, 9, 9]).market_weight().tolist() == [1, 2, 3]
    late = made([1, 2, 9, 2, 4, 9, 3, 5, 9], adopted=(2.0, 2.0, INF))
    assert late.market_weight().tolist() == [1.5, 3, 4]


def test_a_market_that_is_not_there_before_weighs_what_it_did_before_it_began_itself():
    weight = [1, 9, 9, 2, 4, 9, 3, 5, 7]
    assert made(weight, hole=3).market_weight().tolist() == [1, 4, 3]
    assert made(weight, hole=6).market_weight().tolist() == [1, 2, 6]
    assert made(weight, hole=0).market_weight().tolist() == [0, 2, 3]


def test_a_square_has_gaps_where_rows_are_missing():
    y = made(np.ones(9), hole=4).square("y")
    assert np.isnan(y[1, 1])
    assert np.nansum(y) == 32
    assert len(made(np.ones(9), hole=4)) == 8
