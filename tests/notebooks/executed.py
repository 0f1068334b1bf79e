"""A folder and a notebook's name in; the notebook run as people run it, and what it shows, out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def place(folder: Path, notebook: str, **files: str) -> None:
    """Make `folder` a project apart from the checkout: the notebook, and experiments by name."""
    for name in ("experiments", "notebooks"):
        (folder / name).mkdir()
    shutil.copy(ROOT / "notebooks" / f"{notebook}.ipynb", folder / "notebooks")
    for name, text in files.items():
        (folder / "experiments" / f"{name}.yaml").write_text(text, encoding="utf-8")


def run(*command: str, cwd: Path) -> None:
    """Run a module of Python in `cwd`, without this session's settings; it must succeed."""
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONWARNINGS")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def papermill(project: Path, notebook: str, experiment: str) -> Path:
    """Run the notebook on an experiment by plain Papermill into out.ipynb; the run's folder."""
    command = ["papermill", f"notebooks/{notebook}.ipynb", "out.ipynb"]
    run(*command, "-p", "experiment", f"experiments/{experiment}.yaml", cwd=project)
    return the_run(project, experiment)


def the_run(project: Path, experiment: str) -> Path:
    """The one run folder of the experiment."""
    (folder,) = (project / "reports" / experiment).iterdir()
    return folder


def shown(path: Path) -> list[dict[str, Any]]:
    """All outputs of an executed notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [o for c in cells for o in c.get("outputs", [])]


def pictures(path: Path) -> int:
    """How many pictures an executed notebook shows; it must not have written to stderr."""
    outputs = shown(path)
    assert not [o for o in outputs if o.get("name") == "stderr"]
    return sum("image/png" in o.get("data", {}) for o in outputs)
