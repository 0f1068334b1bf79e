"""Faults of the tables, each through the command line and the real notebook."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = [("u0", "a", "1"), ("u1", "b", "2"), ("u2", "a", "3"), ("u3", "b", "5")]
TABLES = {
    "wrong-type": [(u, a, "much") for u, a, _ in GOOD],
    "two-arms": [*GOOD, ("u0", "b", "1")],
    "twice": [*GOOD, ("u0", "a", "1")],
    "empty": [],
    "one-arm": [row for row in GOOD if row[1] == "a"],
    "absent-arm": [(f"{u}-{i}", a, x) for i in range(50) for u, a, x in GOOD],
    "missing": [(f"{u}-{i}", a, x if i else "") for i in range(50) for u, a, x in GOOD],
}
FATAL = {
    "wrong-type": "metric 'spend': column 'spend' of wrong-type.csv holds text, not numbers",
    "two-arms": "1 unit of two-arms.csv in two arms or more",
    "twice": "1 unit of twice.csv in more than one row",
    "empty": "empty.csv has no rows",
    "one-arm": "has one arm only; two are compared",
}
SURVIVED = {
    "absent-arm": ("arm 'c' of expected_split has no units", "sample_ratio_mismatch"),
    "missing": ("4 of 200 values of 'spend' are missing", "primary_no_result"),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    root: Path
    status: int
    text: str


@pytest.fixture(scope="module")
def answer(tmp_path_factory, empty_store):
    """One batch of an experiment for each of TABLES."""
    root = tmp_path_factory.mktemp("shop")
    (root / "experiments").mkdir()
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    for name, rows in TABLES.items():
        lines = ["unit,arm,spend", *(",".join(row) for row in rows)]
        (root / f"{name}.csv").write_text("\n".join(lines) + "\n")
        split = ", expected_split: {a: 1, b: 1, c: 1}" if name == "absent-arm" else ""
        (root / "experiments" / f"{name}.yaml").write_text(
            f"schema: 1\nname: {name}\ntitle: {name}\ndata: {{units: {name}.csv}}\n"
            f"design: {{unit: unit, arm: arm, control: a{split}}}\n"
            "metrics: [{name: spend, kind: mean, role: primary}]\n"
        )
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "retention_lab", "run", "--all"],
        cwd=root, env=env, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    return Answer(root, done.returncode, " ".join((done.stdout + done.stderr).split()))


def the_run(answer, name):
    (folder,) = (answer.root / "reports" / name).iterdir()
    return folder, json.loads((folder / "run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FATAL)
def test_what_cannot_be_analysed_fails_before_a_kernel_starts(answer, name):
    assert answer.status == 1
    assert "Traceback" not in answer.text
    assert f"{name} failed: " in answer.text
    assert FATAL[name] in answer.text
    folder, run = the_run(answer, name)
    assert run["status"] == "failed"
    assert not (folder / "notebook.ipynb").exists()


@pytest.mark.parametrize("name", SURVIVED)
def test_what_can_be_survived_is_reported_and_fails_the_batch(answer, name):
    text, code = SURVIVED[name]
    assert f"{name} finished, with faults: {text}" in answer.text
    folder, run = the_run(answer, name)
    assert run["status"] == "finished"
    assert run["faults"][0].startswith(text)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "invalid"
    assert code in {r["code"] for r in verdict["reasons"]}
    assert (folder / "report.zh.html").is_file()
