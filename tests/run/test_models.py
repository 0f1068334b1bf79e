"""A fitted model in MLflow: logged and registered once, and loaded in a process that knows nothing.

The store is a real SQLite file or a real server; the run is that of a small cohort study.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohort_shop import random_shop, study
from mlflow_server import free_port, mlflow_server, settings

import retention_lab as rl
from retention_lab.run.record import record
from retention_lab.survival.served import _load_pyfunc

# MLflow's own, of pandas.
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
LOAD = """
import json, sys
import pandas as pd
from mlflow import pyfunc
model = pyfunc.load_model(sys.argv[1])
found = model.predict(pd.DataFrame(json.loads(sys.argv[2])), params=None)
signature = model.metadata.signature
told = {
    "predictions": {k: v.tolist() for k, v in found.items()},
    "inputs": signature.inputs.input_names(),
    "outputs": signature.outputs.input_names(),
    "example": model.input_example.to_dict("records"),
}
json.dump(told, open(sys.argv[3], "w"))
"""
ROWS = {"market": ["DE", "FR"], "age": [20.0, 60.0]}


@pytest.fixture(autouse=True, scope="module")
def _imported() -> None:
    """What the packages that mlflow imports warn of when they are first imported is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: F401


def run(root: Path, **survival: object) -> tuple[Path, object]:
    """The folder of a finished run of a cohort study at `root`, and its model."""
    plan = study(root, random_shop(9, customers=150), by=["market"], **survival)
    cohorts = rl.reduce_cohorts(plan)
    model = rl.fit_model(plan, cohorts)
    results = rl.analyse_cohorts(plan, cohorts, model)
    folder = rl.finish(plan, cohorts, results, rl.describe(plan, results), model=model)
    return folder, model


def client(store: Path | str):  # type: ignore[no-untyped-def]
    """Of the store at an address, or of the project in a folder."""
    from mlflow import MlflowClient

    return MlflowClient(store if isinstance(store, str) else f"sqlite:///{store / 'mlflow.db'}")


def loaded(uri: str, root: Path) -> dict[str, Any]:
    """What the registered model says of ROWS in a process that knows only the store's address."""
    out, elsewhere = root / "found.json", root / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOAD, "models:/study.cox/1", json.dumps(ROWS), str(out)],
        cwd=elsewhere,
        env=settings(MLFLOW_TRACKING_URI=uri),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(out.read_text())
    return told


def test_a_model_is_registered_once_and_answers_in_a_fresh_process(
    tmp_path: Path, stored: Callable[[Path], Path]
) -> None:
    stored(tmp_path)
    folder, fitted = run(tmp_path, covariates=["market", "age"])
    run_id = record(folder)
    assert record(folder) == run_id
    store = client(tmp_path)
    (version,) = store.search_model_versions("name = 'study.cox'")
    assert (version.run_id, int(version.version)) == (run_id, 1)
    experiment = store.get_experiment_by_name("study").experiment_id
    (logged,) = store.search_logged_models([experiment])
    assert (logged.name, logged.source_run_id, str(logged.status)) == ("cox", run_id, "READY")
    assert version.source == logged.artifact_location

    found = loaded(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)["predictions"]
    expected = fitted.model.predict(pd.DataFrame(ROWS), [30, 60]).survival  # type: ignore[attr-defined]
    assert list(found) == ["log_hazard_ratio", "day_30", "day_60"]
    np.testing.assert_allclose(
        np.column_stack([found["day_30"], found["day_60"]]), expected, rtol=1e-12
    )

    # Another run of the same experiment is the next version.
    again, _ = run(tmp_path, covariates=["market"])
    record(again)
    versions = store.search_model_versions("name = 'study.cox'")
    assert sorted(int(v.version) for v in versions) == [1, 2]
    assert len({v.run_id for v in versions}) == 2


def test_a_server_gives_the_model_of_the_runs_folder(
    tmp_path: Path, stored: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP: model and artifacts go through the server, and nothing is left beside it."""
    serve = tmp_path / "server"
    serve.mkdir()
    folder, _ = run(tmp_path, covariates=["market", "age"])
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with mlflow_server(stored(serve), serve / "artifacts", port):
        run_id = record(folder)
        assert record(folder) == run_id
        (version,) = client(uri).search_model_versions("name = 'study.cox'")
        assert (version.run_id, int(version.version)) == (run_id, 1)
        found = loaded(uri, tmp_path)
    file = folder / "models" / "cox" / "model.json"
    expected = _load_pyfunc(str(file)).predict(pd.DataFrame(ROWS))
    assert found["predictions"] == expected.to_dict("list")
    assert found["inputs"] == ["market", "age"]
    assert found["outputs"] == ["log_hazard_ratio", "day_30", "day_60"]
    assert found["example"] == json.loads(file.read_text())["example"]
    assert list((serve / "artifacts").rglob("model.json"))
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlruns").exists()


def test_what_is_logged_has_a_signature_and_an_example_without_a_customer(
    tmp_path: Path, stored: Callable[[Path], Path]
) -> None:
    from mlflow import models

    stored(tmp_path)
    folder, fitted = run(tmp_path, covariates=["market", "age"])
    record(folder)
    store = client(tmp_path)
    experiment = store.get_experiment_by_name("study").experiment_id
    (logged,) = store.search_logged_models([experiment])
    path = logged.artifact_location.removeprefix("file://")
    info = models.Model.load(path)
    assert info.signature.inputs.input_names() == ["market", "age"]
    assert info.signature.outputs.input_names() == ["log_hazard_ratio", "day_30", "day_60"]
    example = info.load_input_example(path)
    assert example["age"].nunique() == 1
    assert set(example["market"]) == {"DE", *fitted.data.coding[0].levels}  # type: ignore[attr-defined]


def test_a_run_without_a_model_registers_none(
    tmp_path: Path, stored: Callable[[Path], Path]
) -> None:
    stored(tmp_path)
    folder, fitted = run(tmp_path)
    assert fitted is None
    record(folder)
    assert list(client(tmp_path).search_registered_models()) == []
