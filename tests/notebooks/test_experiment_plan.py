"""The planning notebook as people run it, by plain Papermill, on the shipped experiment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_plan_is_in_the_executed_notebook(tmp_path):
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", "notebooks/experiment_plan.ipynb", str(out)]
    done = subprocess.run(
        [*command, "-y", '{overrides: {"planning.effect": 0.2}}'],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    shown = [o["data"] for c in cells for o in c.get("outputs", []) if "data" in o]
    assert any("repurchase_30d" in "".join(d.get("text/html", "")) for d in shown)
    assert any("image/png" in d for d in shown)
