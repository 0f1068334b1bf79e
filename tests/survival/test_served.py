"""A model that is served answers as the one that was fitted, from numbers in a file alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from cohort_shop import random_shop, study

import retention_lab as rl
from retention_lab.errors import DataError
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.predict import CoxModel
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


def test_it_answers_as_the_model_of_all_days_on_its_days(fitted, file):
    rows, whole = frame(fitted), CoxModel.of(fitted.fit, fitted.data)
    content = json.loads(file.read_text())["model"]
    served, full = CoxModel.from_dict(content), whole.predict(rows, [30, 60])
    found = served.predict(rows, [30, 60])
    for part in ("survival", "std_error", "low", "high", "hazard"):
        np.testing.assert_allclose(getattr(found, part), getattr(full, part), rtol=1e-12)


def test_the_file_does_not_tell_on_which_days_anybody_bought(fitted, file):
    """Each curve has no more steps than the file has days, whatever the days of events."""
    content = json.loads(file.read_text())
    events = np.unique(fitted.data.stop[fitted.data.event])
    assert len(events) > 20
    for curve in content["model"]["curves"]:
        assert curve["time"] == content["days"] == [30, 60]
        assert curve["end"] == 60
        for part in ("hazard", "variance", "slope"):
            assert len(curve[part]) == len(content["days"])


def test_one_level_with_few_customers_left_does_not_empty_the_model(fitted):
    """A level of which nobody is left at risk has predictions, as its ratio is known."""
    data = fitted.data
    at = list(data.names).index("market=FR")
    gone = np.where(data.x[:, at] == 1, np.minimum(data.stop, 20), data.stop)
    event = data.event & (data.stop == gone)
    short = dataclasses.replace(data, stop=gone, event=event)
    found = dataclasses.replace(fitted, data=short, fit=fit_cox(short, robust=True), min_cell=5)
    assert not data.n[(gone >= 30) & (data.x[:, at] == 1)].sum()
    served = found.model.predict(frame(fitted), [30, 60]).survival
    assert ((served > 0) & (served < 1)).all()


def test_days_with_few_customers_at_risk_are_not_in_the_file(fitted, tmp_path):
    at_risk = [fitted._at_risk(day) for day in fitted.days]
    assert at_risk[0] > at_risk[1] > 0
    data = fitted.data.columns([list(fitted.data.names).index("age")])
    data = dataclasses.replace(data, coding=tuple(c for c in data.coding if c.key == "age"))
    ages = dataclasses.replace(fitted, data=data, fit=fit_cox(data))
    for least, days in ((at_risk[1], [30, 60]), (at_risk[0], [30])):
        found = dataclasses.replace(ages, min_cell=least)
        assert [c.time.tolist() for c in found.model.curves] == [days]
        save_model(tmp_path / "model.json", found.model, found.days, example_of(found))
        served = _load_pyfunc(str(tmp_path / "model.json"))
        answer = served.predict(pd.DataFrame({"age": [20.0, 50.0]}))
        assert list(answer.columns) == ["log_hazard_ratio", *(f"day_{d}" for d in days)]
        assert np.isfinite(answer.to_numpy()).all()
    assert dataclasses.replace(ages, min_cell=at_risk[0] + 1).model is None


def test_a_model_that_could_predict_nothing_is_not_served(fitted):
    fewest = fitted._fewest()
    assert dataclasses.replace(fitted, min_cell=fewest).model is not None
    assert dataclasses.replace(fitted, min_cell=fewest + 1).model is None
    assert dataclasses.replace(fitted, days=(4000,)).model is None


def test_other_days_may_be_asked_for_and_those_not_seen_have_no_number(fitted, file):
    days = [7, 30, 45, 60, 400]
    found = _load_pyfunc(str(file)).predict(frame(fitted), {"days": days})
    assert list(found.columns) == ["log_hazard_ratio", *(f"day_{d}" for d in days)]
    assert found["day_400"].isna().all()
    assert (found["day_7"] == 1.0).all()
    assert (found["day_45"] == found["day_30"]).all()
    assert (found["day_60"] < found["day_45"]).all()


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
