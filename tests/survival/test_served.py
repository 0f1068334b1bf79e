"""A model that is served answers as the one that was fitted, from numbers in a file alone."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cohort_shop import random_shop, study

import retention_lab as rl
from retention_lab.errors import DataError
from retention_lab.survival.model_rows import example_of
from retention_lab.survival.served import _load_pyfunc, save_model


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    plan = study(
        tmp_path_factory.mktemp("shop"),
        random_shop(8),
        by=["market"],
        covariates=["market", "age"],
    )
    found = rl.fit_model(plan, rl.reduce_cohorts(plan))
    assert found is not None
    return found


@pytest.fixture
def file(fitted, tmp_path):
    path = tmp_path / "models" / "cox" / "model.json"
    save_model(path, fitted.model, fitted.days, example_of(fitted))
    return path


def frame(fitted):
    markets = ["DE", "FR", "(other)"]
    assert fitted.data.coding[0].reference == "DE"
    return pd.DataFrame({"market": markets, "age": [20.0, 44.5, 70.0]})


def test_the_file_answers_as_the_model_to_the_last_bit(fitted, file):
    rows, model = frame(fitted), fitted.model
    found = _load_pyfunc(str(file)).predict(rows)
    assert list(found.columns) == ["log_hazard_ratio", "day_30", "day_60"]
    expected = model.predict(rows, [30, 60]).survival
    np.testing.assert_array_equal(found[["day_30", "day_60"]].to_numpy(), expected)
    np.testing.assert_array_equal(found["log_hazard_ratio"], model.log_hazard_ratio(rows))
    assert ((expected > 0) & (expected < 1)).all()
    assert (expected[:, 0] > expected[:, 1]).all()


def test_other_days_may_be_asked_for_and_those_not_seen_have_no_number(fitted, file):
    found = _load_pyfunc(str(file)).predict(frame(fitted), {"days": [7, 400]})
    assert list(found.columns) == ["log_hazard_ratio", "day_7", "day_400"]
    assert found["day_400"].isna().all()
    assert found["day_7"].notna().all()


def test_a_strange_level_is_refused_with_a_hint(fitted, file):
    rows = frame(fitted).assign(market=["DE", "FR", "DEE"])
    with pytest.raises(DataError, match="'DEE'"):
        _load_pyfunc(str(file)).predict(rows)


def test_the_file_holds_numbers_and_an_example_that_is_no_customers_row(fitted, file):
    content = json.loads(file.read_text())
    assert content["loader"] == "retention_lab.survival.served"
    example = pd.DataFrame(content["example"])
    assert list(example["market"]) == ["DE", *fitted.data.coding[0].levels]
    assert example["age"].nunique() == 1
    assert example["age"][0] == pytest.approx(
        fitted.data.n @ fitted.data.x[:, -1] / fitted.data.size
    )
    assert _load_pyfunc(str(file)).predict(example).notna().to_numpy().all()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": {"format": 9}, "days": [1]}'])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "model.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"not a (saved )?Cox model"):
        _load_pyfunc(str(path))
