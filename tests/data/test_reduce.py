"""The one query: right to the last digits, whatever the means, the gaps and the cells."""

from __future__ import annotations

import datetime as dt
import importlib.resources
import json

import duckdb
import numpy as np
import pytest

import retention_lab as rl
from retention_lab.data.moments import merge
from retention_lab.errors import DataError

DESIGN = {"arm": "arm", "control": "a"}


def spread(m, column, *cell):
    """n, mean and sample variance of a column in one cell."""
    i, row = m.pair(column), m.cell(*cell)
    n = m.n[row, i]
    return n, m.mean(row, column), m.comoment[row, i] / (n - 1)


def reduced(write, columns, metrics, **spec):
    path = write(
        {"units": columns}, data={"units": "units.parquet"}, design=DESIGN, metrics=metrics, **spec
    )
    return rl.reduce(rl.plan(path))


@pytest.mark.parametrize("offset", [0.0, 1e8, 1e12, -1e12])
def test_variance_is_right_far_from_zero(write, offset):
    rng = np.random.default_rng(1)
    x = offset + np.round(rng.normal(size=4000), 3)
    arm = np.array(["a", "b"])[rng.integers(0, 2, 4000)]
    m = reduced(write, {"arm": arm, "x": x}, [{"name": "x", "kind": "mean"}])
    for level in "ab":
        inside = x[arm == level] - offset
        n, mean, variance = spread(m, "x", level)
        assert n == len(inside)
        assert mean == pytest.approx(offset + inside.mean(), rel=1e-15)
        assert variance == pytest.approx(inside.var(ddof=1), rel=1e-6)


def test_variance_is_right_where_cells_are_worlds_apart(write):
    """The look at the first rows sees one arm only; the other lies 1e12 away."""
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=20_000), 1e12 + rng.normal(size=500)
    columns = {"arm": ["a"] * 20_000 + ["b"] * 500, "x": np.concatenate([near, far])}
    m = reduced(write, columns, [{"name": "x", "kind": "mean"}])
    assert spread(m, "x", "a")[2] == pytest.approx(near.var(ddof=1), rel=1e-9)
    assert spread(m, "x", "b")[2] == pytest.approx((far - 1e12).var(ddof=1), rel=1e-6)


def test_nist_one_way_analysis_of_variance(write):
    """NIST StRD, AtmWtAg (average difficulty): certified F 1.59467335677930E+01."""
    tests = importlib.resources.files("scipy.stats.tests") / "data" / "nist_anova" / "AtmWtAg.dat"
    lines = tests.read_text().splitlines()[60:]
    instrument, weight = np.array([line.split() for line in lines if line.strip()], float).T
    assert len(weight) == 48
    arm = np.where(instrument == 1, "a", "b")
    m = reduced(write, {"arm": arm, "w": weight}, [{"name": "w", "kind": "mean"}])
    (n1, m1, v1), (n2, m2, v2) = spread(m, "w", "a"), spread(m, "w", "b")
    between = (m1 - m2) ** 2 * n1 * n2 / (n1 + n2)
    within = (v1 * (n1 - 1) + v2 * (n2 - 1)) / (n1 + n2 - 2)
    assert between / within == pytest.approx(15.9467335677930, rel=1e-7)


def test_constant_columns_have_no_variance_at_all(write):
    columns = {"arm": ["a", "b"] * 300, "x": [37.99] * 600, "y": [0.1] * 600, "z": [1] * 600}
    m = reduced(write, columns, [{"name": c, "kind": "mean"} for c in "xyz"])
    assert np.all(m.comoment < 1e-25)
    assert [m.mean(0, c) for c in "xyz"] == pytest.approx([37.99, 0.1, 1.0], rel=1e-15)


def test_pairs_are_counted_where_both_are_known(write):
    nan = None
    columns = {
        "arm": ["a"] * 4 + ["b"] * 4,
        "x": [1.0, 2.0, nan, 4.0] * 2,
        "y": [nan, 1.0, 5.0, 2.0] * 2,
    }
    metrics = [
        {"name": "x", "kind": "mean", "missing": "drop"},
        {"name": "y", "kind": "mean", "missing": "drop"},
        {"name": "r", "kind": "ratio", "numerator": "x", "denominator": "y", "missing": "drop"},
    ]
    m = reduced(write, columns, metrics)
    i = m.pair("r numerator", "r denominator")
    assert m.n[0, i] == 2
    assert (m.mean_x[0, i], m.mean_y[0, i]) == (3.0, 1.5)
    assert m.comoment[0, i] == pytest.approx(1.0)
    assert m.n[0, m.pair("r numerator")] == 2
    assert m.n[0, m.pair("x")] == 3
    assert m.size.tolist() == [4, 4]


