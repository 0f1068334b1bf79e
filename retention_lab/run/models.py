"""Fitted models that a run left in its folder in; logged and registered in MLflow out.

A model is a folder ``models/NAME`` with a ``model.json``: plain numbers, never code. Its key
`loader` names the module of this package that makes a predictor of it (``_load_pyfunc``), and
`example` is an input, a list of records, that holds no customer's row.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.logged_model import LoggedModel

FOLDER = "models"
FILE = "model.json"


def log_models(client: MlflowClient, experiment: str, run_id: str, folder: Path, name: str) -> None:
    """Log every model of the run in `folder`, and register it as ``<name>.<model>``.

    What is logged for this run already stays as it is.
    """
    held = sorted((folder / FOLDER).glob(f"*/{FILE}"))
    if not held:
        return
    wanted = f"source_run_id = '{run_id}'"
    found = client.search_logged_models([experiment], filter_string=wanted)
    known = {m.name: m for m in found if str(m.status) == "READY"}
    for file in held:
        model = known.get(file.parent.name) or _logged(client, experiment, run_id, file)
        _register(client, f"{name}.{file.parent.name}", model, run_id)


def _logged(client: MlflowClient, experiment: str, run_id: str, file: Path) -> LoggedModel:
    """The model in `file`, logged with its signature and input example."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    content = json.loads(file.read_text(encoding="utf-8"))
    model = client.create_logged_model(
        experiment, file.parent.name, source_run_id=run_id, model_type=content.get("kind")
    )
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MLflow itself imports
        path = Path(scratch) / "model"
        _save(path, file, content, Model(model_id=model.model_id, run_id=run_id))
        client.log_model_artifacts(model.model_id, str(path))
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")


def _save(path: Path, file: Path, content: Mapping[str, Any], model: Any) -> None:
    """Write the model in MLflow's own form into `path`."""
    from importlib import import_module

    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import infer_signature

    from retention_lab import __version__

    example = pd.DataFrame(content["example"])
    predictor = import_module(content["loader"])._load_pyfunc(str(file))
    pyfunc.save_model(
        str(path),
        loader_module=content["loader"],
        data_path=str(file),
        mlflow_model=model,
        signature=infer_signature(example, predictor.predict(example)),
        input_example=example,
        pip_requirements=[f"retention-lab=={__version__}"],
    )


def _register(client: MlflowClient, name: str, model: LoggedModel, run_id: str) -> None:
    """A version of the registered model `name` for this run; the one there is, if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if not client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        # By its place: MLflow looks a "models:/" up in its global store, which may be another one.
        where = model.artifact_location
        client.create_model_version(name, where, run_id, model_id=model.model_id)
