"""Suppression: small cells are hidden, and no subtraction brings one back."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.ab.suppress import suppressed

MIN = 20
sizes = st.fixed_dictionaries({"a": st.integers(0, 60), "b": st.integers(0, 60)})
counts = st.dictionaries(st.sampled_from("pqrstu"), sizes, min_size=1)


def hide(by_level):
    return suppressed([{"s": by_level}], MIN)["s"]


def assert_safe(hidden, group, by_level):
    """What is hidden of a group whose total is shown is no single level and nothing small."""
    inside = hidden & set(group)
    if inside and inside != set(group):
        assert len(inside) >= 2
        for arm in "ab":
            together = sum(by_level[level][arm] for level in inside)
            assert together == 0 or together >= MIN


@given(counts)
@settings(max_examples=300)
def test_small_cells_are_hidden_and_cannot_be_worked_out(by_level):
    hidden = hide(by_level)
    for level, arms in by_level.items():
        if any(0 < n < MIN for n in arms.values()):
            assert level in hidden
    assert_safe(hidden, by_level, by_level)


@given(counts)
def test_nothing_is_hidden_without_need(by_level):
    small = any(0 < n < MIN for arms in by_level.values() for n in arms.values())
    assert bool(hide(by_level)) == small


def test_the_smallest_further_level_is_hidden_with_a_single_small_one():
    by_level = {"p": {"a": 5, "b": 9}, "q": {"a": 400, "b": 400}, "r": {"a": 50, "b": 60}}
    assert hide(by_level) == {"p", "r"}


def test_two_small_levels_that_stay_small_together_take_a_third():
    by_level = {"p": {"a": 5, "b": 30}, "q": {"a": 6, "b": 30}, "r": {"a": 99, "b": 99}}
    assert hide(by_level) == {"p", "q", "r"}


countries = st.fixed_dictionaries(dict.fromkeys(("DE", "FR", "LI", "US", "CA", "MX"), sizes))
REGION = {"DE": "EU", "FR": "EU", "LI": "EU", "US": "AM", "CA": "AM", "MX": "AM"}


@given(st.lists(countries, min_size=1, max_size=2))
@settings(max_examples=300)
def test_countries_cannot_be_worked_out_from_their_region(metrics):
    """Two segments, one made of the other, and two metrics with different units."""
    by_metric = []
    for by_country in metrics:
        regions = {r: {"a": 0, "b": 0} for r in ("EU", "AM")}
        for country, arms in by_country.items():
            for arm, n in arms.items():
                regions[REGION[country]][arm] += n
        by_metric.append({"country": by_country, "region": regions})
    cells = [{"country": c, "region": r} for c, r in REGION.items()]
    found = suppressed(by_metric, MIN, cells)
    for by in by_metric:
        assert_safe(found["country"], by["country"], by["country"])
        assert_safe(found["region"], by["region"], by["region"])
        for region in ("EU", "AM"):
            members = {c for c, r in REGION.items() if r == region}
            if region in found["region"]:
                assert members & found["country"]
            else:
                assert_safe(found["country"], members, by["country"])


def test_a_level_hidden_by_one_metric_is_hidden_in_all():
    few = {"s": {"p": {"a": 5, "b": 50}, "q": {"a": 90, "b": 90}, "r": {"a": 50, "b": 50}}}
    many = {"s": {level: {"a": 99, "b": 99} for level in "pqr"}}
    found = suppressed([many, few], MIN)["s"]
    assert "p" in found
    assert len(found) == 2


def crossed(table):
    """Counts and cells of a table of two segments, (row, column) -> units an arm, and crossed."""
    cells = [{"r": r, "c": c, "r x c": f"{r} x {c}"} for r, c in table]
    by = {s: {} for s in ("r", "c", "r x c")}
    for (r, c), n in table.items():
        for s, level in (("r", r), ("c", c), ("r x c", f"{r} x {c}")):
            arms = by[s].setdefault(level, {"a": 0, "b": 0})
            by[s][level] = {arm: arms[arm] + n for arm in arms}
    return by, cells


def worked_out(hidden, cells):
    """By brute force: the hidden levels whose indicator is in the span of the shown ones."""
    named = sorted({(s, cell[s]) for cell in cells for s in cell})
    row = {n: np.array([float(cell[n[0]] == n[1]) for cell in cells]) for n in named}
    shown = [np.ones(len(cells)), *(row[n] for n in named if n[1] not in hidden[n[0]])]
    gone = [row[n] for n in named if n[1] in hidden[n[0]] and row[n].sum() < len(cells)]
    rank = np.linalg.matrix_rank(shown)
    return [r for r in gone if np.linalg.matrix_rank([*shown, r]) == rank]


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("ABCDE"), st.sampled_from("pqrst")),
        st.sampled_from([3, 5, 40, 50, 60]),
        min_size=2,
    )
)
@settings(max_examples=300, deadline=None)
def test_no_sum_or_difference_of_crossed_segments_gives_a_level_away(table):
    by, cells = crossed(table)
    hidden = suppressed([by], MIN, cells)
    assert not worked_out(hidden, cells)
    small = {f"{r} x {c}" for (r, c), n in table.items() if n < MIN}
    assert small <= hidden["r x c"]


@given(
    st.dictionaries(
        st.tuples(*(st.sampled_from(levels) for levels in ("ABCD", "pqr", "xyz"))),
        st.sampled_from([4, 40, 50, 60]),
        min_size=2,
        max_size=30,
    )
)
@settings(max_examples=200, deadline=None)
def test_nor_do_three_segments_of_which_two_are_crossed(table):
    cells, by = [], {s: {} for s in ("r", "c", "t", "r x c", "c x t")}
    for (r, c, t), n in table.items():
        cell = {"r": r, "c": c, "t": t, "r x c": f"{r} x {c}", "c x t": f"{c} x {t}"}
        cells.append(cell)
        for s, level in cell.items():
            arms = by[s].get(level, {"a": 0})
            by[s][level] = {"a": arms["a"] + n}
    assert not worked_out(suppressed([by], MIN, cells), cells)


def test_a_bridge_between_two_hidden_blocks_is_no_way_back():
    """Each row and column hides two cells or more, yet B x r is margins less shown cells."""
    small = ["Ap", "Aq", "Bp", "Bq", "Br", "Cr", "Cs", "Dr", "Ds"]
    table = {(r, c): 15 if r + c in small else 90 + 10 * "ABCD".index(r) + "pqrs".index(c)
             for r in "ABCD" for c in "pqrs"}  # fmt: skip
    by, cells = crossed(table)
    by["r"] = {r: {"a": 500} for r in "ABCD"}
    by["c"] = {c: {"a": 500} for c in "pqrs"}
    first = {"r": set(), "c": set(), "r x c": {f"{a} x {b}" for a, b in small}}
    assert len(worked_out(first, cells)) == 1
    hidden = suppressed([by], MIN, cells)
    assert not worked_out(hidden, cells)
    assert not hidden["r"]
    assert len(hidden["r x c"]) == len(small) + 1


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_many_levels_take_seconds_at_most(share):
    rng = np.random.default_rng(0)
    table = {(f"r{i:03d}", f"c{j:02d}"): int(rng.integers(20, 900))
             for i in range(200) for j in range(20)}  # fmt: skip
    table |= {at: int(rng.integers(1, 20)) for at in table if rng.random() < share}
    by, cells = crossed(table)
    began = time.perf_counter()
    hidden = suppressed([by, by], MIN, cells)
    assert time.perf_counter() - began < 20
    assert {f"{r} x {c}" for (r, c), n in table.items() if n < MIN} <= hidden["r x c"]
