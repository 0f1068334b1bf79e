"""Predictions of a Cox model: R's numbers, saved and loaded, and frames that do not fit."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import reference
from cox_cases import columns_by_r, cox_by_r, data_by_r

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.predict import CoxModel


def rossi():
    inputs, _, columns = reference.case("cox_rossi_efron")
    x = np.stack([columns[c] for c in inputs["covariates"]], axis=1)
    data = SurvivalData.of(columns["week"], columns["arrest"] == 1, x, inputs["covariates"])
    return CoxModel.of(fit_cox(data), data), data


def test_r_s_survival_of_two_customers():
    _, expected, _ = reference.case("cox_rossi_predict")
    model, data = rossi()
    frame = {c: data.x[[0, 9], i] for i, c in enumerate(data.names)}
    found = model.predict(frame, [10, 26, 52])
    for mine, name in (
        (found.survival, "surv"),
        (found.std_error, "se"),
        (found.low, "lower"),
        (found.high, "upper"),
    ):
        np.testing.assert_allclose(mine.T, expected[name], rtol=1e-7)


def test_r_s_baseline_hazard():
    inputs, expected, _ = reference.case("cox_rossi_basehaz")
    model, data = rossi()
    found = model.predict({c: [0.0] for c in data.names}, inputs["times"])
    np.testing.assert_allclose(found.hazard[0], expected["cumhaz"], rtol=1e-7)


def model_by_r(kind, ties, counted=True):
    content = cox_by_r()
    rows = columns_by_r(content)
    late = None if kind == "plain" else rows["entry"].astype(float)
    table = LifeTable.of(
        rows["time"], rows["cause"], rows["k"], late, ("one", "two"), z1=rows["z1"],
        z2=rows["z2"].astype(float), g=rows["g"].astype(object), s=rows["s"].astype(float),
    )  # fmt: skip
    data = design(table, ["z1", "z2", "g"], ["s"] if kind == "strata" else [], "one")
    data = data if counted else data.expanded()
    return content["cox"][f"{kind}_{ties}"], CoxModel.of(fit_cox(data, ties), data)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("kind", ["plain", "late", "strata"])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "expanded"])
def test_r_s_numbers_with_levels_and_strata(kind, ties, counted):
    expected, model = model_by_r(kind, ties, counted)
    assert model.keys == (("z1", "z2", "g", "s") if kind == "strata" else ("z1", "z2", "g"))
    found = model.predict(pd.DataFrame(expected["new"]), expected["times"])
    for mine, name in (
        (found.survival, "surv"),
        (found.std_error, "se"),
        (found.low, "lower"),
        (found.high, "upper"),
    ):
        np.testing.assert_allclose(mine, expected["predict"][name], rtol=1e-8, err_msg=name)


def test_robust_errors_are_used_where_there_are_some():
    content = cox_by_r()
    expected = content["cox"]["cluster_efron"]
    data = data_by_r(columns_by_r(content), late=True, cluster=True)
    model = CoxModel.of(fit_cox(data), data)
    new = expected["new"]
    frame = {"z1": new["z1"], "z2": new["z2"], "g=b": [0, 1, 0], "g=c": [0, 0, 1]}
    found = model.predict(frame, expected["times"])
    np.testing.assert_allclose(found.survival, expected["predict"]["surv"], rtol=1e-8)
    plain = fit_cox(data, robust=False)
    assert not np.allclose(
        CoxModel.of(plain, data).predict(frame, [5]).std_error, found.std_error[:, [1]]
    )


def test_a_saved_model_predicts_to_the_last_bit(tmp_path):
    expected, model = model_by_r("strata", "efron")
    model.save(tmp_path / "model.json")
    loaded = CoxModel.load(tmp_path / "model.json")
    frame = {k: np.array(v) for k, v in expected["new"].items()}
    one, other = (m.predict(frame, [0, 1, 7, 500]) for m in (model, loaded))
    for field in ("survival", "std_error", "low", "high"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert json.loads(json.dumps(model.to_dict())) == model.to_dict()
    assert pickle.loads(pickle.dumps(model.to_dict())) == model.to_dict()
    (tmp_path / "other.json").write_text("[1]")
    for name in ("other.json", "none.json"):
        with pytest.raises(DataError, match="is not a saved Cox model"):
            CoxModel.load(tmp_path / name)


def test_after_the_end_and_before_the_first_event():
    expected, model = model_by_r("plain", "efron")
    found = model.predict(expected["new"], [0.0, model.curves[0].end, model.curves[0].end + 1])
    assert np.all(found.survival[:, 0] == 1.0)
    assert np.all(found.std_error[:, 0] == 0.0)
    assert np.isfinite(found.survival[:, 1]).all()
    assert np.isnan(found.survival[:, 2]).all()


def test_frames_that_do_not_fit_say_why():
    expected, model = model_by_r("strata", "efron")
    frame = dict(expected["new"])
    with pytest.raises(DataError, match=r"no column 'z1'"):
        model.predict({k: v for k, v in frame.items() if k != "z1"}, [5])
    with pytest.raises(DataError, match=r"level 'd', which the model does not know"):
        model.predict(frame | {"g": ["a", "b", "d"]}, [5])
    with pytest.raises(DataError, match=r"no stratum 's=9'"):
        model.predict(frame | {"s": [1, 2, 9]}, [5])
    with pytest.raises(DataError, match="holds text"):
        model.predict(frame | {"z1": ["x", "y", "z"]}, [5])
    missing = model.predict(frame | {"g": ["a", None, "b"]}, [5])
    assert np.isnan(missing.survival[1]).all()
    assert np.isfinite(missing.survival[[0, 2]]).all()


def test_a_fit_without_estimates_has_no_model():
    data = SurvivalData.of([1, 2], [0, 0], [[1.0], [2.0]])
    with pytest.raises(DataError, match="no_events"):
        CoxModel.of(fit_cox(data), data)
