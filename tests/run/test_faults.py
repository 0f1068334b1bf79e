"""What may go wrong, through the command line: told clearly, recorded, and nothing left behind."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import project
import psutil
import pytest
from mlflow_server import free_port, kill, mlflow_server, settings, wait_for

import retention_lab
from retention_lab.run.folder import list_runs, read_run

# Its parts are long: four digits stand in some time of day sooner or later.
SECRET = "s3cret&Value/a4711b0815"
NAMED = "SHOP_FOLDER"  # the environment variable that holds it
COMMAND = [sys.executable, "-m", "retention_lab"]
BEGIN = "import pathlib, time\npathlib.Path('begun-' + pathlib.Path(run_dir).parent.name).touch()\n"


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    text: str
    seconds: float


def ask(root: Path, *words: str, **environment: str) -> Answer:
    began = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=root,
        env=settings(**environment),
        capture_output=True,
        text=True,
        timeout=200,
    )
    seconds = time.monotonic() - began
    return Answer(done.returncode, " ".join((done.stdout + done.stderr).split()), seconds)


def latest(root: Path, experiment: str) -> tuple[Path, dict[str, Any]]:
    (folder,) = list_runs(root / "reports", experiment)
    return folder, read_run(folder)


def recorded(uri: str) -> dict[str, Any]:
    """The MLflow runs in the store at `uri`, by experiment; each experiment has one."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = {}
    for experiment in client.search_experiments():
        runs = client.search_runs([experiment.experiment_id])
        if experiment.name != "Default":
            (found[experiment.name],) = runs
    return found


@dataclasses.dataclass(frozen=True)
class Batch:
    root: Path
    first: Answer
    again: Answer
    runs: dict[str, Any]
    kernels_left: list[str]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Batch:
    """One run of everything that can fail beside what can not; then the good one again."""
    root = tmp_path_factory.mktemp("lab")
    tell = (
        f"import os, sys\nfound = os.environ['{NAMED}']\nprint(found)\nprint([found])\n"
        "print({'html': found}, file=sys.stderr)\n"
        "open(run_dir + '/notes.txt', 'w').write(found)\n"
    )
    secret = f"${{{NAMED}}}/units.csv"
    cells = {
        "good": (project.FINISH, "data/units.csv"),
        "raises": ("print('so far')\n1 / 0", "data/units.csv"),
        "hangs": ("print('so far')\nimport time\ntime.sleep(100)", "data/units.csv"),
        "dies": ("import os\nos._exit(7)", "data/units.csv"),
        "tells": (tell + project.FINISH, secret),
        "blurts": (tell + "raise ValueError(found)", secret),
        "unknown-key": ("1", "data/units.csv\nsegmets: []"),
        "no-table": ("1", f"${{{NAMED}}}/absent.csv"),
        "no-column": ("1", "data/units.csv\nsegments: [amr]"),
        "no-data": ("1", "dataset:online-retail"),
    }
    project.make(root)
    for name, (source, units) in cells.items():
        project.add(root, name, [source], units=units)
    vault = root / f"vault {SECRET}"
    vault.mkdir(parents=True)
    (vault / "units.csv").write_bytes((root / "data" / "units.csv").read_bytes())
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    given = {NAMED: str(vault), "RETENTION_LAB_DATA": str(root)}
    given["RETENTION_LAB_CACHE"] = str(root / "cache")
    # A copy, so that nobody who edits the code between the two calls makes them different work.
    given["PYTHONPATH"] = str(root / "code")
    shutil.copytree(Path(retention_lab.__file__).parent, root / "code" / "retention_lab")
    files = [f"experiments/{name}.yaml" for name in (*cells, "goood")]
    first = ask(root, "run", *files, "--jobs", "2", "--timeout", "20", **given)
    left = kernels_of(root)
    again = ask(root, "run", "good", **given)
    return Batch(root, first, again, recorded(f"sqlite:///{root / 'mlflow.db'}"), left)