@pytest.mark.parametrize("missing", ["drop", "zero"])
def test_the_missing_rule_decides(write, missing):
    columns = {"arm": ["a", "b"] * 3, "x": [1.0, 2.0, None, 4.0, 5.0, 6.0]}
    m = reduced(write, columns, [{"name": "x", "kind": "mean", "missing": missing}])
    n, mean, _ = spread(m, "x", "a")
    assert (n, mean) == ((2, 3.0) if missing == "drop" else (3, 2.0))


def test_one_query_serves_all_segments(write):
    rng = np.random.default_rng(3)
    n = 5000
    columns = {
        "arm": np.array(["a", "b"])[rng.integers(0, 2, n)],
        "region": np.array(["n", "s", "w"])[rng.integers(0, 3, n)],
        "tier": np.array([1, 2])[rng.integers(0, 2, n)],
        "x": rng.lognormal(size=n),
    }
    m = reduced(write, columns, [{"name": "x", "kind": "mean"}], segments=["region", "tier"])
    assert m.keys == ("arm", "region", "tier")
    assert len(m.cells) == 12
    for region in "nsw":
        inside = columns["x"][(columns["arm"] == "b") & (columns["region"] == region)]
        n_cell, mean, variance = spread(m.roll_up("arm", "region"), "x", "b", region)
        assert n_cell == len(inside)
        assert mean == pytest.approx(inside.mean(), rel=1e-12)
        assert variance == pytest.approx(inside.var(ddof=1), rel=1e-12)


def test_a_segment_without_a_level_is_a_level_of_its_own(write):
    columns = {"arm": ["a", "b"] * 2, "region": ["n", None, None, "n"], "x": [1.0, 2.0, 3.0, 4.0]}
    m = reduced(write, columns, [{"name": "x", "kind": "mean"}], segments=["region"])
    assert m.levels("region") == ("(missing)", "n")
    assert m.units == 4


def test_caps_by_value_and_by_quantile(write):
    x = np.arange(1.0, 1001.0)
    columns = {"arm": ["a", "b"] * 500, "x": x, "y": x}
    metrics = [
        {"name": "x", "kind": "mean", "cap": {"value": 900}},
        {"name": "y", "kind": "mean", "cap": {"quantile": 0.99}},
    ]
    m = reduced(write, columns, metrics).roll_up()
    assert spread(m, "x")[1] == pytest.approx(np.minimum(x, 900).mean())
    cap = np.quantile(x, 0.99)
    assert spread(m, "y")[1] == pytest.approx(np.minimum(x, cap).mean())
    assert json.loads(m.definition)["caps"] == {"x": 900.0, "y": pytest.approx(cap)}


def test_a_run_starts_from_saved_reductions_of_two_regions(write, tmp_path):
    """Rows stay home: two regions reduce apart, and the merged reductions are the whole."""
    rng = np.random.default_rng(4)
    n = 2000
    arm = np.array(["a", "b"])[rng.integers(0, 2, n)]
    x = 1e9 + rng.normal(size=n)
    metrics = [{"name": "x", "kind": "mean", "role": "primary"}]
    spec = {"design": DESIGN, "metrics": metrics}
    homes = {"eu": slice(0, 700), "us": slice(700, n), "all": slice(0, n)}
    for home, rows in homes.items():
        path = write({home: {"arm": arm[rows], "x": x[rows]}}, name=home,
                     data={"units": f"{home}.parquet"}, **spec)  # fmt: skip
        rl.reduce(rl.plan(path)).save(tmp_path / f"{home}_moments.parquet")
    saved = ["eu_moments.parquet", "us_moments.parquet"]
    merged = write(None, name="merged", data={"moments": saved}, **spec)
    plan = rl.plan(merged)
    whole = rl.plan(tmp_path / "all.yaml")
    together, at_once = rl.reduce(plan), rl.reduce(whole)
    assert together.units == n
    a, b = rl.analyse(plan, together), rl.analyse(whole, at_once)
    for row, same in zip(a.rows, b.rows, strict=True):
        for name in ("estimate", "std_error", "ci_low", "p_value"):
            expected = getattr(same, name)
            approx = None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12)
            assert getattr(row, name) == approx


