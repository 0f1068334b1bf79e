"""Moments: merging, rolling up and saving change nothing of what the rows say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.moments import Moments, merge
from retention_lab.errors import DataError, PlanError

PAIRS = (("x", "x"), ("y", "y"), ("x", "y"))


def reduce_rows(arm, region, x, y, definition=""):
    """The reduction by its definition, two passes over the rows; nan is missing."""
    cells = sorted({(str(a), str(r)) for a, r in zip(arm, region, strict=True)})
    size, n, mx, my, co = [], [], [], [], []
    values = {"x": np.asarray(x, float), "y": np.asarray(y, float)}
    for a, r in cells:
        inside = np.array([(str(p), str(q)) == (a, r) for p, q in zip(arm, region, strict=True)])
        size.append(inside.sum())
        rows = ([], [], [], [])
        for p, q in PAIRS:
            known = inside & ~np.isnan(values[p]) & ~np.isnan(values[q])
            u, v = values[p][known], values[q][known]
            k = len(u)
            mu, mv = (u.mean(), v.mean()) if k else (0.0, 0.0)
            for row, value in zip(rows, (k, mu, mv, ((u - mu) * (v - mv)).sum()), strict=True):
                row.append(value)
        for out, row in zip((n, mx, my, co), rows, strict=True):
            out.append(row)
    return Moments(
        keys=("arm", "region"),
        pairs=PAIRS,
        cells=tuple(cells),
        size=np.array(size, np.int64),
        n=np.array(n, np.int64),
        mean_x=np.array(mx, float),
        mean_y=np.array(my, float),
        comoment=np.array(co, float),
        definition=definition,
    )


def assert_same(a: Moments, b: Moments, scale: float = 1.0) -> None:
    assert a.cells == b.cells
    np.testing.assert_array_equal(a.size, b.size)
    np.testing.assert_array_equal(a.n, b.n)
    for name in ("mean_x", "mean_y"):  # of values up to 1e6, which may cancel
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(a.comoment, b.comoment, rtol=1e-9, atol=1e-9 * scale)


numbers = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))
rows = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("pqr"), numbers, numbers),
    min_size=2,
    max_size=40,
)


@given(rows=rows, cuts=st.lists(st.integers(0, 40), max_size=3), order=st.randoms())
@settings(max_examples=150, deadline=None)
def test_merge_of_any_split_in_any_order_is_the_whole(rows, cuts, order):
    whole = reduce_rows(*zip(*rows, strict=True))
    ends = sorted({0, len(rows), *(min(c, len(rows)) for c in cuts)})
    parts = [reduce_rows(*zip(*rows[i:j], strict=True)) for i, j in itertools.pairwise(ends)]
    order.shuffle(parts)
    assert_same(merge(*parts), whole, scale=1e12)


@given(rows=rows)
@settings(max_examples=100, deadline=None)
def test_merge_is_associative_and_commutative(rows):
    a, b, c = (reduce_rows(*zip(*part, strict=True)) for part in (rows, rows[::2], rows[1:]))
    assert_same(merge(merge(a, b), c), merge(a, merge(c, b)), scale=1e12)


@given(rows=rows, copies=st.integers(2, 4))
@settings(max_examples=50, deadline=None)
def test_replicated_rows_are_merged_copies(rows, copies):
    once = reduce_rows(*zip(*rows, strict=True))
    repeated = reduce_rows(*zip(*(rows * copies), strict=True))
    assert_same(merge(*[once] * copies), repeated, scale=1e12)


@given(rows=rows)
@settings(max_examples=100, deadline=None)
def test_margins_are_the_reduction_without_the_key(rows):
    arm, region, x, y = zip(*rows, strict=True)
    fine = reduce_rows(arm, region, x, y).roll_up("arm")
    coarse = reduce_rows(arm, ["all"] * len(arm), x, y).roll_up("arm")
    assert_same(fine, coarse, scale=1e12)


def test_merging_keeps_the_variance_of_means_of_1e12():
    rng = np.random.default_rng(5)
    x = 1e12 + rng.normal(size=3000)
    arm, region = ["a"] * 3000, ["p"] * 3000
    parts = [reduce_rows(arm[i::7], region[i::7], x[i::7], x[i::7]) for i in range(7)]
    merged = merge(*parts)
    assert merged.comoment[0, 0] / 2999 == pytest.approx(np.var(x - 1e12, ddof=1), rel=1e-6)


def test_saving_keeps_every_bit(tmp_path: Path):
    m = reduce_rows("aabb", "pqpp", [0.1, np.nan, 1e100, 3.0], [1 / 3, 2.0, 5e-324, np.nan], "{}")
    m.save(tmp_path / "m.parquet")
    back = Moments.load(tmp_path / "m.parquet")
    assert (back.keys, back.pairs, back.cells, back.definition) == (m.keys, m.pairs, m.cells, "{}")
    for name in ("size", "n", "mean_x", "mean_y", "comoment"):
        assert getattr(back, name).tobytes() == getattr(m, name).tobytes()


def test_reductions_of_different_things_do_not_merge():
    one = reduce_rows("ab", "pp", [1, 2], [3, 4], json.dumps({"as_of": "2026-01-01"}))
    two = reduce_rows("ab", "pp", [1, 2], [3, 4], json.dumps({"as_of": "2026-01-02"}))
    with pytest.raises(DataError, match="as_of: 2026-01-01 and 2026-01-02"):
        merge(one, two)
    with pytest.raises(DataError, match="different columns"):
        merge(one, one.roll_up("arm"))
    with pytest.raises(DataError, match="nothing to merge"):
        merge()


def test_a_file_that_is_no_reduction_is_refused(tmp_path: Path):
    (tmp_path / "m.parquet").write_text("no")
    with pytest.raises(DataError, match="not a saved reduction"):
        Moments.load(tmp_path / "m.parquet")


def test_moments_are_frozen():
    m = reduce_rows("ab", "pp", [1, 2], [3, 4])
    with pytest.raises(ValueError, match="read-only"):
        m.n[0, 0] = 7
    with pytest.raises(AttributeError):
        m.keys = ("x",)


def test_unknown_keys_and_pairs_are_named():
    m = reduce_rows("ab", "pp", [1, 2], [3, 4])
    with pytest.raises(KeyError, match="did you mean 'region'"):
        m.roll_up("regoin")
    with pytest.raises(KeyError, match="'y', 'x'"):
        m.pair("y", "x")


def part(write, name, city, age, **spec):
    n = len(city)
    rng = np.random.default_rng(len(name))
    columns = {"arm": ["a", "b"] * (n // 2), "x": rng.normal(size=n), "city": city, "age": age}
    path = write(
        {name: columns},
        name=name,
        data={"units": f"{name}.parquet"},
        design={"arm": "arm", "control": "a"},
        metrics=[{"name": "x", "kind": "mean", "covariates": ["city", "age"]}],
        **spec,
    )
    return rl.plan(path)


def two_parts(write, **spec):
    """One with cities p and q, one with q and r and missing ages."""
    first = part(write, "one", ["p", "q"] * 200 + ["q", "p"] * 200, [30.0, 40.0] * 400, **spec)
    second = part(write, "three", ["q", "r", "r"] * 200, [50.0, None] * 300, **spec)
    return first, second


def test_parts_with_other_levels_say_how_to_be_merged(write, tmp_path):
    plans = two_parts(write)
    parts = [rl.reduce(plan) for plan in plans]
    with pytest.raises(DataError, match=r"of covariate 'age', 'city' differ .* section covariates"):
        merge(*parts)
    for i, m in enumerate(parts):
        m.save(tmp_path / f"m{i}.parquet")
    metrics = [{"name": "x", "kind": "mean", "covariates": ["city", "age"]}]
    path = write(None, name="both", data={"moments": ["m0.parquet", "m1.parquet"]},
                 design={"arm": "arm", "control": "a"}, metrics=metrics)  # fmt: skip
    with pytest.raises(
        PlanError, match=r"m1\.parquet: the levels, or missing values, of covariate"
    ):
        rl.plan(path)


def test_parts_merge_where_the_file_says_the_levels(write):
    said = {"city": {"levels": ["q", "p", "r"]}, "age": {"fill": 35}}
    plans = two_parts(write, covariates=said)
    merged = merge(*(rl.reduce(plan) for plan in plans))
    city = ["p", "q"] * 200 + ["q", "p"] * 200 + ["q", "r", "r"] * 200
    whole = part(write, "whole", city, [30.0, 40.0] * 400 + [50.0, None] * 300, covariates=said)
    found = rl.reduce(whole)
    assert merged.pairs == found.pairs
    assert merged.n.tolist() == found.n.tolist()
    for c in ("city=p all", "city=r all", "age all", "age missing all"):
        at = merged.pair(c)
        assert merged.mean(0, c) == pytest.approx(found.mean(0, c), rel=1e-12)
        assert merged.comoment[0, at] == pytest.approx(found.comoment[0, at], rel=1e-9, abs=1e-9)
    assert "city=q all" not in merged.columns
    row = rl.analyse(plans[0], merged).one(estimand="mean_difference")
    assert row.method.endswith("Lin's adjustment")


def test_levels_that_the_file_does_not_name_are_counted(write):
    with pytest.raises(PlanError, match=r"covariates\.city: one\.parquet has 1 level that levels"):
        two_parts(write, covariates={"city": {"levels": ["p", "r"]}})
    with pytest.raises(PlanError, match=r"covariates\.age: a text has levels, a number has fill"):
        two_parts(write, covariates={"age": {"levels": ["30", "40"]}})
