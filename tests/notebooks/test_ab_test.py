"""The A/B notebook as people run it: by plain Papermill, and by hand in its own folder."""

from __future__ import annotations

import json

import pytest
from notebooks.executed import ROOT, papermill, pictures, place, run, the_run

FILE = """\
schema: 1
name: tiny
title: {en: Tiny, zh: 小实验}
data: {units: units.csv}
design: {arm: arm, control: a}
metrics: [{name: spend, kind: mean, role: primary}]
segments: [region]
"""
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def project(tmp_path):
    """A project with this notebook and a small experiment, apart from the checkout."""
    rows = ["arm,region,spend"]
    rows += [f"{'ab'[i % 2]},{'ns'[i // 2 % 2]},{i % 7 + i % 2}" for i in range(400)]
    (tmp_path / "units.csv").write_text("\n".join(rows))
    place(tmp_path, "ab_test", tiny=FILE)
    return tmp_path


def test_by_plain_papermill(project):
    folder = papermill(project, "ab_test", "tiny")
    names = {p.name for p in folder.iterdir()}
    assert {"results.parquet", "results.csv", "verdict.json", "moments.parquet"} <= names
    assert {"report.en.html", "report.zh.html", "run.json", "spec.yaml"} <= names
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["verdict"]["verdict"] == "ship"
    assert pictures(project / "out.ipynb") == 3


def test_by_hand_in_its_own_folder(project):
    """As in JupyterLab: the kernel stands in notebooks/, the defaults name another experiment."""
    path = project / "notebooks" / "ab_test.ipynb"
    text = path.read_text(encoding="utf-8")
    assert "comeback-coupon.yaml" in text
    path.write_text(text.replace("comeback-coupon.yaml", "tiny.yaml"), encoding="utf-8")
    run("jupyter", "execute", path.name, "--inplace", cwd=path.parent)
    assert (the_run(project, "tiny") / "report.en.html").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in code)
    assert sum("parameters" in c["metadata"].get("tags", []) for c in code) == 1
    assert max(len(c["source"]) for c in code) <= 15
