"""Small groups: pooled before anything is estimated, and not to be had by subtraction."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from cohort_shop import FIRST, Shop, random_shop, study
from hypothesis import given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.steps import steps
from retention_lab.survival.views import (
    OTHER,
    at_risk_on,
    followed_on,
    known_on,
    pooled,
    reference_of,
    shown,
    small_levels,
    span,
    views,
)


def table(sizes):
    """One customer a row; `sizes` is customers by level."""
    market = [level for level, n in sizes.items() for _ in range(n)]
    n = len(market)
    return LifeTable.of(np.arange(n) % 9 + 1.0, np.arange(n) % 2, market=np.array(market, object))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 25))
def test_what_is_left_is_not_small_and_nor_is_what_was_pooled(counts, min_cell):
    sizes = {f"m{i}": n for i, n in enumerate(counts)}
    life = table(sizes)
    found = pooled(life, small_levels(life, min_cell, keep=None))
    left = {level: part.size for (level,), part in found.parts("market")}
    assert sum(left.values()) == life.size
    if life.size >= min_cell:
        # So everyone less all levels but one, whichever it is, is enough.
        assert min(left.values()) >= min_cell
    large = {level for level, n in sizes.items() if n >= min_cell}
    assert len(large - set(left)) <= 1
    assert set(left) - {OTHER} <= large
    if large == set(sizes):
        assert left == sizes


def test_the_arm_is_left_alone_and_numbers_are_no_levels():
    life = LifeTable.of(
        np.ones(7), np.ones(7), arm=np.array(list("aaaaaab"), object), age=np.arange(7.0)
    )
    assert small_levels(life, 5, keep="arm") == {}
    assert small_levels(life, 2, keep=None) == {"arm": {"a", "b"}}


def test_a_missing_level_is_one_like_others():
    life = LifeTable.of(np.ones(9), np.ones(9), market=np.array(["a"] * 7 + [None] * 2, object))
    small = small_levels(life, 2, keep=None)
    assert small == {}
    assert pooled(life, small_levels(life, 3, keep=None)).levels["market"].tolist() == [OTHER]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_not_shown_of_a_day_adds_up_to_nothing_or_to_enough(data):
    groups = data.draw(st.integers(1, 6))
    falls = st.lists(st.integers(0, 9), min_size=8, max_size=8)
    drops = np.array([data.draw(falls) for _ in range(groups)])
    at_risk = np.cumsum(drops[:, ::-1], axis=1)[:, ::-1]
    min_cell = data.draw(st.integers(1, 15))
    for lasting in (True, False):
        seen = shown(at_risk, min_cell, lasting)
        assert (at_risk[seen] >= min_cell).all()
        hidden = np.where(seen, 0, at_risk).sum(axis=0)
        everything = ~seen.any(axis=0)
        assert (everything | (hidden == 0) | (hidden >= min_cell)).all()
        large = (at_risk >= min_cell).all(axis=0)
        assert seen[:, large].all() or lasting
        # A curve that ended does not come back.
        assert not lasting or (np.diff(seen.astype(int), axis=1) <= 0).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_customers_at_risk_are_counted_on_every_day_also_where_they_enter_late(seed):
    rng = np.random.default_rng(seed)
    stop = rng.integers(1, 12, 30).astype(float)
    start = np.where(rng.random(30) < 0.5, -np.inf, np.floor(stop * rng.random(30)))
    life = LifeTable.of(stop, np.ones(30), start=start)
    days = np.arange(14)
    expected = ((start < days[:, None]) & (days[:, None] <= stop)).sum(axis=1)
    assert at_risk_on(life, days).tolist() == expected.tolist()
    early = LifeTable.of(stop, np.ones(30))
    assert at_risk_on(early, days).tolist() == steps(early).at_risk_at(days).tolist()


def test_who_has_come_back_still_counts_for_the_curve():
    """288 customers, all observed to day 90: nearly all come back, and the curve is of all 288."""
    stop = np.append(np.arange(280) % 25 + 1.0, np.full(8, 90.0))
    life = LifeTable.of(stop, stop < 90)
    days = np.arange(1, 91)
    assert at_risk_on(life, days)[40] == 8
    np.testing.assert_allclose(followed_on(life, days), 288.0)
    assert known_on(life, days).tolist() == [288] * 90
    at = span(at_risk_on(life, days), 1, 20, (), followed_on(life, days))
    assert (at.last, at.covered) == (np.inf, False)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_curve_rests_on_those_at_risk_or_more_and_on_those_known_at_most(seed):
    rng = np.random.default_rng(seed)
    life = LifeTable.of(rng.integers(1, 20, 50), rng.integers(0, 3, 50), causes=("a", "b"))
    days = np.arange(1, 22)
    at_risk, known, rests = (f(life, days) for f in (at_risk_on, known_on, followed_on))
    assert (at_risk <= rests + 1e-6).all()
    assert (rests <= known + 1e-6).all()
    assert (np.diff(rests) <= 1e-6).all()


def test_a_large_group_ends_for_a_small_one_and_says_so():
    assert span(np.array([9, 8, 7, 6]), 1, 5, (3, 4)).covered
    assert not span(np.array([9, 8, 3, 1]), 1, 5, ()).covered


@pytest.mark.parametrize(
    ("at_risk", "hidden", "expected"),
    [
        ([9, 8, 7, 0], (), (1, np.inf, False)),  # nobody is left: nothing is hidden
        ([9, 8, 3, 0], (), (1, 2, False)),
        ([9, 8, 7, 6], (3, 4), (1, 2, False)),
        ([9, 8, 7, 6], (1, 2, 3, 4), (1, 0, False)),
        ([9, 8, 7, 6], (2,), (1, np.inf, False)),  # late entry of others hides single days
        ([3, 2, 1, 0], (), (1, 0, False)),
        ([0, 0, 0, 0], (), (1, np.inf, False)),
        ([0, 2, 8, 7], (), (3, np.inf, True)),
        ([4, 6, 4, 9], (), (4, np.inf, True)),
        ([6, 4, 9, 8], (), (1, 1, False)),  # the curve ends where too few were at risk
    ],
)
def test_the_days_of_a_curve(at_risk, hidden, expected):
    found = span(np.array(at_risk), 1, 5, hidden)
    assert (found.first, found.last, found.late) == expected


@pytest.mark.parametrize(
    ("key", "sizes", "level"),
    [
        ("market", {"DE": 5, "FR": 9, OTHER: 20}, "FR"),
        ("market", {"DE": 5, "(missing)": 20}, "DE"),
        ("market", {OTHER: 5, "(missing)": 20}, "(missing)"),
        ("promotion", {"sale": 50, "rest": 9}, "rest"),
        ("promotion", {"sale": 50, OTHER: 60}, "sale"),
    ],
)
def test_groups_are_compared_with_the_rest_or_the_largest_that_is_a_level(key, sizes, level):
    assert reference_of(key, sizes) == level


def test_views_of_a_study_are_cohorts_what_the_lab_makes_and_the_files_own(tmp_path):
    plan = study(
        tmp_path,
        random_shop(3),
        by=["market"],
        covariates=["market", "age"],
        promotion={"name": "sale", "from": FIRST, "to": FIRST + dt.timedelta(days=70)},
        existing=FIRST + dt.timedelta(days=40),
    )
    life = rl.reduce_cohorts(plan).life
    found = {v.key: v for v in views(plan, pooled(life, small_levels(life, 5, None)))}
    assert list(found) == ["cohort", "promotion", "customers", "market"]
    assert found["cohort"].reference is None
    assert found["promotion"].reference.level == "rest"
    assert {g.level for g in found["promotion"].groups} == {"sale", "rest"}
    sizes = {g.level: g.life.size for g in found["customers"].groups}
    assert found["customers"].reference.level == max(sizes, key=sizes.get)
    assert found["market"].reference.level == "DE"


def test_a_key_of_one_level_is_no_view_but_one_cohort_is(tmp_path):
    plan = study(tmp_path, Shop([3] * 9, [[1]] * 9, columns={"market": ["A"] * 9}), by=["market"])
    assert [v.key for v in views(plan, rl.reduce_cohorts(plan).life)] == ["cohort"]