def test_saved_reductions_must_fit_the_file(write, tmp_path):
    at = [dt.datetime(2026, 1, 1)] * 40
    tables = {
        "who": {"unit": range(40), "arm": ["a", "b"] * 20, "at": at},
        "orders": {"unit": range(40), "at": [dt.datetime(2026, 1, 2)] * 40},
    }
    metrics = [{"name": "back", "kind": "retention", "event": "orders", "within": "7d"}]
    design = {**DESIGN, "unit": "unit"}
    data = {
        "assignments": {"table": "who.parquet", "at": "at"},
        "events": {"orders": {"table": "orders.parquet", "at": "at"}},
        "as_of": dt.date(2026, 2, 1),
    }
    path = write(tables, data=data, design=design, metrics=metrics)
    rl.reduce(rl.plan(path)).save(tmp_path / "m.parquet")
    metrics[0]["within"] = "14d"
    data = {"moments": "m.parquet", "as_of": dt.date(2026, 2, 1)}
    other = write(None, name="other", data=data, design=design, metrics=metrics)
    with pytest.raises(DataError, match="do not fit the file: back"):
        rl.reduce(rl.plan(other))


def test_merged_parts_of_one_table_are_the_table(write, tmp_path):
    """Split the rows anyhow: reduced by the engine and merged, they are reduced at once."""
    rng = np.random.default_rng(6)
    n = 3000
    columns = {
        "arm": np.array(["a", "b"])[rng.integers(0, 2, n)],
        "x": 1e7 + rng.normal(size=n),
        "y": rng.poisson(2.0, n).astype(float),
    }
    metrics = [
        {"name": "x", "kind": "mean"},
        {"name": "r", "kind": "ratio", "numerator": "x", "denominator": "y"},
    ]
    part = rng.integers(0, 5, n)
    parts = []
    for p in range(5):
        rows = {k: v[part == p] for k, v in columns.items()}
        parts.append(reduced(write, rows, metrics))
    whole, merged = reduced(write, columns, metrics), merge(*parts)
    np.testing.assert_array_equal(merged.n, whole.n)
    for cell in range(2):
        for c in ("x", "y"):
            assert merged.mean(cell, c) == pytest.approx(whole.mean(cell, c), rel=1e-15)
    np.testing.assert_allclose(merged.comoment, whole.comoment, rtol=1e-9, atol=1e-6)


def test_a_metrics_name_is_never_taken_for_a_column_of_the_frame(write):
    """Names like those that a frame or a ratio could use inside mean what the file says."""
    columns = {"arm": ["a", "b"] * 3, "x": [1.0, 2.0, None, 4.0, 5.0, 6.0], "y": [1.0, None] * 3}
    metrics = [
        {"name": "net__x", "kind": "mean", "value": "x", "missing": "zero"},
        {
            "name": "r",
            "kind": "ratio",
            "numerator": "net__x",
            "denominator": "y",
            "missing": "drop",
        },
        {"name": "exposed", "kind": "mean", "value": "x", "missing": "zero"},
        {"name": "unit", "kind": "mean", "value": "x", "missing": "zero"},
        {"name": "size", "kind": "mean", "value": "x", "missing": "zero"},
    ]
    m = reduced(write, columns, metrics).roll_up()
    for name in ("net__x", "exposed", "unit", "size"):
        assert spread(m, name)[:2] == (6, 3.0)


@pytest.mark.parametrize("column", ["utm.source", 'say "x"', "*", "it's", "Größe 中", "key 0"])
def test_columns_may_be_called_anything(write, column):
    columns = {"arm": ["a", "b"] * 30, column: [float(i % 7) for i in range(60)], "s": ["n"] * 60}
    metrics = [{"name": "x", "kind": "mean", "value": column}]
    assert spread(reduced(write, columns, metrics).roll_up(), "x")[0] == 60
    as_segment = {"arm": ["a", "b"] * 30, column: ["p", "q"] * 30, "x": [1.0, 2.0] * 30}
    m = reduced(write, as_segment, [{"name": "x", "kind": "mean"}], segments=[column])
    assert m.levels(column) == ("p", "q")


def test_two_ratios_of_one_column_keep_their_own_missing_rule(write):
    columns = {"arm": ["a", "b"] * 4, "x": [1.0, None, 3.0, 4.0] * 2, "y": [2.0] * 8}
    ratio = {"kind": "ratio", "numerator": "x", "denominator": "y"}
    metrics = [
        {"name": "zero", "missing": "zero", **ratio},
        {"name": "drop", "missing": "drop", **ratio},
    ]
    m = reduced(write, columns, metrics).roll_up()
    assert m.n[0, m.pair("x zero", "y zero")] == 8
    assert m.n[0, m.pair("drop numerator", "drop denominator")] == 6


