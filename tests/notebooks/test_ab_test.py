"""The A/B notebook as people run it: by plain Papermill, and by hand in its own folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def project(tmp_path):
    """A project with this notebook and a small experiment, apart from the checkout."""
    rows = ["arm,region,spend"]
    rows += [f"{'ab'[i % 2]},{'ns'[i // 2 % 2]},{i % 7 + i % 2}" for i in range(400)]
    (tmp_path / "units.csv").write_text("\n".join(rows))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(
        "schema: 1\nname: tiny\ntitle: {en: Tiny, zh: 小实验}\n"
        "data: {units: units.csv}\ndesign: {arm: arm, control: a}\n"
        "metrics: [{name: spend, kind: mean, role: primary}]\nsegments: [region]\n",
        encoding="utf-8",
    )
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "ab_test.ipynb", tmp_path / "notebooks")
    return tmp_path


def run(*command, cwd):
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


def the_run(project):
    """The one run folder of the experiment."""
    (folder,) = (project / "reports" / "tiny").iterdir()
    return folder


def test_by_plain_papermill(project):
    command = ["papermill", "notebooks/ab_test.ipynb", "out.ipynb"]
    run(*command, "-p", "experiment", "experiments/tiny.yaml", cwd=project)
    folder = the_run(project)
    names = {p.name for p in folder.iterdir()}
    assert {"results.parquet", "results.csv", "verdict.json", "moments.parquet"} <= names
    assert {"report.en.html", "report.zh.html", "run.json", "spec.yaml"} <= names
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["verdict"]["verdict"] == "ship"
    cells = json.loads((project / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = [o for c in cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in shown) == 3
    assert not [o for o in shown if o.get("name") == "stderr"]


def test_by_hand_in_its_own_folder(project):
    """As in JupyterLab: the kernel stands in notebooks/, the defaults name another experiment."""
    path = project / "notebooks" / "ab_test.ipynb"
    text = path.read_text(encoding="utf-8")
    assert "comeback-coupon.yaml" in text
    path.write_text(text.replace("comeback-coupon.yaml", "tiny.yaml"), encoding="utf-8")
    run("jupyter", "execute", path.name, "--inplace", cwd=path.parent)
    assert (the_run(project) / "report.en.html").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert sum("parameters" in c["metadata"].get("tags", []) for c in code) == 1
    assert max(len(c["source"]) for c in code) <= 15
