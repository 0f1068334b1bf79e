"""One MLflow run a folder, complete, whatever it took; read back with MLflow's own client."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import project
import pytest

from retention_lab.errors import RunError
from retention_lab.experiment.plan import make_plan
from retention_lab.results import Reason, Verdict
from retention_lab.run import record as recording
from retention_lab.run.folder import close_run, open_run, read_run, update_run
from retention_lab.run.provenance import inputs_of
from retention_lab.run.record import record


@pytest.fixture
def root(tmp_path: Path, stored: Callable[[Path], Path]) -> Path:
    project.make(tmp_path, "one", "two")
    stored(tmp_path)
    return tmp_path


def client(root: Path):  # type: ignore[no-untyped-def]
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def runs(root: Path, experiment: str = "one") -> list:  # type: ignore[type-arg]
    found = client(root).get_experiment_by_name(experiment)
    return [] if found is None else list(client(root).search_runs([found.experiment_id]))


def test_everything_of_a_finished_run_is_there(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    run_id = record(folder)
    (run,) = runs(root)
    told = read_run(folder)
    assert run.info.run_id == run_id
    assert run.info.status == "FINISHED"
    assert run.info.run_name == folder.name
    assert run.data.metrics == {
        "spend/mean_difference/b": 2.0,
        "spend/mean_difference/b.se": 0.5,
        "spend/mean_difference/b.ci_low": 1.0,
        "spend/mean_difference/b.ci_high": 3.0,
        "spend/mean_difference/b.p": 0.001,
    }
    assert run.data.params["metrics.spend.role"] == "primary"
    assert run.data.params["inference.alpha"] == "0.05"
    tags = run.data.tags
    assert (tags["status"], tags["verdict"], tags["verdict.arm"]) == ("finished", "ship", "b")
    assert (tags["owner"], tags["engine"]) == ("growth", "duckdb")
    assert tags["mlflow.source.name"] == "experiments/one.yaml"
    for name, digest in told["hashes"].items():
        assert tags[f"hash.{name}"] == digest
    note = tags["mlflow.note.content"]
    assert "Customers in b spend more." in note
    assert "Verdict: ship (b)" in note
    assert "b is better." in note
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "data/units.csv"
    assert given.dataset.digest == told["inputs"][0]["digest"][:36]
    assert given.tags[0].value == "units"
    kept = {f.path for f in client(root).list_artifacts(run_id)}
    assert kept == {p.name for p in folder.iterdir()}
    assert (root / "mlruns" / "one" / run_id / "artifacts" / "verdict.json").is_file()
    assert told["mlflow"] == {
        "experiment_id": run.info.experiment_id,
        "run_id": run_id,
        "tracking": "sqlite:///mlflow.db",
        "complete": True,
    }


def test_changed_values_are_a_tag_and_leave_the_files_own_hash(root: Path) -> None:
    file = root / "experiments" / "one.yaml"
    record(project.finished(file))
    record(project.finished(file, overrides={"inference.alpha": 0.1}))
    changed, plain = sorted((r.data for r in runs(root)), key=lambda d: "changed" not in d.tags)
    assert changed.tags["changed"] == "inference.alpha = 0.1"
    assert "changed" not in plain.tags
    assert changed.params["inference.alpha"] == "0.1"
    assert changed.tags["hash.file"] == plain.tags["hash.file"] == plain.tags["hash.spec"]
    assert changed.tags["hash.spec"] != plain.tags["hash.spec"]


def test_an_invalid_run_is_described_without_effects(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    codes = ("sample_ratio_mismatch", "sample_ratio_mismatch", "primary_better")
    verdict = Verdict("invalid", None, tuple(Reason(code) for code in codes))
    verdict.save(folder, {"en": [f"It is {code}." for code in codes]})
    record(folder)
    (run,) = runs(root)
    note = run.data.tags["mlflow.note.content"]
    assert note.count("It is sample_ratio_mismatch.") == 1
    assert "primary_better" not in note


def test_the_times_are_the_runs_own(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    update_run(
        folder,
        started="2026-01-15T10:00:00.000+00:00",
        finished="2026-01-15T10:00:07.500+00:00",
    )
    record(folder)
    (run,) = runs(root)
    assert run.info.end_time - run.info.start_time == 7500


def test_a_failed_run_is_failed_with_its_traceback(root: Path) -> None:
    folder = open_run(make_plan(root / "experiments" / "one.yaml"))
    (folder / "notebook.ipynb").write_text("{}")
    close_run(folder, "failed", {"type": "E", "message": "it broke", "traceback": "line 7"})
    run_id = record(folder)
    (run,) = runs(root)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "it broke"
    assert run.data.tags["traceback"] == "line 7"
    assert "it broke" in run.data.tags["mlflow.note.content"]
    assert "notebook.ipynb" in {f.path for f in client(root).list_artifacts(run_id)}


def test_a_file_that_is_not_valid_is_recorded_as_written(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    (folder / "spec.yaml").write_text("schema: 1\nname: one\nmetricks: [a]\n")
    record(folder)
    (run,) = runs(root)
    assert run.data.params == {"schema": "1", "name": "one", "metricks": "a"}


def test_half_a_result_table_is_no_obstacle(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    (folder / "results.parquet").write_bytes(b"PAR1 half")
    close_run(folder, "failed", {"type": "E", "message": "m", "traceback": ""})
    record(folder)
    assert runs(root)[0].data.metrics == {}


def test_a_run_that_has_not_ended_is_refused(root: Path) -> None:
    folder = open_run(make_plan(root / "experiments" / "one.yaml"))
    with pytest.raises(RunError, match="has not ended"):
        record(folder)
    assert runs(root) == []


def test_recording_twice_is_recording_once(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    first = record(folder)
    before = runs(root)[0].to_dictionary()
    (folder / "report.en.html").write_text("written again")
    assert record(folder) == first
    (run,) = runs(root)
    assert run.to_dictionary() == before
    history = client(root).get_metric_history(first, "spend/mean_difference/b")
    assert [m.value for m in history] == [2.0]
    kept = root / "mlruns" / "one" / first / "artifacts" / "report.en.html"
    assert kept.read_text() == "written again"


@pytest.mark.parametrize("broken", ["log_batch", "log_inputs", "log_artifacts", "set_terminated"])
@pytest.mark.parametrize("note_lost", [False, True])
def test_what_broke_in_the_middle_is_finished(
    root: Path, monkeypatch: pytest.MonkeyPatch, broken: str, note_lost: bool
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def away(*_: object, **__: object) -> None:
        raise MlflowException("the server went away\nfor good")

    folder = project.finished(root / "experiments" / "one.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, broken, away)
        with pytest.raises(RunError, match=r"sqlite:///mlflow\.db: .*the server went away$"):
            record(folder)
    assert read_run(folder)["mlflow"]["complete"] is False
    (half,) = runs(root)
    assert half.info.status == ("RUNNING" if broken == "set_terminated" else "FAILED")
    if note_lost:
        update_run(folder, mlflow=None)
    run_id = record(folder)
    (run,) = runs(root)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert len(run.data.metrics) == 5
    assert len(run.inputs.dataset_inputs) == 1
    assert read_run(folder)["mlflow"]["complete"] is True


def test_a_deleted_run_or_experiment_is_made_again(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    first = record(folder)
    client(root).delete_run(first)
    second = record(folder)
    assert second != first
    client(root).delete_experiment(read_run(folder)["mlflow"]["experiment_id"])
    assert record(folder) in {r.info.run_id for r in runs(root)}


def test_more_than_a_batch_of_everything(root: Path) -> None:
    from retention_lab.results import Results, Row

    folder = project.finished(root / "experiments" / "one.yaml")
    rows = [
        Row(analysis="ab", metric=f"m{i}", estimand="mean", arm="b", estimate=float(i))
        for i in range(2500)
    ]
    Results.of(rows).save(folder)
    labels = "".join(f"    l{i}: label {i}\n" for i in range(150))
    with (folder / "spec.yaml").open("a") as spec:
        spec.write(f"report:\n  labels:\n{labels}")
    record(folder)
    (run,) = runs(root)
    assert len(run.data.metrics) == 2500
    assert run.data.params["report.labels.l149.en"] == "label 149"


def test_threads_may_record_at_once(root: Path) -> None:
    folders = [project.finished(root / "experiments" / f"{n}.yaml") for n in ("one", "two") * 4]
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(record, folders))
    assert len(set(ids)) == 8
    assert {len(runs(root, n)) for n in ("one", "two")} == {4}


def test_a_folder_that_is_recorded_twice_at_once_is_one_run(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(record, [folder] * 4))
    (run,) = runs(root)
    assert set(ids) == {run.info.run_id}
    assert run.info.status == "FINISHED"


def test_other_processes_wait_for_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    held: list[str] = []

    @contextlib.contextmanager
    def turn(what: str) -> Iterator[None]:
        held.append(what)
        yield

    monkeypatch.setattr(recording, "_turn", turn)
    record(folder)
    assert held == [str(folder), f"sqlite:///{root / 'mlflow.db'}"]


def test_without_fcntl_nobody_waits() -> None:
    """As on Windows; the module is imported all the same."""
    script = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from retention_lab.run.record import _turn\n"
        "with _turn('x'), _turn('x'):\n    print('in')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "in\n", done.stderr


def test_a_file_that_cannot_be_cleaned_is_not_recorded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "hunter2-hunter2")
    folder = project.finished(root / "experiments" / "one.yaml")
    with (folder / "spec.yaml").open("a") as spec:
        spec.write("# ${SHOP_TOKEN}\n")
    (folder / "odd.parquet").write_bytes(b"PAR1 hunter2-hunter2")
    run_id = record(folder)
    assert "odd.parquet" not in {f.path for f in client(root).list_artifacts(run_id)}
    assert "odd.parquet was deleted" in read_run(folder)["faults"][-1]


def test_secrets_do_not_reach_the_record(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "hunter2-hunter2")
    folder = project.finished(root / "experiments" / "one.yaml")
    with (folder / "spec.yaml").open("a") as spec:
        spec.write("# ${SHOP_TOKEN}\n")
    (folder / "notebook.ipynb").write_text("it was hunter2-hunter2")
    run_id = record(folder)
    kept = root / "mlruns" / "one" / run_id / "artifacts" / "notebook.ipynb"
    assert kept.read_text() == "it was ${SHOP_TOKEN}"


def test_a_store_that_cannot_be_reached_is_named_without_its_password(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = project.finished(root / "experiments" / "one.yaml")
    with pytest.raises(RunError, match=r"MLflow at http://127\.0\.0\.1:9") as error:
        record(folder)
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in (folder / "run.json").read_text()


@pytest.mark.parametrize(
    "uri",
    ["http://me:hunter2@127.0.0.1:9", "http://127.0.0.1:9?user=me&password=hunter2"],
)
def test_what_a_store_says_is_told_without_its_password(uri: str) -> None:
    error = ValueError(f"cannot reach {uri} with password hunter2, {uri}/api/x\nmore")
    said = recording._reason(error, uri, "http://127.0.0.1:9")
    assert said.startswith("cannot reach http://127.0.0.1:9 with password ${")
    assert "hunter2" not in said


def test_the_users_own_settings_hold(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    recording.open_store(None, root)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"


def test_an_input_without_a_digest_says_so(root: Path) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    plan = make_plan(root / "experiments" / "one.yaml")
    (units,) = inputs_of(plan.spec, plan.source)
    update_run(folder, inputs=[{**units, "digest": None, "bytes": None}])
    record(folder)
    assert runs(root)[0].inputs.dataset_inputs[0].dataset.digest == "unknown"


@pytest.mark.parametrize("broken", ["a folder", "not a database"])
def test_a_store_that_cannot_be_written_is_told_at_once(root: Path, broken: str) -> None:
    folder = project.finished(root / "experiments" / "one.yaml")
    (root / "mlflow.db").unlink()
    if broken == "a folder":
        (root / "mlflow.db").mkdir()
    else:
        (root / "mlflow.db").write_bytes(b"something else entirely" * 100)
    began = time.monotonic()
    with pytest.raises(RunError, match=r"MLflow at sqlite:///mlflow\.db: "):
        record(folder)
    assert time.monotonic() - began < 5
    assert read_run(folder)["status"] == "finished"


def test_who_makes_a_store_is_not_disturbed(tmp_path: Path) -> None:
    """Two that meet a fresh SQLite file take turns, also in different processes."""
    uri, order = f"sqlite:///{tmp_path}/mlflow.db", []
    script = (
        "import sys; from retention_lab.run.record import _turn\n"
        "with _turn(sys.argv[1]):\n    print('other', flush=True)"
    )
    with recording._turn(uri):
        other = subprocess.Popen(
            [sys.executable, "-c", script, uri], stdout=subprocess.PIPE, text=True
        )
        with pytest.raises(subprocess.TimeoutExpired):
            other.communicate(timeout=1.5)
        order.append("first")
    said, _ = other.communicate(timeout=30)
    assert [*order, said.strip()] == ["first", "other"]
