"""What a user types in; the experiment files that are meant out."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention_lab.errors import SpecError
from retention_lab.experiment.find import experiment_files, find_files


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three experiments, called from a folder below its root."""
    (tmp_path / "experiments" / "old").mkdir(parents=True)
    for name in ("b", "a", "old/c"):
        (tmp_path / "experiments" / f"{name}.yaml").touch()
    (tmp_path / "experiments" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path / "experiments")
    return tmp_path


def names(files: list[Path]) -> list[str]:
    return [f.stem for f in files]


def test_every_experiment_is_a_yaml_file_of_the_folder(root: Path) -> None:
    assert names(experiment_files(root)) == ["a", "b"]


def test_names_paths_and_globs_may_be_mixed(root: Path) -> None:
    assert names(find_files(["b", "a.yaml", "old/*.yaml"], root)) == ["b", "a", "c"]
    assert names(find_files(["**/*.yaml"], root)) == ["a", "b", "c"]
    assert names(find_files([str(root / "experiments" / "[ab].yaml")], root)) == ["a", "b"]


def test_a_file_that_is_named_twice_is_found_once(root: Path) -> None:
    assert names(find_files(["a", "b", "a", str(root / "experiments" / "a.yaml")], root)) == [
        "a",
        "b",
    ]


def test_a_path_to_nothing_is_left_to_the_reader_of_files(root: Path) -> None:
    assert find_files(["missing.yaml"], root) == [Path("missing.yaml")]


def test_a_glob_that_fits_nothing_is_an_error(root: Path) -> None:
    with pytest.raises(SpecError, match=r"no experiment file fits 'x\*\.yaml'"):
        find_files(["x*.yaml"], root)


def test_an_unknown_name_is_an_error_with_the_names_there_are(root: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no experiment 'zzz' .*; there are: a, b"):
        find_files(["zzz"], root)
