"""Value counts: merging, rolling up and saving change nothing, and the engine's are the rows'."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.units import unit_frame
from retention_lab.data.values import (
    BITS,
    COUNT,
    GRID,
    HIGH,
    LOW,
    WIDTH,
    Distribution,
    ValueCounts,
    count_values,
    from_rows,
    merge,
)
from retention_lab.errors import DataError
from retention_lab.experiment.needs import Column

ARRAYS = ("missing", "not_finite", "cell", "grid", "low", "high", "count")


def rounded(x: float) -> float:
    """x to `BITS` significant binary digits, halves to even: by integers, not by floats."""
    if x == 0.0:
        return 0.0
    mantissa, exponent = math.frexp(x)
    whole = int(math.ldexp(mantissa, 53))
    step = 2 ** (53 - BITS)
    down, rest = divmod(whole, step)
    up = rest * 2 > step or (rest * 2 == step and down % 2 == 1)
    return math.ldexp(float((down + up) * step), exponent - 53)


def count_rows(arm, region, x, definition=""):
    """The value counts by their definition; None is missing."""
    bins = defaultdict(list)
    for a, r, v in zip(arm, region, x, strict=True):
        finite = v is not None and math.isfinite(v)
        bins[a, r, rounded(v) if finite else (None if v is None else math.nan)].append(v)
    merged = defaultdict(list)
    for (a, r, g), values in bins.items():
        merged[a, r, "nan" if g is not None and math.isnan(g) else g] += values
    grid = [math.nan if g == "nan" else g for _, _, g in merged]
    known = [[v for v in values if v is not None] or [math.nan] for values in merged.values()]
    rows = {
        GRID: np.ma.masked_array(
            [0.0 if g is None else g for g in grid], [g is None for g in grid], float
        ),
        COUNT: [len(v) for v in merged.values()],
        LOW: [min(v) for v in known],
        HIGH: [max(v) for v in known],
    }
    levels = [[k[0] for k in merged], [k[1] for k in merged]]
    return from_rows(("arm", "region"), "x", levels, rows, definition)


def assert_same(a: ValueCounts, b: ValueCounts) -> None:
    assert (a.keys, a.cells) == (b.keys, b.cells)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


numbers = st.one_of(
    st.sampled_from([None, math.nan, math.inf, 0.0, -0.0, 1.0, 1.0000001, 29.99, 3e4, 30001.0]),
    st.floats(-1e6, 1e6, allow_subnormal=False),
)
rows = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("pqr"), numbers), min_size=1, max_size=40
)


def of(rows):
    return count_rows(*zip(*rows, strict=True))


@given(rows=rows, cuts=st.lists(st.integers(0, 40), max_size=3), order=st.randoms())
@settings(max_examples=150, deadline=None)
def test_merge_of_any_split_in_any_order_is_the_whole(rows, cuts, order):
    ends = sorted({0, len(rows), *(min(c, len(rows)) for c in cuts)})
    parts = [of(rows[i:j]) for i, j in itertools.pairwise(ends)]
    order.shuffle(parts)
    assert_same(merge(*parts), of(rows))


@given(a=rows, b=rows, c=rows)
@settings(max_examples=100, deadline=None)
def test_merge_is_associative_and_commutative(a, b, c):
    a, b, c = of(a), of(b), of(c)
    assert_same(merge(merge(a, b), c), merge(a, merge(c, b)))


@given(rows=rows)
@settings(max_examples=100, deadline=None)
def test_margins_are_the_reduction_without_the_key(rows):
    arm, _, x = zip(*rows, strict=True)
    fine, coarse = of(rows), count_rows(arm, ["all"] * len(arm), x)
    assert_same(fine.roll_up("arm"), coarse.roll_up("arm"))
    assert fine.roll_up().size.tolist() == [len(rows)]
    for level in set(arm):
        one, two = fine.distribution(level), coarse.distribution(level, "all")
        assert one.up_to.tolist() == two.up_to.tolist()
        part = fine.where("arm", level)
        assert_same(part, of([r for r in rows if r[0] == level]))


@given(x=st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_every_order_statistic_is_within_the_stated_width(x):
    d = count_rows(["a"] * len(x), ["p"] * len(x), x).distribution("a", "p")
    exact = np.sort(x)
    found = d.at(np.arange(len(x)))
    assert np.all(np.abs(found - exact) <= WIDTH * np.abs(exact))
    assert np.all(np.diff(found) >= 0)
    assert (found[0], found[-1]) == (exact[0], exact[-1])


@pytest.mark.parametrize(
    "x", [np.arange(-16_384, 16_385.0), np.arange(12_800) / 100, [0.1, 1e9, 1e9, 1e-9, -3.3]]
)
def test_whole_numbers_and_cents_are_exact(x):
    d = count_rows(["a"] * len(x), ["p"] * len(x), x).distribution("a")
    assert np.array_equal(d.at(np.arange(len(x))), np.sort(x))
    positions = np.linspace(0, len(x) - 1, 77)
    expected = np.quantile(x, positions / (len(x) - 1))
    np.testing.assert_allclose(d.at(positions), expected, rtol=1e-9, atol=1e-9)


def test_positions_outside_of_the_units_are_refused():
    none = Distribution(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    one = Distribution(np.ones(1), np.ones(1), np.array([3]))
    assert (none.n, one.n) == (0, 3)
    for d, position in ((none, 0.0), (one, 2.5), (one, -0.1), (one, math.nan)):
        with pytest.raises(ValueError, match="positions must lie in"):
            d.at([position])


def engine(write, columns, segments=()):
    """The value counts of column x by the engine."""
    path = write(
        {"units": columns},
        data={"units": "units.parquet"},
        design={"arm": "arm", "control": "a"},
        metrics=[{"name": "m", "kind": "mean", "value": "arm_size"}],
        segments=list(segments),
    )
    plan = rl.plan(path)
    column = Column(name="x", how="value", value="x", missing="drop")
    frame = unit_frame(plan.source, plan.spec, plan.arms, [column])
    return count_values(plan.source, frame, ("arm", *segments), "x")


def table(x, seed=1):
    rng = np.random.default_rng(seed)
    n = len(x)
    return {
        "arm": ["a", "b", *np.array(["a", "b"])[rng.integers(0, 2, n - 2)]],
        "region": list(np.array(["p", "q", "r"])[rng.integers(0, 3, n)]),
        "arm_size": [1.0] * n,
        "x": x,
    }


def test_the_engine_counts_what_the_rows_hold(write):
    rng = np.random.default_rng(1)
    x = [*rng.lognormal(3, 2, 3000), *np.round(rng.lognormal(4, 1, 3000), 2), *[0.0, -0.0] * 500]
    x += [*rng.normal(size=500), *(10.0 ** rng.uniform(-200, 200, 500))]
    x += [None, math.nan, math.inf, -math.inf, None, 1e-300, 1e300, -1e308]
    columns = table(x)
    found = engine(write, columns, ["region"])
    large = [math.inf if v is not None and abs(v) > 1e295 else v for v in x]
    assert_same(found, count_rows(columns["arm"], columns["region"], large))
    assert int(found.missing.sum()) == 2
    assert int(found.not_finite.sum()) == 5
    assert int(found.size.sum()) == len(x)
    for arm in "ab":
        exact = np.sort(
            [
                v
                for v, a in zip(large, columns["arm"], strict=True)
                if a == arm and v is not None and math.isfinite(v)
            ]
        )
        d = found.distribution(arm)
        assert d.n == len(exact)
        np.testing.assert_allclose(d.at(np.arange(d.n)), exact, rtol=WIDTH, atol=0)


def test_the_engine_reads_whole_numbers(write):
    days = np.random.default_rng(2).integers(1, 31, 2000)
    columns = table(list(map(int, days)))
    found = engine(write, columns).distribution("b")
    inside = days[np.array(columns["arm"]) == "b"]
    values, counts = np.unique(inside, return_counts=True)
    assert found.low.tolist() == found.high.tolist() == values.tolist()
    assert found.up_to.tolist() == np.cumsum(counts).tolist()


def test_a_cell_without_any_value_is_kept(write):
    columns = {"arm": ["a", "b"] * 3, "arm_size": [1.0] * 6, "x": [1.5, None] * 3}
    found = engine(write, columns)
    assert found.cells == (("a",), ("b",))
    assert (found.n.tolist(), found.missing.tolist()) == ([3, 0], [0, 3])
    assert found.distribution("b").missing == 3
    assert found.distribution("c").n == found.distribution("b").n == 0


def test_saving_keeps_every_bit(tmp_path: Path):
    v = count_rows("aabbb", "pqppp", [0.1, None, 1e100, 5e-324, math.nan], "{}")
    v.save(tmp_path / "v.parquet")
    back = ValueCounts.load(tmp_path / "v.parquet")
    assert (back.keys, back.column, back.cells, back.definition) == (v.keys, "x", v.cells, "{}")
    for name in ARRAYS:
        assert getattr(back, name).tobytes() == getattr(v, name).tobytes()
    assert_same(merge(back, v), merge(v, v))


def test_files_that_are_no_value_counts_are_refused(tmp_path: Path):
    path = tmp_path / "v.parquet"
    path.write_text("no")
    with pytest.raises(DataError, match="not a saved reduction"):
        ValueCounts.load(path)
    count_rows("ab", "pp", [1.0, 2.0]).save(path)
    whole = pq.read_table(path)
    pq.write_table(whole.drop_columns(["low"]), path)
    with pytest.raises(DataError, match="a broken reduction"):
        ValueCounts.load(path)
    pq.write_table(whole.replace_schema_metadata({"values": '{"format": 1, "bits": 9}'}), path)
    with pytest.raises(DataError, match="does not hold value counts"):
        ValueCounts.load(path)


def test_value_counts_of_different_things_do_not_merge():
    one, two = (count_rows("ab", "pp", [1.0, 2.0], d) for d in ("one", "two"))
    with pytest.raises(DataError, match="differ in definition"):
        merge(one, two)
    with pytest.raises(DataError, match="different columns"):
        merge(one, one.roll_up("arm"))
    with pytest.raises(DataError, match="nothing to merge"):
        merge()


def test_they_are_frozen_and_name_unknown_keys():
    v = count_rows("ab", "pp", [1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        v.count[0] = 7
    with pytest.raises(KeyError, match="did you mean 'region'"):
        v.roll_up("regoin")
    assert v.levels("arm") == ("a", "b")
    assert repr(v) == "ValueCounts('x': 2 units in 2 cells of arm x region; 2 bins)"
