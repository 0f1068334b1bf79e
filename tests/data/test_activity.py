"""Activity by age: the engine's counts are those of the rows, whatever is asked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.activity import Activity, count_activity, merge, returning_revenue
from retention_lab.data.moments import merge as merge_moments
from retention_lab.data.source import Source
from retention_lab.errors import DataError
from retention_lab.experiment.spec import Data

EDGES, WINDOWS = (0, 1, 4, 7), (1, 3)
LATE = "select 99 as id, 'a' as cohort, 0 as origin, 9 as last, 2 as entry"

people = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 8), st.lists(st.integers(0, 8), max_size=6)
    ).map(lambda p: (*p[:2], [d for d in p[2] if d <= p[1]])),
    min_size=1,
    max_size=12,
)


def assert_same(a, b):
    assert (a.keys, a.definition) == (b.keys, b.definition)
    for key in a.keys:
        assert a.levels[key].tolist() == b.levels[key].tolist()
    for name in ("cell", "kind", "first", "second", "total"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def reduced(found, **more):
    who = [i for i, p in enumerate(found) for _ in p[2]]
    days = [d for p in found for d in p[2]]
    last, cohort = [p[1] for p in found], np.array([p[0] for p in found], object)
    return Activity.of(last, who, days, EDGES, WINDOWS, cohort=cohort, **more)


def engine(found):
    unit = ", ".join(f"({i}, '{c}', {20000 + i}, {x})" for i, (c, x, _) in enumerate(found))
    rows = [f"({i}, {d}, 'event', {d + 0.5})" for i, p in enumerate(found) for d in p[2]]
    rows += [f"({i}, 0, 'origin', 10.0)" for i in range(len(found))]
    return (
        f"select *, null::integer as entry from (values {unit}) as t(id, cohort, origin, last)",
        f"select * from (values {', '.join(rows)}) as t(id, age, kind, value)",
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    return Source(Data(units="x"), folder, folder)


@given(found=people)
@settings(max_examples=60, deadline=None)
def test_the_engine_counts_as_the_rows_do(source, found):
    by, how = {"cohort": "cohort"}, {"edges": EDGES, "windows": WINDOWS}
    assert_same(count_activity(source, *engine(found), by, **how), reduced(found))


@given(found=people, cut=st.integers(0, 12), order=st.randoms())
@settings(max_examples=60, deadline=None)
def test_merge_of_any_split_in_any_order_is_the_whole(found, cut, order):
    ends = sorted({0, min(cut, len(found)), len(found)})
    parts = [reduced(found[i:j]) for i, j in itertools.pairwise(ends)]
    order.shuffle(parts)
    assert_same(merge(*parts), reduced(found))


def test_customers_seen_late_are_left_out_and_counted(source):
    unit, happening = engine([("a", 5, [1, 1, 3])])
    both = f"{unit} union all {LATE}"
    more = f"{happening} union all select 99, 4, 'event', 1.0"
    found = count_activity(source, both, more, {"cohort": "cohort"})
    assert found.customers.tolist() == [1]
    assert found.rows("entered_late")[3].tolist() == [1]
    assert found.rows("day")[1].tolist() == [1, 3]


def test_rows_after_the_last_day_are_left_out():
    found = Activity.of([2, 5], [0, 0, 1, 1], [1, 3, -1, 5])
    assert found.rows("day")[1].tolist() == [1, 5]


def test_saving_keeps_the_definition(tmp_path):
    found = reduced([("a", 5, [1, 3]), ("b", 2, [])], definition="orders")
    found.save(tmp_path / "a.parquet")
    back = Activity.load(tmp_path / "a.parquet")
    assert_same(back, found)
    assert (back.edges, back.windows) == (EDGES, WINDOWS)
    with pytest.raises(DataError, match="definition"):
        merge(found, Activity.of([1], [], [], cohort=["a"]))


@pytest.mark.parametrize("edges", [(0, 0), (3, 1), (-1, 4), (0.5, 2)])
def test_edges_that_do_not_ascend_are_refused(edges):
    with pytest.raises(ValueError, match="edges"):
        Activity.of([1], [], [], edges)


@pytest.mark.parametrize("windows", [(0,), (2, 2), (1.5,)])
def test_windows_that_are_no_days_are_refused(windows):
    with pytest.raises(ValueError, match="windows"):
        Activity.of([1], [], [], (), windows)


@given(found=people)
@settings(max_examples=30, deadline=None)
def test_revenue_of_returning_customers_by_month(source, found):
    moments = returning_revenue(source, *engine(found), {"cohort": "cohort"})
    expected = {}
    for i, (cohort, _, days) in enumerate(found):
        for age, value in [(0, 10.0), *((d, d + 0.5) for d in days)]:
            month = str(np.datetime64(20000 + i + age, "D"))[:7]
            mine = expected.setdefault((month, cohort), {}).setdefault(i, [0.0, 0.0])
            mine[0] += value if age > 0 else 0.0
            mine[1] += value
    assert moments.cells == tuple(sorted(expected))
    for i, cell in enumerate(moments.cells):
        rows = np.array(list(expected[cell].values()))
        assert moments.size[i] == len(rows)
        for j, column in enumerate(("returning", "revenue")):
            assert moments.mean(i, column) == pytest.approx(rows[:, j].mean())
        off = rows - rows.mean(axis=0)
        wanted = (off[:, 0] @ off[:, 0], off[:, 1] @ off[:, 1], off[:, 0] @ off[:, 1])
        np.testing.assert_allclose(moments.comoment[i], wanted, atol=1e-9)


def test_revenue_of_shards_adds_up(source):
    rng = np.random.default_rng(3)
    found = [("a", 8, list(rng.integers(0, 9, rng.integers(0, 5)))) for _ in range(40)]
    unit, happening = engine(found)
    whole = returning_revenue(source, unit, happening, {})
    parts = [returning_revenue(source, f"{unit} where id % 2 = {k}", happening, {}) for k in (0, 1)]
    both = merge_moments(*parts)
    assert both.cells == whole.cells
    np.testing.assert_allclose(both.comoment, whole.comoment, rtol=1e-9)
