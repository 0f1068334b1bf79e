"""What a run folder keeps of its customers: no cell of fewer than `privacy.min_cell` of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cohort_shop import AS_OF, STUDY, planned, random_shop, study

import retention_lab as rl
from retention_lab.data.cohorts import Cohorts
from retention_lab.errors import DataError, PlanError
from retention_lab.run.finish import finish
from retention_lab.run.keep import kept
from retention_lab.survival.views import OTHER

SURVIVAL = {"by": ["market"], "covariates": ["age"], "competing": ["refunds"], "value": "value"}


def sizes(table) -> np.ndarray:  # type: ignore[no-untyped-def]
    if hasattr(table, "causes"):
        return np.bincount(table.cell, weights=table.n)
    return table.customers


@pytest.mark.parametrize("least", [2, 5, 20, 60])
def test_no_cell_of_a_run_folder_is_small(tmp_path: Path, least: int) -> None:
    plan = study(tmp_path, random_shop(3), min_cell=least, **SURVIVAL)
    whole = rl.reduce_cohorts(plan)
    results = rl.analyse_cohorts(plan, whole)
    folder = finish(plan, whole, results, rl.describe(plan, results))
    found = Cohorts.load(folder)
    assert sizes(whole.life).min() == 1
    for name in ("life", "repeats", "activity"):
        full, saved = getattr(whole, name), getattr(found, name)
        assert sizes(saved).min() >= least
        assert sizes(saved).sum() == sizes(full).sum()
    assert found.revenue.size.min() >= least  # type: ignore[union-attr]
    assert "age" not in found.life.keys
    said = json.loads(found.life.definition)["kept"]
    assert {*said["dropped"], *found.life.keys} == set(whole.life.keys)
    assert said["dropped"][0] == "age"


def test_revenue_of_a_month_of_few_customers_is_not_kept(tmp_path: Path) -> None:
    shop = random_shop(3, customers=40)
    plan = study(tmp_path, shop, min_cell=8, **SURVIVAL)
    whole = rl.reduce_cohorts(plan)
    found = kept(plan, whole)
    assert found is not None
    assert whole.revenue.size.min() < 8  # type: ignore[union-attr]
    few = {c for c, n in zip(whole.revenue.cells, whole.revenue.size, strict=True) if n < 8}  # type: ignore[union-attr]
    assert set(found.revenue.cells) == set(whole.revenue.cells) - few  # type: ignore[union-attr]


def test_small_levels_are_one_and_large_cells_stay_apart(tmp_path: Path) -> None:
    plan = study(tmp_path, random_shop(3), min_cell=5, by=["market"])
    whole = rl.reduce_cohorts(plan)
    found = kept(plan, whole)
    assert found is not None
    assert "IS" in whole.life.levels["market"]
    assert "IS" not in found.life.levels.get("market", ())
    assert found.life.keys == ("cohort",)  # few of a month live in the small market
    larger = kept(study(tmp_path, random_shop(3), min_cell=2, by=["market"]), whole)
    assert larger is not None
    for table in (larger.life, larger.repeats, larger.activity):
        assert table is not None
        assert OTHER not in table.levels.get("market", ()) or sizes(table).min() >= 2


def test_nothing_is_kept_of_few_customers(tmp_path: Path) -> None:
    plan = study(tmp_path, random_shop(3, customers=15), min_cell=20)
    whole = rl.reduce_cohorts(plan)
    results = rl.analyse_cohorts(plan, whole)
    folder = finish(plan, whole, results, rl.describe(plan, results))
    assert kept(plan, whole) is None
    assert not list(folder.glob("lifetable*"))
    assert not list(folder.glob("revenue*"))


def test_where_all_cells_are_large_the_table_is_the_whole(tmp_path: Path) -> None:
    plan = study(tmp_path, random_shop(3, customers=400), min_cell=1, by=["market"])
    whole = rl.reduce_cohorts(plan)
    found = kept(plan, whole)
    assert found is not None
    assert found.life.definition == whole.life.definition
    np.testing.assert_array_equal(found.life.n, whole.life.n)


def test_a_kept_table_that_lacks_a_key_is_refused_by_its_name(tmp_path: Path) -> None:
    """And a whole table, as the user saves it, is not."""
    plan = study(tmp_path, random_shop(3), min_cell=5, by=["market"])
    whole = rl.reduce_cohorts(plan)
    found = kept(plan, whole)
    assert found is not None
    found.save(tmp_path)
    data = {"lives": ["lifetable.parquet"], "as_of": AS_OF}
    with pytest.raises((DataError, PlanError), match="not split by 'market'"):
        rl.reduce_cohorts(planned(tmp_path, "again", data, 5, {**STUDY, "by": ["market"]}))
    whole.save(tmp_path)
    again = rl.reduce_cohorts(planned(tmp_path, "again", data, 5, {**STUDY, "by": ["market"]}))
    assert again.life.size == whole.life.size
