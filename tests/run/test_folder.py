"""Run folders: opened twice, closed, found again, and never half written."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path

import project
import pytest
from run.incentive_sample import doses
from run.sample import email, write

from retention_lab.errors import RunError
from retention_lab.experiment.plan import make_plan
from retention_lab.run import folder as folders
from retention_lab.run.folder import (
    close_run,
    find_run,
    latest_run,
    list_runs,
    open_run,
    read_run,
    spec_of,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return project.make(tmp_path, "one")[0]


def test_a_notebook_run_by_hand_gets_its_own_folder(file: Path, tmp_path: Path) -> None:
    folder = open_run(make_plan(file))
    assert folder.parent == tmp_path / "reports" / "one"
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", folder.name)
    run = read_run(folder)
    assert (run["status"], run["started_by"], run["run_id"]) == ("running", "notebook", folder.name)
    assert run["file"] == "experiments/one.yaml"
    assert str(tmp_path) not in (folder / "run.json").read_text()


def test_opening_again_changes_nothing(file: Path, tmp_path: Path) -> None:
    plan = make_plan(file)
    folder = open_run(plan, tmp_path / "reports" / "one" / "x", started_by="runner")
    before = (folder / "run.json").read_bytes()
    assert open_run(plan, folder) == folder
    assert (folder / "run.json").read_bytes() == before


def test_the_file_is_kept_byte_for_byte(file: Path) -> None:
    file.write_bytes(file.read_bytes() + "# Zeichen äöü and a tail without newline".encode())
    folder = open_run(make_plan(file))
    assert (folder / "spec.yaml").read_bytes() == file.read_bytes()


def test_the_copy_is_read_with_its_overrides(file: Path) -> None:
    folder = open_run(make_plan(file, {"inference.alpha": "0.1"}))
    assert spec_of(folder).inference.alpha == 0.1
    assert "alpha" not in (folder / "spec.yaml").read_text()


def test_closing_tells_how_it_ended(file: Path) -> None:
    folder = project.finished(file)
    run = read_run(folder)
    assert run["status"] == "finished"
    assert run["verdict"] == {"verdict": "ship", "arm": "b", "reason": "primary_better"}
    assert run["seconds"] >= 0
    assert run["finished"] >= run["started"]
    assert {"spec.yaml", "results.parquet", "verdict.json"} <= set(run["files"])


def test_a_verdict_on_an_incentive_is_marked_as_one(tmp_path: Path) -> None:
    for make, told in ((doses, True), (email, None)):
        folder = write(make(), tmp_path)
        assert (close_run(folder, "finished")["verdict"] or {}).get("offer") is told
    (folder / "spec.yaml").unlink()
    assert close_run(folder, "finished")["verdict"] is not None


def test_an_error_is_kept_with_its_traceback(file: Path) -> None:
    folder = open_run(make_plan(file))
    try:
        raise ValueError("no such thing")
    except ValueError as error:
        close_run(folder, "failed", error)
    said = read_run(folder)["error"]
    assert said["type"] == "ValueError"
    assert said["message"] == "no such thing"
    assert "test_folder.py" in said["traceback"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, long = tmp_path / "run.json", "x" * 500_000
    folders.write_atomically(path, json.dumps([long, 0]))
    stop = threading.Event()

    def write() -> None:
        for i in range(200):
            folders.write_atomically(path, json.dumps([long, i]))
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not stop.is_set():
        assert json.loads(path.read_text())[0] == long
        reads += 1
    writer.join()
    assert reads > 0
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    folders.write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        folders.write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_file_in_the_way_is_an_error_that_names_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("not a folder")
    with pytest.raises(RunError, match="reports"):
        open_run(make_plan(file))


def test_two_runs_in_one_second_get_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(folders.secrets, "token_hex", lambda _: next(marks))
    made = {folders.new_folder(tmp_path, "one") for _ in range(2)}
    assert {f.name[-4:] for f in made} <= {"aaaa", "bbbb"}
    assert len(made) == 2


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """Two runs of `one`, an older of `two`."""
    files = project.make(tmp_path, "one", "two")
    first = project.finished(files[0])
    reports = tmp_path / "reports"
    named = {"new": first}
    for key, name, run_id in (
        ("old", "one", "20200101-000000-aaaa"),
        ("two", "two", "20200101-000001-bbbb"),
    ):
        shutil.copytree(first, reports / name / run_id)
        named[key] = reports / name / run_id
    return named


def test_runs_are_listed_newest_first(runs: dict[str, Path], tmp_path: Path) -> None:
    assert list_runs(tmp_path / "reports") == [runs["new"], runs["two"], runs["old"]]
    assert list_runs(tmp_path / "reports", "one") == [runs["new"], runs["old"]]
    assert list_runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("one", "new"),
        ("experiments/one.yaml", "new"),
        ("two", "two"),
        ("20200101-000000-aaaa", "old"),
        ("20200101-000001", "two"),
    ],
)
def test_a_run_is_found_by_name_id_or_beginning(
    runs: dict[str, Path], tmp_path: Path, named: str, key: str
) -> None:
    assert find_run(tmp_path / "reports", named) == runs[key]


def test_a_run_is_found_by_its_path(runs: dict[str, Path], tmp_path: Path) -> None:
    assert find_run(tmp_path / "elsewhere", runs["old"]) == runs["old"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("on", "did you mean 'one'"),
        ("20200101", "more than one run: two/20200101-000001-bbbb, one/20200101-000000-aaaa"),
        ("", "there is no run"),
    ],
)
@pytest.mark.usefixtures("runs")
def test_what_is_not_found_is_an_error(tmp_path: Path, named: str, message: str) -> None:
    with pytest.raises(RunError, match=re.escape(message)):
        find_run(tmp_path / "reports", named or "zzz")


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"half": ')
    with pytest.raises(RunError, match="cannot be read"):
        read_run(tmp_path)


def test_a_name_means_the_latest_run_of_the_file_as_written(file: Path) -> None:
    written = project.finished(file)
    changed = project.finished(file, overrides={"inference.alpha": 0.1})
    late = changed.rename(changed.with_name("29990101-000000-aaaa"))
    reports = written.parents[1]
    assert find_run(reports, file.stem) == written
    assert find_run(reports, late.name) == late
    assert latest_run([late]) == late
    assert latest_run([]) is None
