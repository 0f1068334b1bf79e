"""What the runner's tests share: an empty MLflow store to copy, since making one takes seconds."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from retention_lab.run.record import open_store


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records go to the project's own store unless a test says otherwise."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without experiments."""
    root = tmp_path_factory.mktemp("store")
    before = dict(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that mlflow imports
        open_store(None, root)
    os.environ.clear()
    os.environ.update(before)
    return root / "mlflow.db"


@pytest.fixture
def stored(empty_store: Path) -> Callable[[Path], Path]:
    """stored(root): give the project at `root` an MLflow database, as its second run finds it."""

    def put(root: Path) -> Path:
        return Path(shutil.copyfile(empty_store, root / "mlflow.db"))

    return put
