"""Unchanged work is found; a change of anything that results rest on is not the same work."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import project
import pytest

from retention_lab.run import provenance
from retention_lab.run.cache import find_unchanged
from retention_lab.run.folder import read_run, update_run
from retention_lab.run.outcome import Outcome
from retention_lab.run.prepare import Ready, prepare

OVERRIDES = {"inference.alpha": "0.1"}
RECORDED = {"tracking": "sqlite:///mlflow.db", "complete": True, "run_id": "abc"}


def store(root: Path, *run_ids: str) -> None:
    """What `prepare` reads of MLflow's database: the table of runs."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute("create table runs (run_uuid text)")
        connection.executemany("insert into runs values (?)", [[i] for i in run_ids])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return project.make(tmp_path, "one")[0]


@pytest.fixture
def folder(file: Path) -> Path:
    """A run of `file` that was finished and recorded."""
    made = project.finished(file)
    store(made.parents[2], "abc", "def")
    update_run(made, mlflow=RECORDED)
    return made


def look(file: Path, **options: object) -> Ready | Outcome:
    found = prepare(file, **{"overrides": {}, "reports": None, "force": False, **options})  # type: ignore[arg-type]
    if isinstance(found, Outcome):
        assert found.status == "skipped_unchanged", found.message
    return found


def test_the_same_again_is_found_with_its_verdict(file: Path, folder: Path) -> None:
    found = look(file)
    assert isinstance(found, Outcome)
    assert (found.verdict, found.arm, found.folder) == ("ship", "b", folder)
    assert found.ok


def test_nothing_is_looked_at_but_hashes(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retention_lab.experiment import plan

    monkeypatch.setattr(plan, "make_plan", None)
    assert isinstance(look(file), Outcome)


def data(root: Path) -> None:
    path = root / "data" / "units.csv"
    path.write_text(path.read_text() + "a,9\n")


def notebook(root: Path) -> None:
    project.write_notebook(root / "notebooks" / "one.ipynb", [project.FINISH + "# more"])


def spec(root: Path) -> None:
    path = root / "experiments" / "one.yaml"
    path.write_text(path.read_text() + "# more\n")


def module(root: Path) -> None:
    (root / "helpers.py").write_text("X = 2\n")


def module_beside(root: Path) -> None:
    (root / "notebooks" / "helpers.py").write_text("X = 2\n")


@pytest.mark.parametrize("change", [data, notebook, spec, module, module_beside])
@pytest.mark.usefixtures("folder")
def test_a_changed_file_is_new_work(
    file: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path)
    assert isinstance(look(file), Ready)


@pytest.mark.parametrize("name", ["lock_hash", "code_hash"])
@pytest.mark.usefixtures("folder")
def test_changed_packages_or_code_are_new_work(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(provenance, name, lambda *_: "another")
    assert isinstance(look(file), Ready)


@pytest.mark.usefixtures("folder")
def test_overrides_and_force_are_new_work(file: Path) -> None:
    assert isinstance(look(file, overrides=OVERRIDES), Ready)
    assert isinstance(look(file, force=True), Ready)


@pytest.mark.parametrize("name", ["results.parquet", "verdict.json", "report.en.html"])
def test_a_run_that_lost_a_file_is_run_again(file: Path, folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert isinstance(look(file), Ready)


@pytest.mark.parametrize(
    "values",
    [{"status": "failed"}, {"status": "running"}, {"started_by": "notebook"}, {"files": []}],
)
def test_only_a_finished_run_of_the_runner_counts(
    file: Path, folder: Path, values: dict[str, object]
) -> None:
    update_run(folder, **values)
    assert isinstance(look(file), Ready)


def test_a_broken_run_json_is_passed_over(file: Path, folder: Path) -> None:
    later = folder.with_name("99990101-000000-ffff")
    later.mkdir()
    (later / "run.json").write_text("{")
    assert isinstance(look(file), Outcome)


def test_an_older_run_with_the_same_key_is_found(file: Path, folder: Path) -> None:
    project.finished(file, overrides=OVERRIDES)
    found = look(file)
    assert isinstance(found, Outcome)
    assert found.folder == folder


def rebuilt(root: Path, *run_ids: str) -> None:
    (root / "mlflow.db").unlink()
    store(root, *run_ids)


def test_a_server_is_not_asked(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw@127.0.0.1:9")
    update_run(folder, mlflow={**RECORDED, "tracking": "http://127.0.0.1:9"})
    found = look(file)
    assert isinstance(found, Outcome)
    assert found.ok


def another_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder, _: update_run(folder, mlflow=None),
        lambda folder, _: update_run(folder, mlflow={**RECORDED, "complete": False}),
        lambda folder, _: (folder.parents[2] / "mlflow.db").unlink(),
        lambda folder, _: rebuilt(folder.parents[2], "another run's"),
        lambda folder, _: (folder.parents[2] / "mlflow.db").write_text("no database"),
        another_store,
    ],
)
def test_what_the_store_does_not_have_is_not_done(
    file: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, pytest.MonkeyPatch], object],
) -> None:
    change(folder, monkeypatch)
    found = look(file)
    assert isinstance(found, Outcome)
    assert not found.ok


def test_unknown_data_is_never_unchanged(folder: Path, tmp_path: Path) -> None:
    assert find_unchanged(tmp_path / "reports", "one", None) is None
    key = read_run(folder)["key"]
    assert find_unchanged(tmp_path / "reports", "one", key) == folder


def test_skipping_imports_nothing_heavy(file: Path) -> None:
    """In fresh processes: one leaves a finished run, the next skips it."""
    store(file.parents[1], "abc")

    def python(program: str) -> list[object]:
        words = [sys.executable, "-c", "import json, sys\nfrom pathlib import Path\n" + program]
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        )
        answer: list[object] = json.loads(done.stdout)
        return answer

    (folder,) = python(
        "import project\nfrom retention_lab.run.folder import update_run\n"
        f"folder = project.finished(Path({str(file)!r}))\n"
        f"update_run(folder, mlflow={RECORDED})\nprint(json.dumps([str(folder)]))"
    )
    status, found, modules = python(
        "from retention_lab.run.execute import run_experiments\n"
        f"(outcome,) = run_experiments([Path({str(file)!r})])\n"
        "print(json.dumps([outcome.status, str(outcome.folder), sorted(sys.modules)]))"
    )
    assert (status, found) == ("skipped_unchanged", folder)
    assert isinstance(modules, list)
    assert not {"pandas", "numpy", "papermill", "nbformat", "mlflow", "zmq"} & set(modules)
