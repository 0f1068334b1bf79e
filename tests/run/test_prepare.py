"""What is refused or skipped before a kernel starts, and what it leaves behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import project
import pytest
from running import run

from retention_lab.run.execute import Outcome
from retention_lab.run.folder import read_run


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
        *(
            (
                lambda file, _, name=name: file.write_text(
                    file.read_text() + f"parameters: {{{name}: other}}\n"
                ),
                rf"parameters: '{name}' is set by the lab; the file may not set it",
            )
            for name in ("experiment", "run_dir", "overrides")
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
    left = {
        p.relative_to(tmp_path / "reports").as_posix() for p in tmp_path.rglob("reports/**/*.*")
    }
    assert left == {"index.html", "index.zh.html", "one/skipped.json"}
    assert "Skipped, no data" in (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, recorded: list[Path]) -> None:
    files = project.make(tmp_path, "one")
    (tmp_path / "reports").write_text("a file in the way")
    (outcome,), _ = run(files)
    assert (outcome.status, outcome.folder) == ("failed", None)
    assert "reports" in outcome.message
    assert recorded == []


def test_a_wrong_override_leaves_nothing(tmp_path: Path) -> None:
    files = project.make(tmp_path, "one")
    (outcome,), _ = run(files, overrides={"inference.alpah": "0.1"})
    assert (outcome.status, outcome.folder) == ("failed", None)
    assert "--set inference.alpah: unknown key 'inference.alpah'; did you mean" in outcome.message
    assert "line" not in outcome.message
    assert not (tmp_path / "reports").exists()
    assert not (tmp_path / "mlflow.db").exists()
