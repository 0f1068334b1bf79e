"""The reductions of a survival section: those of shards of customers are those of the whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from cohort_shop import AS_OF, STUDY, analysed, planned, random_shop, study

import retention_lab as rl
from retention_lab.data.cohorts import Cohorts, merge
from retention_lab.data.moments import Moments
from retention_lab.errors import DataError

SURVIVAL = {"by": ["market"], "competing": ["refunds"], "value": "value"}
PARTS = ("life", "repeats", "activity", "revenue")


def assert_same(a, b):
    """The same cells and rows in every part, whatever their order in moments."""
    for name in PARTS:
        one, two = getattr(a, name), getattr(b, name)
        assert (one is None) == (two is None)
        if one is None:
            continue
        assert one.keys == two.keys
        assert one.definition == two.definition
        if isinstance(one, Moments):
            assert sorted(one.cells) == sorted(two.cells)
            order = [two.cells.index(c) for c in one.cells]
            for column in ("n", "comoment"):
                ours, theirs = getattr(one, column), getattr(two, column)[order]
                np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
            continue
        for key in one.keys:
            assert list(map(str, one.levels[key])) == list(map(str, two.levels[key]))  # with nan
        for field in dataclasses.fields(one):
            value = getattr(one, field.name)
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(value, getattr(two, field.name), rtol=1e-12)


@pytest.mark.parametrize("shards", [2, 5])
def test_shards_of_customers_merge_to_the_whole_in_any_order(tmp_path, shards):
    shop = random_shop(11, customers=150)
    whole = rl.reduce_cohorts(study(tmp_path, shop, **SURVIVAL))
    assert all(getattr(whole, name) is not None for name in PARTS)
    assert whole.life.size == int(whole.repeats.customers.sum()) == 150
    parts = []
    for i in range(shards):
        folder = tmp_path / str(i)
        folder.mkdir()
        kept = list(range(i, 150, shards))
        part = rl.reduce_cohorts(study(folder, shop.part(kept), **SURVIVAL))
        part.save(folder)
        parts.append(Cohorts.load(folder))
        assert_same(parts[-1], part)
    assert_same(merge(*parts), whole)
    assert_same(merge(parts[-1], merge(*parts[:-1])), whole)
    assert merge(*parts).life.notes == whole.life.notes


def test_results_of_merged_shards_are_those_of_the_whole(tmp_path):
    shop = random_shop(11, customers=150)
    plan = study(tmp_path, shop, **SURVIVAL)
    parts = []
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        part = study(tmp_path / str(i), shop.part(list(range(i, 150, 2))), **SURVIVAL)
        parts.append(rl.reduce_cohorts(part))
    whole, merged = analysed(plan), rl.analyse_cohorts(plan, merge(*parts))
    assert len(whole) == len(merged) > 300
    for one, two in zip(whole.rows, merged.rows, strict=True):
        assert dataclasses.replace(one, **NUMBERS) == dataclasses.replace(two, **NUMBERS)
        for name in NUMBERS:
            a, b = getattr(one, name), getattr(two, name)
            assert a is b is None or a == pytest.approx(b, rel=1e-9, abs=1e-12)


NUMBERS = dict.fromkeys(
    ("estimate", "std_error", "ci_low", "ci_high", "p_value", "p_adjusted"), None
)


def test_a_run_from_saved_life_tables_has_curves_and_no_more(tmp_path):
    shop = random_shop(5, customers=120)
    plan = study(tmp_path, shop, **SURVIVAL)
    whole = rl.reduce_cohorts(plan)
    whole.save(tmp_path)
    assert {p.name for p in tmp_path.glob("*.parquet")} >= {
        "lifetable.parquet",
        "repeats.parquet",
        "activity.parquet",
        "revenue.parquet",
    }
    data = {"lives": ["lifetable.parquet"], "as_of": AS_OF}
    again = planned(tmp_path, "again", data, 5, {**STUDY, **SURVIVAL})
    saved = rl.reduce_cohorts(again)
    assert (saved.repeats, saved.activity, saved.revenue) == (None, None, None)
    rows, full = analysed(again), analysed(plan)
    known = {r.estimand for r in rows.rows}
    assert {"survival", "rmst", "log_rank", "cumulative_incidence"} <= known
    of_tables = [r for r in full.rows if (r.term or "").startswith("table_")]
    assert of_tables  # facts of the tables, which no table is left to tell
    rest = tuple(r for r in full.rows if r.estimand in known and r not in of_tables)
    assert rows.rows == rest
    assert rl.describe(again, rows) == rl.describe(plan, full)
    lacking = merge(saved, dataclasses.replace(whole, life=saved.life))
    assert lacking.repeats is None
    assert lacking.life.size == 2 * whole.life.size


def test_a_folder_without_a_life_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a saved life table"):
        Cohorts.load(tmp_path)


def test_without_a_value_there_is_no_revenue_and_the_parts_are_told(tmp_path):
    found = rl.reduce_cohorts(study(tmp_path, random_shop(2, customers=40)))
    assert found.revenue is None
    assert [line.split(":")[0] for line in repr(found).splitlines()] == [
        "lifetable",
        "repeats",
        "activity",
    ]
