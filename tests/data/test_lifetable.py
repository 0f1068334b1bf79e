"""LifeTable: compressing, merging, rolling up and saving change nothing of what the rows say."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.lifetable import LifeTable, merge
from retention_lab.errors import DataError

CAUSES = ("event", "refund")
ROW_FIELDS = ("cell", "start", "stop", "cause", "n")


def table(rows, definition="", notes=None):
    arm, x, stop, cause, start, n = zip(*rows, strict=True) if rows else ([],) * 6
    return LifeTable.of(
        stop,
        cause,
        n,
        start,
        causes=CAUSES,
        definition=definition,
        notes=notes,
        arm=np.array(arm, object),
        x=np.array(x, float),
    )


def counted(t):
    """How many units there are of each kind, by the table."""
    levels = {k: t.levels[k][t.cell].tolist() for k in t.keys}
    columns = [levels[k] for k in t.keys] + [
        getattr(t, k).tolist() for k in ("start", "stop", "cause")
    ]
    return {
        tuple(row): n for *row, n in zip(*columns, t.n.tolist(), strict=True)
    }  # rows are unique, else the sums below differ


def assert_same(a, b):
    assert (a.keys, a.causes, a.definition) == (b.keys, b.causes, b.definition)
    assert dict(a.notes) == dict(b.notes)
    for key in a.keys:
        np.testing.assert_array_equal(a.levels[key], b.levels[key])
        assert a.levels[key].dtype == b.levels[key].dtype
    for name in ROW_FIELDS:
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
        assert getattr(a, name).dtype == getattr(b, name).dtype


times = st.one_of(
    st.integers(-2, 6).map(float), st.sampled_from([0.5, 1e9 + 0.25, math.nan, math.inf, -0.0])
)
row = st.tuples(
    st.sampled_from(["b", "a", None, "c"]),
    st.sampled_from([1.0, -3.0, 2.5]),
    times,
    st.integers(0, 2),
    st.one_of(st.just(-math.inf), st.integers(-1, 5).map(float)),
    st.integers(0, 3),
)
rows = st.lists(row, max_size=30)


@given(rows=rows)
@settings(max_examples=60, deadline=None)
def test_every_unit_is_counted_once_or_noted(rows):
    found, expected, left_out = table(rows), Counter(), Counter()
    for arm, x, stop, cause, start, n in rows:
        if math.isnan(stop) or stop == math.inf:
            left_out["missing_time"] += n
        elif stop < 0:
            left_out["negative_duration"] += n
        elif stop <= start:
            left_out["empty_interval"] += n
        else:
            expected[arm, x, start, stop, cause] += n
    assert counted(found) == {k: n for k, n in expected.items() if n}
    assert dict(found.notes) == {k: n for k, n in left_out.items() if n}
    assert found.size == sum(expected.values())
    order = list(zip(*(getattr(found, k) for k in ("cell", "start", "stop", "cause")), strict=True))
    assert order == sorted(set(order))
    assert sorted(set(found.cell.tolist())) == list(range(found.cells))


@given(rows=rows, cuts=st.lists(st.integers(0, 30), max_size=3), order=st.randoms())
@settings(max_examples=80, deadline=None)
def test_merge_of_any_split_in_any_order_is_the_whole(rows, cuts, order):
    ends = sorted({0, len(rows), *(min(c, len(rows)) for c in cuts)})
    parts = [table(rows[i:j]) for i, j in itertools.pairwise(ends)] or [table(rows)]
    order.shuffle(parts)
    assert_same(merge(*parts), table(rows))


@given(rows=rows)
@settings(max_examples=60, deadline=None)
def test_merge_is_associative_and_commutative(rows):
    a, b, c = table(rows), table(rows[::2]), table(rows[1:])
    assert_same(merge(merge(a, b), c), merge(a, merge(c, b)))


@given(rows=rows, copies=st.integers(2, 4))
@settings(max_examples=50, deadline=None)
def test_weights_are_copies(rows, copies):
    weighted = [(*r[:-1], r[-1] * copies) for r in rows]
    assert_same(table(weighted), table(rows * copies))


@given(rows=rows)
@settings(max_examples=60, deadline=None)
def test_rolling_up_is_the_table_without_the_key(rows):
    x, stop, cause, start, n = zip(*(r[1:] for r in rows), strict=True) if rows else ([],) * 5
    coarse = LifeTable.of(stop, cause, n, start, causes=CAUSES, x=np.array(x, float))
    assert_same(table(rows).by("x"), coarse)
    assert_same(table(rows).by(), LifeTable.of(stop, cause, n, start, causes=CAUSES))
    assert_same(table(rows).by("arm", "x"), table(rows))


@given(rows=rows)
@settings(max_examples=60, deadline=None)
def test_parts_are_the_levels_and_merge_to_the_whole(rows):
    whole = table(rows)
    parts = whole.parts("arm")
    seen = [label for (label,), _ in parts]
    assert seen == sorted(set(whole.levels["arm"]), key=lambda a: (a is None, str(a)))
    for label, part in parts:
        kept = [r for r in rows if r[0] == label[0]]
        expected = table(kept)
        assert counted(part) == counted(expected)
        assert not part.notes
        assert_same(whole.where("arm", label[0]), part)
    if parts:
        together = merge(*(p for _, p in parts))
        assert counted(together) == counted(whole)
        assert [label for label, _ in whole.parts()] == [()]
    assert whole.where("arm", "nowhere").size == 0


@given(rows=rows)
@settings(max_examples=30, deadline=None)
def test_saving_keeps_every_bit(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "lives.parquet"
    whole = table(rows, json.dumps({"as_of": "2026-01-01"}), {"order_in_the_future": 3})
    whole.save(path)
    assert_same(LifeTable.load(path), whole)


def test_levels_may_be_any_numbers_or_text():
    found = LifeTable.of(
        [1, 2, 3],
        [1, 0, 1],
        age=[30, 20, 20],
        new=[True, False, True],
        market=["CN", "fr", "CN"],
        paid=np.array([1, None, 2], object),
        mixed=np.array([1, "x", math.nan], object),
    )
    assert {k: v.dtype.kind for k, v in found.levels.items()} == {
        "age": "f",
        "new": "f",
        "market": "O",
        "paid": "f",
        "mixed": "O",
    }
    assert found.levels["age"].tolist() == [20, 20, 30]
    assert found.levels["mixed"].tolist() == ["x", None, "1"]
    assert found.by("paid").levels["paid"][:2].tolist() == [1, 2]
    assert math.isnan(found.by("paid").levels["paid"][2])


def test_keys_may_have_the_names_of_arguments():
    found = LifeTable.of([1, 2], [1, 0], split={"n": ["a", "b"], "start": [1.0, 2.0]})
    assert found.keys == ("n", "start")
    assert found.size == 2


def test_many_levels_need_no_table_of_all_combinations():
    rng = np.random.default_rng(0)
    levels = {f"x{i}": rng.normal(size=300) for i in range(12)}
    found = LifeTable.of(rng.random(300), np.ones(300, int), **levels)
    assert (found.cells, found.size) == (300, 300)
    cells = list(zip(*(found.levels[k].tolist() for k in found.keys), strict=True))
    assert cells == sorted(zip(*(v.tolist() for v in levels.values()), strict=True))
    again = LifeTable.of(
        found.stop, found.cause, **{k: v[found.cell] for k, v in found.levels.items()}
    )
    assert_same(again, found)


def test_no_rows_make_an_empty_table_that_merges():
    none = LifeTable.of([], [], arm=[])
    some = LifeTable.of([1.0], [1], arm=["a"])
    assert (none.size, none.cells, none.by().cells, none.parts("arm")) == (0, 0, 0, [])
    assert_same(merge(none, some), some)
    assert_same(merge(some, none), some)
    left_out = LifeTable.of([-1.0, math.nan], [1, 1], arm=["a", "a"])
    assert left_out.size == 0
    assert merge(left_out, some).notes == {"missing_time": 1, "negative_duration": 1}


def test_tables_of_different_things_do_not_merge():
    def at(day, arm="a", **more):
        said = json.dumps({"as_of": day})
        return LifeTable.of([1.0], [1], definition=said, arm=[arm], **more)

    with pytest.raises(DataError, match="as_of: 2026-01-01 and 2026-01-02"):
        merge(at("2026-01-01"), at("2026-01-02"))
    one = at("2026-01-01")
    with pytest.raises(DataError, match="split by"):
        merge(one, one.by())
    with pytest.raises(DataError, match="causes"):
        merge(one, at("2026-01-01", causes=("event", "refund")))
    with pytest.raises(DataError, match="'arm' is text in one"):
        merge(one, at("2026-01-01", arm=1.0))
    wide = at("2026-01-01", x=[1.0])
    with pytest.raises(DataError, match="in the orders"):
        merge(wide, wide.by("x", "arm"))
    with pytest.raises(DataError, match="nothing to merge"):
        merge()
    text = LifeTable.of([1.0], [1], definition="one")
    with pytest.raises(DataError, match="'one' and 'two'"):
        merge(text, LifeTable.of([1.0], [1], definition="two"))


def test_a_file_that_is_no_table_is_refused(tmp_path: Path):
    path = tmp_path / "lives.parquet"
    path.write_text("no")
    with pytest.raises(DataError, match="not a saved life table"):
        LifeTable.load(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DataError, match="of format 1"):
        LifeTable.load(path)
    LifeTable.of([1.0], [1], arm=["a"]).save(path)
    saved = pq.read_table(path)
    pq.write_table(saved.drop_columns(["key arm"]), path)
    with pytest.raises(DataError, match="broken life table"):
        LifeTable.load(path)


def test_tables_are_frozen():
    found = LifeTable.of([1, 2], [1, 0], arm=["a", "b"])
    with pytest.raises(ValueError, match="read-only"):
        found.n[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        found.levels["arm"][0] = "z"
    with pytest.raises(AttributeError):
        found.keys = ("x",)


def test_the_arrays_given_stay_as_they_are():
    stop, arm = np.array([2.0, 1.0]), np.array(["b", "a"], object)
    LifeTable.of(stop, [1, 0], arm=arm)
    stop[0], arm[0] = 5.0, "c"
    assert stop.tolist() == [5, 1]


def test_wrong_arguments_are_refused():
    for bad, said in (
        ({"cause": [1]}, "cause has shape"),
        ({"n": [1, -1]}, "negative"),
        ({"n": [1, 1.5]}, "n must be whole"),
        ({"n": ["a", "b"]}, "n must be whole"),
        ({"cause": [0, 2]}, r"causes must lie in 0 \.\. 1"),
        ({"cause": [0, math.nan]}, "cause must be whole"),
        ({"start": [0]}, "start has shape"),
        ({"arm": ["a"]}, "'arm' has shape"),
        ({"causes": ()}, "0 causes"),
    ):
        with pytest.raises(ValueError, match=said):
            LifeTable.of(**({"stop": [1.0, 2.0], "cause": [0, 1]} | bad))
    with pytest.raises(KeyError, match="did you mean 'cohort'"):
        LifeTable.of([1.0], [1], cohort=["a"]).by("cohrot")


def test_the_text_says_how_much_there_is_and_is_escaped_in_html():
    found = LifeTable.of([1, 2], [1, 0], n=[3, 2000], causes=["<b>"], arm=["a", "b"])
    assert repr(found) == "LifeTable(2,003 units in 2 rows and 2 cells of arm; <b> 3)"
    assert "<b>" not in found._repr_html_()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_in_arrows_format_is_the_same_as_objects(kind):
    stop, cause, n = [3.0, 1.0, -1.0, 3.0, 2.0], [1, 0, 1, 1, 0], [2, 1, 4, 5, 0]
    arm = ["b", None, "z", "b", "a"]
    chunks = pa.chunked_array([arm[:2], arm[2:]], kind)
    plain = LifeTable.of(stop, cause, n, arm=np.array(arm, object))
    for text in (chunks, pa.array(arm, kind)):
        assert_same(LifeTable.of(stop, cause, n, arm=text), plain)
    assert plain.levels["arm"].tolist() == ["b", None]
    assert plain.notes == {"negative_duration": 4}
    with pytest.raises(ValueError, match=r"'arm' has shape \(4,\)"):
        LifeTable.of(stop, cause, n, arm=chunks[:4])
