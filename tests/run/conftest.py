"""What the runner's tests share, since making it takes seconds: an empty MLflow store, pages."""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from retention_lab.run import record

if TYPE_CHECKING:
    from run.pages import Make, Page, PageOf

    from retention_lab.run.view.source import Source


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that `open_store` makes stay within the test, which begins without a server."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were handed to MLflow; nothing is really recorded."""
    folders: list[Path] = []
    monkeypatch.setattr(record, "record", lambda folder: folders.append(folder))
    monkeypatch.setattr(record, "open_store", lambda *_: None)
    return folders


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without experiments."""
    root = tmp_path_factory.mktemp("store")
    before = dict(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that mlflow imports
        record.open_store(None, root)
    os.environ.clear()
    os.environ.update(before)
    return root / "mlflow.db"


@pytest.fixture
def stored(empty_store: Path) -> Callable[[Path], Path]:
    """stored(root): give the project at `root` an MLflow database, as its second run finds it."""

    def put(root: Path) -> Path:
        return Path(shutil.copyfile(empty_store, root / "mlflow.db"))

    return put


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> PageOf:
    """page_of(make): the pages of one of the samples' cases, written once for all tests."""
    from run.pages import pages

    @functools.cache
    def written(make: Make) -> dict[str, Page]:
        return pages(make(), tmp_path_factory.mktemp(make.__name__))

    return written


@pytest.fixture(scope="session")
def at(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The run that has every kind of row, as its report reads it."""
    from run.every_row import rich
    from run.sample import write

    from retention_lab.run.view.source import Source

    return Source.load(write(rich(), tmp_path_factory.mktemp("rich")))
