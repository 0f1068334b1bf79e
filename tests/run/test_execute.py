"""Batches of small notebooks on real kernels: what is passed in, what comes out, what fails."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import project
import psutil
import pytest

from retention_lab.errors import PlanError
from retention_lab.run import record as recording
from retention_lab.run.execute import Event, Outcome, notebook_parameters, run_experiments
from retention_lab.run.folder import read_run
from retention_lab.run.kernel import LONGEST, how_it_ended, socket_folder

SHOW = """
import json, os, sys
from pathlib import Path
(Path(run_dir) / "seen.json").write_text(json.dumps({
    "experiment": experiment, "run_dir": run_dir, "overrides": overrides,
    "cwd": os.getcwd(), "python": sys.executable,
    "mlflow": [k for k in os.environ if k.startswith("MLFLOW")],
}))
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were handed to MLflow; nothing is really recorded."""
    folders: list[Path] = []
    monkeypatch.setattr(recording, "record", lambda folder: folders.append(folder))
    monkeypatch.setattr(recording, "open_store", lambda *_: None)
    return folders


def run(files: Sequence[Path], **options: object) -> tuple[list[Outcome], list[Event]]:
    events: list[Event] = []
    outcomes = run_experiments(files, on_event=events.append, **options)  # type: ignore[arg-type]
    assert not psutil.Process().children(recursive=True)
    return outcomes, events


def notebook(outcome: Outcome) -> dict:  # type: ignore[type-arg]
    assert outcome.folder is not None
    content: dict = json.loads((outcome.folder / "notebook.ipynb").read_text())  # type: ignore[type-arg]
    return content


def test_one_notebook_from_file_to_results(
    tmp_path: Path, recorded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw@127.0.0.1:9")
    monkeypatch.chdir(os.sep)
    files = project.make(tmp_path, "one", cells=[SHOW, project.FINISH])
    (outcome,), events = run(files, overrides={"inference.alpha": "0.1"})
    assert (outcome.status, outcome.verdict, outcome.arm) == ("finished", "ship", "b")
    assert outcome.ok
    assert outcome.folder is not None
    assert recorded == [outcome.folder]
    seen = json.loads((outcome.folder / "seen.json").read_text())
    assert seen == {
        "experiment": "experiments/one.yaml",
        "run_dir": f"reports/one/{outcome.folder.name}",
        "overrides": {"inference.alpha": "0.1"},
        "cwd": str(tmp_path),
        "python": sys.executable,
        "mlflow": [],
    }
    assert Path.cwd() == Path(os.sep)
    told = read_run(outcome.folder)
    assert told["status"] == "finished"
    assert told["started_by"] == "runner"
    assert "seen.json" in told["files"]
    assert [e.kind for e in events] == ["planned", "started", *["cell"] * 4, "finished"]
    assert [(e.cell, e.cells) for e in events if e.kind == "cell"] == [(i, 4) for i in (1, 2, 3, 4)]
    assert events[-1].outcome == outcome
    cells = notebook(outcome)["cells"]
    assert cells[1]["metadata"]["tags"] == ["injected-parameters"]
    assert {c["metadata"]["papermill"]["status"] for c in cells} == {"completed"}
    assert (tmp_path / "reports" / "index.html").is_file()


def test_further_parameters_reach_the_notebook(tmp_path: Path, recorded: list[Path]) -> None:
    (file,) = project.make(tmp_path, "one", cells=[])
    cells = ["assert flag is False and count == 3 and names == ['a', 'b']", project.FINISH]
    parameters = project.PARAMETERS + "flag: bool = True\ncount = 0\nnames = []\n"
    project.write_notebook(tmp_path / "notebooks" / "one.ipynb", cells, parameters)
    with file.open("a") as spec:
        spec.write("parameters: {flag: false, count: 3, names: [a, b]}\n")
    (outcome,), _ = run([file])
    assert outcome.status == "finished", outcome.message
    assert len(recorded) == 1


def test_what_fails_leaves_the_others_alone(tmp_path: Path, recorded: list[Path]) -> None:
    """A raise, a dead kernel, no results; each with its partial notebook, none stops the others."""
    cells = {
        "raises": ["print('so far')", "1 / 0", "print('never')"],
        "dies": ["print('so far', flush=True)\nimport os\nos._exit(7)"],
        "forgets": ["pass"],
        "vanishes": ["import shutil\nshutil.rmtree(run_dir)"],
        "good": [project.FINISH],
    }
    project.make(tmp_path)
    files = [project.add(tmp_path, n, c, units="data/units.csv") for n, c in cells.items()]
    (raises, dies, forgets, vanishes, good), _ = run(files, jobs=2)
    failed = (raises, dies, forgets, vanishes)
    assert [o.status for o in (*failed, good)] == ["failed"] * 4 + ["finished"]
    assert raises.message == "cell 4: ZeroDivisionError: division by zero"
    assert dies.message == "the kernel died in cell 3: its process ended with exit status 7"
    assert "finished without results" in forgets.message
    assert "run.json" in vanishes.message
    assert not any(o.ok for o in failed)
    kept = [o.folder for o in (raises, dies, forgets, good)]
    assert sorted(recorded) == sorted(folder for folder in kept if folder)

    assert raises.folder is not None
    error = read_run(raises.folder)["error"]
    assert error["type"] == "ZeroDivisionError"
    assert "1 / 0" in error["traceback"]
    assert "\x1b" not in error["traceback"]
    done, broken, never = notebook(raises)["cells"][2:]
    assert done["outputs"][0]["text"] == ["so far\n"]
    assert broken["outputs"][0]["ename"] == "ZeroDivisionError"
    assert broken["metadata"]["papermill"]["status"] == "failed"
    assert never["outputs"] == []
    last = notebook(dies)["cells"][-1]
    assert [o["output_type"] for o in last["outputs"]][-1] == "error"
    assert last["metadata"]["papermill"]["status"] == "failed"


def test_a_kernel_that_is_killed_is_missed_at_once(tmp_path: Path, recorded: list[Path]) -> None:
    kill = "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)"
    began = time.monotonic()
    (outcome,), _ = run(project.make(tmp_path, "one", cells=[kill]))
    assert "killed by SIGKILL (often: out of memory)" in outcome.message
    assert time.monotonic() - began < 30
    assert len(recorded) == 1


def test_a_dead_kernels_last_words_are_kept(tmp_path: Path, recorded: list[Path]) -> None:
    crash = "import faulthandler\nfaulthandler._sigsegv()"
    (outcome,), _ = run(project.make(tmp_path, "one", cells=[crash]))
    assert outcome.folder is not None
    assert "killed by SIGSEGV" in outcome.message
    assert "Segmentation fault" in read_run(outcome.folder)["error"]["traceback"]
    assert len(recorded) == 1


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_notebook_ends_at_its_deadline(
    tmp_path: Path, recorded: list[Path], stubborn: bool
) -> None:
    hang = "import time\ntime.sleep(100)"
    if stubborn:
        hang = (
            "import time, subprocess\nsubprocess.Popen(['sleep', '100'])\nwhile True:\n"
            "    try:\n        time.sleep(100)\n    except KeyboardInterrupt:\n        pass"
        )
    files = project.make(tmp_path, "one", cells=["print('so far')", hang, "print('never')"])
    began = time.monotonic()
    (outcome,), _ = run(files, timeout=6)
    assert time.monotonic() - began < 30
    assert outcome.status == "failed"
    assert outcome.message == "deadline of 6 s passed in cell 4"
    assert outcome.folder is not None
    told = read_run(outcome.folder)
    assert (told["status"], told["error"]["type"]) == ("failed", "Deadline")
    assert ("KeyboardInterrupt" in told["error"]["traceback"]) is not stubborn
    done, hung, never = notebook(outcome)["cells"][2:]
    assert done["outputs"][0]["text"] == ["so far\n"]
    assert hung["metadata"]["papermill"]["status"] == "failed"
    assert hung["outputs"][-1]["evalue"] == "deadline of 6 s passed in cell 4"
    assert never["outputs"] == []
    assert len(recorded) == 1


def test_a_record_that_fails_is_told_and_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retention_lab.errors import RunError

    def away(folder: Path) -> str:
        raise RunError("MLflow at http://host: it is away")

    monkeypatch.setattr(recording, "open_store", lambda *_: None)
    files = project.make(tmp_path, "one")
    with monkeypatch.context() as patch:
        patch.setattr(recording, "record", away)
        (outcome,), _ = run(files)
    assert (outcome.status, outcome.recorded, outcome.ok) == ("finished", False, False)
    assert "finished, not recorded: MLflow at http://host: it is away" in outcome.message
    assert f"`retention-lab record {outcome.folder}` finishes it" in outcome.message
    folders: list[Path] = []
    monkeypatch.setattr(recording, "record", lambda folder: folders.append(folder))
    (again,), _ = run(files)
    assert (again.status, again.folder, again.ok) == ("skipped_unchanged", outcome.folder, True)
    assert folders == [outcome.folder]


@pytest.fixture
def refused(tmp_path: Path, recorded: list[Path]) -> Callable[..., Outcome]:
    """refused(change): the outcome of a file after change(its path, its notebook's path)."""

    def do(change: Callable[[Path, Path], object]) -> Outcome:
        (file,) = project.make(tmp_path, "one")
        change(file, tmp_path / "notebooks" / "one.ipynb")
        (outcome,), events = run([file])
        assert outcome.status == "failed"
        assert [e.kind for e in events] == ["finished"]
        if outcome.folder is not None:
            assert recorded == [outcome.folder]
            told = read_run(outcome.folder)
            assert (told["status"], told["experiment"]) == ("failed", "one")
            assert told["error"]["message"] == outcome.message
            assert (outcome.folder / "spec.yaml").read_bytes() == file.read_bytes()
        return outcome

    return do


def replace(old: str, new: str) -> Callable[[Path, Path], object]:
    return lambda file, _: file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("metrics:", "metricks:"), r"line 10: unknown key 'metricks'; did you mean"),
        (replace("name: one", "name: two"), r"name is 'two'"),
        (replace("arm: arm", "arm: ram"), r"'ram' is not in data/units.csv; did you mean 'arm'"),
        (replace("units.csv", "unit.csv"), r"no file 'data/unit.csv'"),
        (replace("notebook: one", "notebook: ones"), r"no ones.ipynb.*did you mean 'one'"),
        (
            lambda file, _: file.write_text(file.read_text() + "parameters: {overides: {}}\n"),
            r"'overides' is not in the parameters cell of one.ipynb; did you mean 'overrides'",
        ),
        (lambda _, nb: nb.write_text("{}"), r"one.ipynb is not a notebook"),
        (lambda _, nb: project.write_notebook(nb, ["1"], None), r"no cell with the tag"),
        (lambda _, nb: project.write_notebook(nb, ["1"], "%magic"), r"line 1 .* is not Python"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_a_kernel_starts(
    refused: Callable[..., Outcome], change: Callable[[Path, Path], object], message: str
) -> None:
    outcome = refused(change)
    assert outcome.folder is not None
    assert re.search(message, outcome.message), outcome.message


def test_a_missing_file_leaves_no_folder(tmp_path: Path, recorded: list[Path]) -> None:
    (file,) = project.make(tmp_path, "one")
    (outcome,), _ = run([file.with_name("won.yaml")])
    assert (outcome.status, outcome.folder) == ("failed", None)
    assert "there is no experiment file" in outcome.message
    assert "did you mean 'one'" in outcome.message
    assert not (tmp_path / "reports").exists()
    assert recorded == []


def test_a_dataset_that_cannot_be_had_is_skipped(
    tmp_path: Path, recorded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETENTION_LAB_DATA", str(tmp_path))
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RETENTION_LAB_OFFLINE", "1")
    (outcome,), _ = run(project.make(tmp_path, "one", units="dataset:hillstrom"))
    assert outcome.status == "skipped_no_data"
    assert outcome.ok
    assert "hillstrom" in outcome.message
    assert recorded == []
    assert not (tmp_path / "reports").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, recorded: list[Path]) -> None:
    files = project.make(tmp_path, "one")
    (tmp_path / "reports").write_text("a file in the way")
    (outcome,), _ = run(files)
    assert (outcome.status, outcome.folder) == ("failed", None)
    assert "reports" in outcome.message
    assert recorded == []


def test_other_folders_and_odd_names(tmp_path: Path, recorded: list[Path]) -> None:
    """Braces (papermill formats its paths), spaces, and reports outside of the project."""
    root = tmp_path / "a {b} project"
    (outcome,), _ = run(project.make(root, "one"), reports=tmp_path / "else where")
    assert outcome.status == "finished", outcome.message
    assert outcome.folder is not None
    assert outcome.folder.is_relative_to(tmp_path / "else where" / "one")
    assert (outcome.folder / read_run(outcome.folder)["root"]).resolve() == root
    assert len(recorded) == 1


def test_parameters_are_read_from_the_notebook(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    project.write_notebook(path, ["other = 1"], "a = 1  # one\nb: str = 'x'\nimport os\nc = d = []")
    assert notebook_parameters(path) == {"a": "1", "b": "'x'", "c": "[]", "d": "[]"}
    with pytest.raises(PlanError, match=r"no m\.ipynb in"):
        notebook_parameters(tmp_path / "m.ipynb")


def test_sockets_have_a_short_private_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with socket_folder() as folder:
        assert len(str(folder)) <= LONGEST
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "is gone"), (3, "exit status 3"), (-9, "SIGKILL"), (-77, "signal 77")],
)
def test_an_exit_status_is_put_into_words(code: int | None, words: str) -> None:
    assert words in how_it_ended(code)
