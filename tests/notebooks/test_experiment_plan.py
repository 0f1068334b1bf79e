"""The planning notebook as people run it, by plain Papermill, on the shipped experiment."""

from __future__ import annotations

from notebooks.executed import ROOT, run, shown


def test_the_plan_is_in_the_executed_notebook(tmp_path):
    out = tmp_path / "out.ipynb"
    command = ["papermill", "notebooks/experiment_plan.ipynb", str(out)]
    run(*command, "-y", '{overrides: {"planning.effect": 0.2}}', cwd=ROOT)
    data = [o["data"] for o in shown(out) if "data" in o]
    assert any("repurchase_30d" in "".join(d.get("text/html", "")) for d in data)
    assert any("image/png" in d for d in data)