@pytest.mark.parametrize(("n", "scale"), [(3000, 1.0), (9000, 1.01), (4000, 2.0)])
def test_sums_of_events_keep_their_variance_far_from_zero(write, n, scale):
    rng = np.random.default_rng(0)
    start = dt.datetime(2026, 1, 1)
    value = scale * (1e6 + 0.01 * rng.normal(size=n))
    who = {"unit": np.arange(n), "arm": ["a", "b"] * (n // 2), "at": [start] * n}
    orders = {"unit": np.arange(n), "at": [start + dt.timedelta(days=1)] * n, "value": value}
    path = write(
        {"who": who, "orders": orders},
        data={
            "assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": dt.date(2026, 3, 1),
        },
        design={**DESIGN, "unit": "unit"},
        metrics=[
            {"name": "v", "kind": "sum", "event": "orders", "value": "value", "within": "30d"}
        ],
    )
    found = spread(rl.reduce(rl.plan(path)).roll_up(), "v")
    assert found[2] == pytest.approx((value - 1e6 * scale).var(ddof=1), rel=1e-5)


def test_a_sample_is_the_same_units_of_the_whole(write, monkeypatch):
    """Caps, events, maturity, and units without an arm or after as_of, as in the whole."""
    from retention_lab.data import reduce as reduction

    rng = np.random.default_rng(3)
    n, start = 4000, dt.datetime(2026, 1, 1)
    days = rng.integers(0, 60, n)
    who = {
        "unit": np.arange(n),
        "arm": [None if i % 50 == 0 else "ab"[i % 2] for i in range(n)],
        "at": [start + dt.timedelta(days=int(d)) for d in days],
        "age": rng.normal(40, 9, n),
    }
    buyer = rng.integers(0, n, 3 * n)
    orders = {
        "unit": buyer,
        "at": [who["at"][i] + dt.timedelta(days=float(rng.uniform(-20, 40))) for i in buyer],
        "value": rng.gamma(2.0, 20.0, 3 * n),
    }
    revenue = {"name": "revenue", "kind": "sum", "event": "orders", "value": "value"}
    path = write(
        {"who": who, "orders": orders},
        data={
            "assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": dt.date(2026, 2, 15),
        },
        design={**DESIGN, "unit": "unit"},
        metrics=[
            revenue | {"within": "14d", "cap": {"quantile": 0.95}, "pre": "14d"},
            {"name": "back", "kind": "retention", "event": "orders", "within": "7d"},
            {"name": "age", "kind": "mean", "covariates": ["revenue"]},
        ],
    )
    plan = rl.plan(path)
    assert plan.look.later
    assert None in plan.look.by_arm
    monkeypatch.setattr(reduction, "SAMPLE", n // 8)
    sampled = rl.reduce(plan).buckets
    monkeypatch.setattr(reduction, "BUCKETS", 1600)  # eight times as many, none left out
    monkeypatch.setattr(reduction, "SAMPLE", n)
    whole = rl.reduce(plan).buckets
    same = merge(*(whole.where("bucket of 200", str(b)) for b in range(200)))
    assert sorted(sampled.cells) == sorted(same.cells)
    order = [sampled.cells.index(c) for c in same.cells]
    assert np.array_equal(sampled.n[order], same.n)
    assert sampled.comoment[order] == pytest.approx(same.comoment, abs=1e-6)
    for c in same.columns:
        held = np.flatnonzero(same.n[:, same.pair(c)])
        means = [sampled.mean(order[i], c) for i in held]
        assert means == pytest.approx([same.mean(i, c) for i in held], abs=1e-9)


def test_buckets_cut_across_arms_that_a_plain_hash_assigned(write):
    """A shop that assigns by the engine's own hash does not get buckets of one arm each."""
    ids = [f"u{i}" for i in range(4000)]
    with duckdb.connect() as connection:
        found = connection.execute("select hash(unnest($1)) % 2", [ids]).fetchall()
    columns = {"unit": ids, "arm": ["ab"[h] for (h,) in found], "x": [h for (h,) in found]}
    path = write(
        {"units": columns},
        data={"units": "units.parquet"},
        design={**DESIGN, "unit": "unit"},
        metrics=[{"name": "x", "kind": "mean"}],
    )
    buckets = rl.reduce(rl.plan(path)).buckets
    share = [buckets.mean(i, "x") for i in range(len(buckets.cells))]
    assert len(share) == 200
    assert np.std(share) == pytest.approx(np.sqrt(0.25 / 20), rel=0.25)
