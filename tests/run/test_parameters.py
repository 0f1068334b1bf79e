"""A notebook's parameters cell: what it names, and the file held against it."""

from __future__ import annotations

from pathlib import Path

import project
import pytest

from retention_lab.errors import PlanError
from retention_lab.experiment.load import load
from retention_lab.run.execute import notebook_parameters
from retention_lab.run.parameters import check_notebook


def test_parameters_are_read_from_the_notebook(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    project.write_notebook(path, ["other = 1"], "a = 1  # one\nb: str = 'x'\nimport os\nc = d = []")
    assert notebook_parameters(path) == {"a": "1", "b": "'x'", "c": "[]", "d": "[]"}
    with pytest.raises(PlanError, match=r"no m\.ipynb in"):
        notebook_parameters(tmp_path / "m.ipynb")


def test_a_file_and_its_notebook_are_held_against_each_other(tmp_path: Path) -> None:
    """What `run` refuses is found without a run, and without nbformat."""
    (file,) = project.make(tmp_path, "one")
    sound = file.read_text()
    check_notebook(load(file), tmp_path)
    file.write_text(sound + "parameters: {nope: 1, run_dir: x}\n")
    with pytest.raises(PlanError) as error:
        check_notebook(load(file), tmp_path)
    assert str(error.value).splitlines() == [
        "parameters: 'run_dir' is set by the lab; the file may not set it",
        "parameters: 'nope' is not in the parameters cell of one.ipynb",
    ]
    file.write_text(sound.replace("notebook: one", "notebook: oen"))
    with pytest.raises(PlanError, match=r"no oen\.ipynb in notebooks/; did you mean 'one'"):
        check_notebook(load(file), tmp_path)