def kernels_of(root: Path) -> list[str]:
    """Command lines of the kernels that work in the project at `root`, zombies included."""
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if "ipykernel" in words and Path(process.cwd()) == root:
                found.append(words)
        except psutil.Error:
            continue
    return found


def test_a_batch_with_failures_ends_with_1_and_leaves_no_kernel(batch: Batch) -> None:
    assert batch.first.status == 1
    assert "Traceback" not in batch.first.text
    assert batch.kernels_left == []


def test_the_others_finish(batch: Batch) -> None:
    for name in ("good", "tells"):
        folder, run = latest(batch.root, name)
        assert run["status"] == "finished"
        assert (run["verdict"]["verdict"], run["verdict"]["arm"]) == ("ship", "b")
        assert batch.runs[name].info.status == "FINISHED"
        assert (folder / "results.parquet").is_file()


FAULTS = {
    "raises": "cell 3: ZeroDivisionError: division by zero",
    "hangs": "deadline of 20 s passed in cell 3",
    "dies": "the kernel died in cell 3: its process ended with exit status 7",
    "blurts": f"cell 3: ValueError: ${{{NAMED}}}",
    "unknown-key": "line 9: unknown key 'segmets'; did you mean 'segments'",
    "no-table": f"no file '${{{NAMED}}}/absent.csv'",
    "no-column": "column 'amr' is not in data/units.csv; did you mean 'arm'",
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_failure_is_told_kept_and_recorded(batch: Batch, name: str) -> None:
    assert f"{name} failed: " in batch.first.text
    assert FAULTS[name] in batch.first.text
    folder, run = latest(batch.root, name)
    assert run["status"] == "failed"
    assert FAULTS[name] in run["error"]["message"]
    assert (folder / "spec.yaml").is_file()
    record = batch.runs[name]
    assert record.info.status == "FAILED"
    assert FAULTS[name] in record.data.tags["error"]
    assert record.info.run_id == run["mlflow"]["run_id"]


@pytest.mark.parametrize("name", ["raises", "hangs", "blurts"])
def test_a_failed_notebook_is_recorded_as_far_as_it_came(batch: Batch, name: str) -> None:
    record = batch.runs[name]
    artifacts = batch.root / "mlruns" / name / record.info.run_id / "artifacts"
    text = (artifacts / "notebook.ipynb").read_text()
    assert "Error" in text or "Deadline" in text
    assert "so far" in text or name == "blurts"
    assert record.data.tags["traceback"]


def test_a_missing_file_and_a_missing_dataset_are_told(batch: Batch) -> None:
    assert "goood failed: there is no experiment file at experiments/goood.yaml" in batch.first.text
    assert "did you mean 'good'" in batch.first.text
    assert "no-data was skipped" in batch.first.text
    assert "no-data" not in batch.runs
    left = [p.name for p in (batch.root / "reports" / "no-data").iterdir()]
    assert left == ["skipped.json"]


def test_unchanged_work_is_skipped_in_no_time(batch: Batch) -> None:
    assert batch.again.status == 0
    assert "unchanged" in batch.again.text
    assert len(list_runs(batch.root / "reports", "good")) == 1
    assert batch.again.seconds < 5  # about half a second on a machine that does nothing else


def test_a_secret_is_nowhere(batch: Batch) -> None:
    places = [batch.root / "reports", batch.root / "mlruns", batch.root / "notebooks"]
    files = [p for place in places for p in place.rglob("*") if p.is_file()]
    files += list(batch.root.glob("mlflow.db*"))
    notebooks = [p for p in files if p.name == "notebook.ipynb" and "tells" in p.parts]
    assert any(NAMED in p.read_text() for p in notebooks)
    for path in files:
        content = path.read_bytes()
        for part in (SECRET, "s3cret", "a4711b0815"):
            assert part.encode() not in content, path
    assert "s3cret" not in batch.first.text


HEARS = (  # a process that is started in the background ignores Ctrl-C unless it says otherwise
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from retention_lab.__main__ import main; main()"
)


def start(root: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """The command line in a process that hears Ctrl-C, however the tests were started."""
    return subprocess.Popen(
        [sys.executable, "-c", HEARS, *words],
        cwd=root,
        env=settings(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ctrl_c_ends_everything_in_good_order(
    tmp_path: Path, stored: Callable[[Path], Path]
) -> None:
    names = ("one", "two", "three")
    project.make(tmp_path, *names, cells=[BEGIN + "print('so far')\ntime.sleep(100)"])
    stored(tmp_path)
    files = [f"experiments/{name}.yaml" for name in names]
    running = start(tmp_path, "run", *files, "--jobs", "2")
    wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    kernels = psutil.Process(running.pid).children(recursive=True)
    assert len(kernels_of(tmp_path)) == 2
    running.send_signal(signal.SIGINT)
    text, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    assert not [k for k in kernels if k.is_running()]
    assert "Traceback" not in text
    runs = recorded(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for name in ("one", "two"):
        assert f"{name} was interrupted: interrupted in cell 3" in text
        folder, run = latest(tmp_path, name)
        assert run["status"] == "interrupted"
        assert "so far" in (folder / "notebook.ipynb").read_text()
        assert (runs[name].info.status, runs[name].data.tags["status"]) == ("FAILED", "interrupted")
    assert "three was interrupted: it was not started" in text
    assert not (tmp_path / "reports" / "three").exists()


def test_kernels_do_not_outlive_a_killed_runner(tmp_path: Path) -> None:
    project.make(tmp_path, "one", cells=[BEGIN + "time.sleep(100)"])
    running = start(tmp_path, "run", "one")
    wait_for(lambda: list(tmp_path.glob("begun-*")))
    running.kill()
    running.communicate(timeout=60)
    wait_for(lambda: not kernels_of(tmp_path), seconds=30)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    project.make(tmp_path, "one")
    (tmp_path / "reports").write_text("a file in the way")
    answer = ask(tmp_path, "run", "one")
    assert answer.status == 1
    assert "one failed: " in answer.text
    assert "cannot be made" in answer.text
    assert "Traceback" not in answer.text


def test_a_server_that_goes_down_in_the_middle(
    tmp_path: Path, stored: Callable[[Path], Path]
) -> None:
    """Over HTTP: one run is recorded, the next finds the server gone, `record` catches up."""
    port = free_port()
    uri = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    wait = BEGIN + "while not pathlib.Path('go').exists():\n    time.sleep(0.1)\n"
    project.make(tmp_path)
    project.add(tmp_path, "first", [project.FINISH], units="data/units.csv")
    project.add(tmp_path, "second", [wait + project.FINISH], units="data/units.csv")
    serve = tmp_path / "server"
    serve.mkdir()
    store, artifacts = stored(serve), serve / "artifacts"
    with mlflow_server(store, artifacts, port) as server:
        running = start(tmp_path, "run", "first", "second", "--jobs", "1", **uri)
        wait_for(lambda: list(tmp_path.glob("begun-*")))
        folder, _ = latest(tmp_path, "first")
        wait_for(lambda: (read_run(folder)["mlflow"] or {}).get("complete"))
        kill(server)
        (tmp_path / "go").touch()
        text, _ = running.communicate(timeout=180)
    text = " ".join(text.split())
    assert running.returncode == 1, text
    folder, run = latest(tmp_path, "second")
    assert run["status"] == "finished"
    assert (folder / "results.parquet").is_file()
    assert f"finished, not recorded: MLflow at http://127.0.0.1:{port}" in text
    assert f"retention-lab record {folder}" in text
    assert not (tmp_path / "mlflow.db").exists()
    with mlflow_server(store, artifacts, port):
        answer = ask(tmp_path, "record", str(folder), **uri)
        assert answer.status == 0, answer.text
        runs = recorded(uri["MLFLOW_TRACKING_URI"])
    assert sorted(runs) == ["first", "second"]
    for name, made in runs.items():
        assert made.info.status == "FINISHED"
        assert made.data.metrics["spend/mean_difference/b"] == 2.0
        (kept,) = artifacts.glob(f"**/{made.info.run_id}/artifacts/notebook.ipynb")
        assert name in kept.read_text()
