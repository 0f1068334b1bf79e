"""The cohort notebook as people run it: by plain Papermill, on a small shop."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retention_lab.results import Results, Verdict

ROOT = Path(__file__).parents[2]
FILE = """\
schema: 1
name: tiny
title: {en: Tiny, zh: 小研究}
notebook: cohort_survival
data:
  events: {orders: {table: orders.csv, at: day}, refunds: {table: refunds.csv, at: day}}
  as_of: 2026-01-31
survival:
  unit: customer
  origin: first orders
  event: next orders
  by: [region]
  competing: [refunds]
  covariates: [region]
  horizon: 90d
  tau: 30d
  value: worth
"""


@pytest.fixture
def project(tmp_path):
    """A project with this notebook and the orders of 600 customers."""
    some = random.Random(20260131)
    orders, refunds = ["customer,day,region,worth"], ["customer,day"]
    for customer in range(600):
        day = dt.date(2025, 9, 1) + dt.timedelta(some.randrange(90))
        region = "ns"[customer % 2]
        while day <= dt.date(2026, 1, 31):
            orders.append(f"{customer},{day},{region},{some.randrange(10, 90)}")
            if some.random() < 0.1:
                refunds.append(f"{customer},{day + dt.timedelta(5)}")
            day += dt.timedelta(1 + int(some.expovariate(1 / (40 if region == "n" else 80))))
    (tmp_path / "orders.csv").write_text("\n".join(orders))
    (tmp_path / "refunds.csv").write_text("\n".join(refunds))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(FILE, encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "cohort_survival.ipynb", tmp_path / "notebooks")
    return tmp_path


def test_by_plain_papermill(project):
    command = [sys.executable, "-m", "papermill", "notebooks/cohort_survival.ipynb", "out.ipynb"]
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONWARNINGS")}
    done = subprocess.run(
        [*command, "-p", "experiment", "experiments/tiny.yaml"],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (project / "reports" / "tiny").iterdir()
    names = {p.name for p in folder.iterdir()}
    assert {"results.parquet", "verdict.json", "lifetable.parquet", "repeats.parquet"} <= names
    assert {"report.en.html", "report.zh.html", "models", "activity.parquet"} <= names
    assert Verdict.load(folder).decision == "keep_running"
    rows = Results.load(folder).where(estimand="rmst_difference", segment="region")
    assert rows.one(level="s").estimate > 0 or rows.one(level="n").estimate < 0
    cells = json.loads((project / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = [o for c in cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in shown) >= 8
    assert not [o for o in shown if o.get("name") == "stderr"]
