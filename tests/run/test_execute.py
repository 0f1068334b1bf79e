"""Batches of small notebooks on real kernels: what is passed in, what comes out, what fails."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import project
import pytest
from running import notebook, run

from retention_lab.run import execute as running
from retention_lab.run import record as recording
from retention_lab.run.execute import Event, Outcome, run_experiments
from retention_lab.run.folder import read_run
from retention_lab.run.prepare import Ready, prepare
from retention_lab.run.provenance import key_of, spec_hash

SHOW = """
import json, os, sys
from pathlib import Path
(Path(run_dir) / "seen.json").write_text(json.dumps({
    "experiment": experiment, "run_dir": run_dir, "overrides": overrides,
    "cwd": os.getcwd(), "python": sys.executable,
    "mlflow": [k for k in os.environ if k.startswith("MLFLOW")],
}))
"""


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


def edited(root: Path) -> None:
    file = root / "experiments" / "two.yaml"
    file.write_text(file.read_text() + "inference: {alpha: 0.3}\n")


def broken(root: Path) -> None:
    file = root / "experiments" / "two.yaml"
    file.write_text(file.read_text() + "inferense: {}\n")


def run_both(root: Path, change: Callable[[Path], object]) -> Outcome:
    """How `two` ends where `change` is made while it waits for `one` to end.

    `one` can start before `two` was read, so that the change waits for both.
    """
    files = [root / "experiments" / f"{name}.yaml" for name in ("one", "two")]
    missing = {("started", "one"), ("planned", "two")}

    def on_event(event: Event) -> None:
        told = (event.kind, event.experiment)
        if told in missing:
            missing.remove(told)
            if not missing:
                change(root)

    return run_experiments(files, jobs=1, on_event=on_event)[1]


def test_a_file_that_is_edited_while_it_waits_is_what_is_run_and_told(
    tmp_path: Path, recorded: list[Path]
) -> None:
    _, file = project.make(tmp_path, "one", "two")
    before = file.read_bytes()
    outcome = run_both(tmp_path, edited)
    assert outcome.status == "finished", outcome.message
    assert outcome.folder is not None
    told = read_run(outcome.folder)
    assert (outcome.folder / "spec.yaml").read_bytes() == file.read_bytes() != before
    assert told["hashes"]["file"] == told["hashes"]["spec"] == spec_hash(file, {})
    assert told["key"] == key_of(told["hashes"])
    assert run([file])[0][0].status == "skipped_unchanged"
    file.write_bytes(before)
    assert isinstance(prepare(file, overrides={}, reports=None, force=False), Ready)


def test_a_file_that_is_broken_while_it_waits_fails(tmp_path: Path, recorded: list[Path]) -> None:
    project.make(tmp_path, "one", "two")
    outcome = run_both(tmp_path, broken)
    assert outcome.status == "failed"
    assert "unknown key 'inferense'; did you mean 'inference'" in outcome.message
    assert outcome.folder is not None
    assert read_run(outcome.folder)["status"] == "failed"


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("experiments/one.yaml", {"file", "spec"}),
        ("data/units.csv", {"data"}),
        ("notebooks/one.ipynb", {"notebook"}),
        ("helpers.py", {"code"}),
    ],
)
def test_what_changes_while_the_notebook_runs_has_no_hash_and_no_key(
    tmp_path: Path, recorded: list[Path], name: str, lost: set[str]
) -> None:
    change = (
        f"import pathlib\nwith pathlib.Path({name!r}).open('a') as file:\n    file.write('\\n')"
    )
    files = project.make(tmp_path, "one", cells=[change, project.FINISH])
    (outcome,), events = run(files)
    assert outcome.status == "finished", outcome.message
    assert outcome.folder is not None
    told = read_run(outcome.folder)
    assert {n for n, digest in told["hashes"].items() if digest is None} == lost
    assert told["key"] is None
    (said,) = [e.text for e in events if e.kind == "note"]
    assert said.startswith("one: changed while it ran: ")
    assert all(n in said for n in lost)


def odd(path: str) -> str:
    """A cell that leaves a Parquet file whose text is not UTF-8."""
    return (
        "import pathlib\nimport pyarrow as pa, pyarrow.parquet as pq\n"
        "text = pa.Array.from_buffers(pa.string(), 1, pa.array([b'\\xff\\xfe']).buffers())\n"
        f"pq.write_table(pa.table({{'a': text}}), pathlib.Path(run_dir) / {path!r})"
    )


def test_an_odd_file_does_not_keep_a_run_from_its_end(
    tmp_path: Path, recorded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deleted and told; the notebook's own error is kept, and later files are cleaned."""
    monkeypatch.setenv("SHOP", str(tmp_path / "data"))
    tell = "import os\n(pathlib.Path(run_dir) / 'z.txt').write_text(os.environ['SHOP'])"
    cells = {
        "fails": [odd("a.parquet"), tell, "1 / 0"],
        "keeps": [odd("a.parquet"), tell, project.FINISH],
        "loses": [project.FINISH, odd("results.parquet"), tell],
        "good": [project.FINISH],
    }
    project.make(tmp_path)
    files = [project.add(tmp_path, n, c, units="${SHOP}/units.csv") for n, c in cells.items()]
    (fails, keeps, loses, good), _ = run(files, jobs=2)
    assert [o.status for o in (fails, keeps, loses, good)] == [
        "failed", "finished", "failed", "finished",
    ]  # fmt: skip
    assert fails.message == "cell 5: ZeroDivisionError: division by zero"
    gone = "a.parquet was deleted: a secret in it could not be replaced (UnicodeDecodeError)"
    assert keeps.faults == (gone,)
    assert "the results are lost:\nresults.parquet was deleted" in loses.message
    for outcome in (fails, keeps, loses):
        assert outcome.folder is not None
        told = read_run(outcome.folder)
        assert told["status"] == outcome.status
        assert "was deleted" in told["faults"][-1]
        assert "a.parquet" not in told["files"]
        assert (outcome.folder / "z.txt").read_text() == "${SHOP}"
    assert len(recorded) == 4


def test_a_fault_of_the_runner_ends_one_run_and_is_told(
    tmp_path: Path, recorded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(ready: Ready, folder: Path) -> list[str]:
        if ready.experiment == "one":
            raise ValueError("a fault of the runner")
        return []

    monkeypatch.setattr(running, "note_changes", note)
    (one, two), _ = run(project.make(tmp_path, "one", "two"), jobs=2)
    assert (one.status, two.status) == ("failed", "finished")
    assert one.message == "ValueError: a fault of the runner"
    assert one.folder is not None
    told = read_run(one.folder)
    assert (told["status"], told["error"]["type"]) == ("failed", "ValueError")


def test_a_terminal_that_is_gone_stops_nothing(tmp_path: Path, recorded: list[Path]) -> None:
    def on_event(event: Event) -> None:
        raise OSError(5, "Input/output error")

    (outcome,) = run_experiments(project.make(tmp_path, "one"), on_event=on_event)
    assert outcome.status == "finished"


def test_other_folders_and_odd_names(tmp_path: Path, recorded: list[Path]) -> None:
    """Braces (papermill formats its paths), spaces, and reports outside of the project."""
    root = tmp_path / "a {b} project"
    (outcome,), _ = run(project.make(root, "one"), reports=tmp_path / "else where")
    assert outcome.status == "finished", outcome.message
    assert outcome.folder is not None
    assert outcome.folder.is_relative_to(tmp_path / "else where" / "one")
    assert (outcome.folder / read_run(outcome.folder)["root"]).resolve() == root
    assert len(recorded) == 1
