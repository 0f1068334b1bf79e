"""Life tables to rows of numbers: levels, references, strata and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.model.cox import cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.design import design


def table(region, tier=None, n=None, cause=None):
    rows = len(region)
    return LifeTable.of(
        np.arange(1.0, rows + 1), np.ones(rows, int) if cause is None else cause, n,
        causes=("order", "closed"), region=np.array(region, object),
        tier=np.zeros(rows) if tier is None else np.array(tier, float),
    )  # fmt: skip


def test_text_is_coded_against_the_level_with_most_units():
    data = design(table(["b", "a", "c"], n=[1, 2, 5]), ["region", "tier"])
    assert data.names == ("region=a", "region=b", "tier")
    assert data.coding[0].reference == "c"
    assert data.x.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]] or data.x.sum() == 2
    assert data.size == 8
    tied = design(table(["b", "a"]), ["region"])
    assert tied.coding[0].reference == "a"


def test_other_keys_are_rolled_up():
    data = design(table(["a", "a", "a"], tier=[1, 2, 3]), [])
    assert data.k == 0
    assert design(table(["a", "b"], tier=[1, 1]), ["tier"]).x[:, 0].tolist() == [1, 1]


def test_other_causes_end_the_time_at_risk_or_compete():
    t = table(["a", "b", "a"], cause=[1, 2, 0])
    assert design(t, ["region"]).events == 1
    assert design(t, ["region"], event="closed").events == 1
    data = design(t, ["region"], competing=["closed"])
    assert int(data.competing.sum()) == 1
    with pytest.raises(KeyError, match="did you mean 'closed'"):
        design(t, [], event="close")
    with pytest.raises(KeyError, match="region"):
        design(t, ["regoin"])


def test_missing_levels_are_an_error_that_says_how_many():
    t = table(["a", None, "b"], n=[4, 3, 2])
    with pytest.raises(DataError, match=r"3 rows of 9 lack a finite value of 'region="):
        design(t, ["region"])
    with pytest.raises(DataError, match=r"3 rows of 9 lack a finite value of 'strata'"):
        design(t, ["tier"], strata=["region"])
    kept = design(t, ["region"], missing="drop")
    assert kept.size == 6
    assert kept.notes == {"missing": 3}
    assert design(t, ["tier"], strata=["region"], missing="drop").strata_names == (
        "region=a",
        "region=b",
    )


def test_a_covariate_of_one_level_is_dropped_with_the_reason():
    fit = cox(table(["a"] * 4, tier=[1, 2, 1, 3]), ["region", "tier"])
    assert fit.names == ("tier",)
    assert fit.dropped["region"].startswith("constant:")


def test_very_many_levels_are_refused_with_advice():
    with pytest.raises(DataError, match=r"'region' has 300 levels.*make it a stratum"):
        design(table([f"r{i}" for i in range(300)]), ["region"])


def test_rows_never_at_risk_are_counted():
    data = SurvivalData.of([1, 2, 3], [1, 1, 0], np.zeros((3, 1)), start=[1, 0, 5], n=[2, 1, 3])
    assert data.rows == 1
    assert data.notes == {"no_time_at_risk": 5}


def test_what_a_programmer_got_wrong():
    x = np.zeros((2, 1))
    with pytest.raises(ValueError, match="whole numbers"):
        SurvivalData.of([1, 2], [1, 0], x, n=[0.5, 1])
    with pytest.raises(ValueError, match="event has shape"):
        SurvivalData.of([1, 2], [1], x)
    with pytest.raises(ValueError, match="2 names for 1"):
        SurvivalData.of([1, 2], [1, 0], x, ["a", "b"])
    with pytest.raises(ValueError, match="competing"):
        SurvivalData.of([1, 2], [1, 0], x, competing=[1, 0])
