"""Repeated events: sums over pairs of days are those of the rows, in the engine as well."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.repeats import Repeats, count_repeats, merge
from retention_lab.data.source import Source
from retention_lab.data.sums import Sums
from retention_lab.errors import DataError
from retention_lab.experiment.spec import Data

DAYS = 8


def assert_same(a, b):
    assert a.keys == b.keys
    for key in a.keys:
        assert a.levels[key].tolist() == b.levels[key].tolist()
    for name in ("cell", "kind", "first", "second"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(a.total, b.total, rtol=1e-12)


@st.composite
def customers(draw, least=1):
    """Customers with a last day, perhaps an entry, and days of events (repeats allowed)."""
    found = []
    for _ in range(draw(st.integers(least, 12))):
        last = draw(st.integers(0, DAYS))
        entry = draw(st.one_of(st.none(), st.integers(0, max(last - 1, 0))))
        entry = entry if entry is not None and entry < last else None
        days = st.integers(0 if entry is None else entry + 1, last)
        arm = draw(st.sampled_from("ab"))
        found.append((arm, entry, last, sorted(draw(st.lists(days, max_size=5)))))
    return found


def rows(people):
    """(customer, start, stop, events) rows of `people`, cut at every event."""
    out = []
    for i, (arm, entry, last, days) in enumerate(people):
        begin = -np.inf if entry is None else entry
        for day, same in itertools.groupby(days):
            out.append((i, begin, day, len(list(same)), arm))
            begin = day
        if begin < last:
            out.append((i, begin, last, 0, arm))
    return out


def reduced(people, **more):
    who, start, stop, events, arm = zip(*rows(people), strict=True)
    return Repeats.of(who, stop, events, start, arm=np.array(arm, object), **more)


def engine(people):
    """A source, and the two texts of the retention rows of `people`."""
    null = "null::integer"
    unit = ", ".join(
        f"({i}, '2026-01', 20000 + {i}, {last}, {null if entry is None else entry}, '{arm}')"
        for i, (arm, entry, last, _) in enumerate(people)
    )
    happened = [f"({i}, {d}, 'event', {1.5 * d})" for i, p in enumerate(people) for d in p[3]] + [
        "(-1, 0, 'event', 1.0)"
    ]
    columns = 'id, cohort, origin, last, entry, "key 0"'
    return (
        f"select * from (values {unit}) as t({columns})",
        f"select * from (values {', '.join(happened)}) as t(id, age, kind, value)",
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    return Source(Data(units="x"), folder, folder)


@given(people=customers())
@settings(max_examples=100, deadline=None)
def test_sums_over_pairs_are_those_of_the_customers(people):
    r = reduced(people).by()
    grid = np.arange(DAYS + 1)
    n = np.array([[p[3].count(d) for d in grid] for p in people], float)
    y = np.array([[(p[1] is None or p[1] < d) and d <= p[2] for d in grid] for p in people], float)
    f, g = np.random.default_rng(1).normal(size=(2, len(grid)))
    step = {d: g[: int(d) + 1].sum() for d in grid}  # of marks: a sum over days up to theirs
    expected = ((n @ f - y @ g) ** 2).sum()
    found = 0.0
    value = {"event": lambda d: f[d.astype(int)], "mark": lambda d: -np.array([step[x] for x in d])}
    for kind in ("event event", "event mark", "mark mark"):
        _, one, two, total = r.rows(kind)
        left, right = kind.split()
        twice = 2.0 - ((one == two) & (left == right))
        found += (twice * total * value[left](one) * value[right](two)).sum()
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    _, day, _, count = r.rows("event")
    np.testing.assert_array_equal(count, n.sum(axis=0)[day.astype(int)])
    _, mark, _, sign = r.rows("mark")
    at_risk = [sign[mark >= d].sum() for d in grid]
    np.testing.assert_array_equal(at_risk, y.sum(axis=0))


@given(people=customers())
@settings(max_examples=60, deadline=None)
def test_the_engine_counts_as_the_rows_do(source, people):
    unit, happening = engine(people)
    assert_same(count_repeats(source, unit, happening, {"arm": "key 0"}), reduced(people))
    assert_same(count_repeats(source, unit, happening, {}), reduced(people).by())


@given(people=customers(), until=st.integers(1, DAYS))
@settings(max_examples=30, deadline=None)
def test_measures_and_the_horizon_in_the_engine(source, people, until):
    unit, happening = engine(people)
    by = {"arm": "key 0"}
    cut = [
        (arm, entry, min(last, until), [d for d in days if d <= until])
        for arm, entry, last, days in people
        if entry is None or entry < until
    ]
    once = [(arm, entry, last, sorted(set(days))) for arm, entry, last, days in people]
    if cut:
        assert_same(count_repeats(source, unit, happening, by, until=until), reduced(cut))
    assert_same(count_repeats(source, unit, happening, by, measure="days"), reduced(once))
    value = count_repeats(source, unit, happening, by, measure="value")
    who, start, stop, events, arm = map(np.array, zip(*rows(people), strict=True))
    assert_same(value, Repeats.of(who, stop, 1.5 * stop * events, start, arm=arm.astype(object)))


def test_an_event_that_ends_the_time_at_risk(source):
    unit = "select 1 as id, '' as cohort, 0 as origin, 9 as last, null::integer as entry"
    happening = (
        "select 1 as id, * from (values (2, 'event', null), (4, 'closed', null),"
        " (4, 'event', null), (6, 'event', null), (8, 'closed', null)) as t(age, kind, value)"
    )
    kept = count_repeats(source, unit, happening, {})
    ended = count_repeats(source, unit, happening, {}, ends=("closed",))
    assert_same(kept, Repeats.of([1] * 4, [2, 4, 6, 9], [1, 1, 1, 0], [-np.inf, 2, 4, 6]))
    assert_same(ended, Repeats.of([1, 1], [2, 4], [1, 1], [-np.inf, 2]))


def test_missing_levels_and_names_that_want_quoting(source):
    unit = (
        "select id, '' as cohort, 0 as origin, 5 as last, null::integer as entry, level as"
        ' "a ""b""\'", x from (values (1, \'p\', 1.5), (2, null, null), (3, null, null))'
        " as t(id, level, x)"
    )
    happening = "select 2 as id, 3 as age, 'event' as kind, null::double as value"
    r = count_repeats(source, unit, happening, {"market": 'a "b"\'', "x": "x"})
    assert r.levels["market"].tolist() == ["p", None]
    assert r.levels["x"].dtype == np.float64
    assert r.customers.tolist() == [1, 2]


@given(people=customers(2), cut=st.integers(0, 12), order=st.randoms())
@settings(max_examples=60, deadline=None)
def test_merge_of_any_split_in_any_order_is_the_whole(people, cut, order):
    ends = sorted({0, min(cut, len(people)), min(2 * cut, len(people)), len(people)})
    parts = [reduced(people[i:j]) for i, j in itertools.pairwise(ends)]
    order.shuffle(parts)
    assert_same(merge(*parts), reduced(people))


@given(people=customers(), copies=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_copies_of_a_customer_are_one_with_n(people, copies):
    weighted = reduced(people, n=np.full(len(rows(people)), copies))
    assert_same(weighted, merge(*[reduced(people)] * copies))
    assert_same(weighted, reduced(people * copies))


@given(people=customers())
@settings(max_examples=30, deadline=None)
def test_rolled_up_and_parted(people):
    r = reduced(people)
    assert_same(merge(*(p for _, p in r.parts("arm"))), r)
    assert_same(merge(*(p.by() for _, p in r.parts("arm"))), r.by())
    assert [label for (label,), _ in r.parts("arm")] == sorted({p[0] for p in people})


def test_rows_that_meet_are_one_interval():
    meets = Repeats.of([1, 1], [3, 7], [0, 1], [0, 3])
    assert_same(meets, Repeats.of([1], [7], [1], [0]))
    gap = Repeats.of([1, 1], [3, 7], [0, 1], [0, 4])
    assert gap.rows("mark")[1].tolist() == [0, 3, 4, 7]


def test_saving_keeps_every_bit(tmp_path):
    r = Repeats.of([1, 2, 3], [1 / 3, 2, 3], [0.1, 0, 2], x=[1.5, np.nan, 1.5], definition="{}")
    r.save(tmp_path / "r.parquet")
    back = Repeats.load(tmp_path / "r.parquet")
    assert back.definition == "{}"
    assert (type(back), back.keys) == (Repeats, ("x",))
    for name in ("cell", "kind", "first", "second", "total"):
        assert getattr(back, name).tobytes() == getattr(r, name).tobytes()
    np.testing.assert_array_equal(back.levels["x"], r.levels["x"])
    with pytest.raises(DataError, match="not a saved reduction"):
        Sums.load(tmp_path / "r.parquet")
    (tmp_path / "no.parquet").write_text("no")
    with pytest.raises(DataError, match="not a saved reduction of repeated events"):
        Repeats.load(tmp_path / "no.parquet")


def test_what_does_not_belong_together_does_not_merge():
    one = Repeats.of([1], [2], [1], arm=["a"])
    with pytest.raises(DataError, match="nothing to merge"):
        merge()
    with pytest.raises(DataError, match="split by"):
        merge(one, Repeats.of([1], [2], [1]))
    with pytest.raises(DataError, match="definition"):
        merge(one, Repeats.of([1], [2], [1], arm=["a"], definition="x"))
    with pytest.raises(DataError, match="text in one"):
        merge(one, Repeats.of([1], [2], [1], arm=[1.0]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1, 1], [3, 4], [0]), "shape"),
        (([1], [np.nan], [0]), "finite"),
        (([1], [3], [0], [3]), "after its start"),
        (([1, 1], [3, 5], [0, 0]), "overlap"),
        (([1, 1], [3, 5], [0, 0], [0, 3], [1, 2]), "different levels or n"),
    ],
)
def test_rows_that_make_no_sense_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Repeats.of(*arguments)


def test_an_engine_that_cannot_answer_says_so(source):
    with pytest.raises(DataError, match="the rows of retention"):
        count_repeats(source, "select 1 as id", "select 1 as id", {})


def test_no_customers_at_all(source):
    unit, happening = engine([("a", None, 3, [1])])
    none = count_repeats(source, f"{unit} where id = 7", happening, {"arm": "key 0"})
    assert (none.cells, none.customers.tolist(), none.parts("arm")) == (0, [], [])
    assert_same(none, Repeats.of([], [], [], arm=np.array([], object)))


def test_it_says_what_it_is():
    r = Repeats.of([1, 2], [2, 3], [1, 0], arm=["a", "b"])
    assert repr(r).startswith("Repeats(2 customers in 2 cells of arm; ")
    with pytest.raises(KeyError, match="did you mean 'arm'"):
        r.by("arn")
    with pytest.raises(ValueError, match="read-only"):
        r.total[0] = 3
