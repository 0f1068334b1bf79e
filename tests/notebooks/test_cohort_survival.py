"""The cohort notebook as people run it: by plain Papermill, on a small shop."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from notebooks.executed import papermill, pictures, place

from retention_lab.results import Results, Verdict

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
    place(tmp_path, "cohort_survival", tiny=FILE)
    return tmp_path


def test_by_plain_papermill(project):
    folder = papermill(project, "cohort_survival", "tiny")
    names = {p.name for p in folder.iterdir()}
    assert {"results.parquet", "verdict.json", "lifetable.parquet", "repeats.parquet"} <= names
    assert {"report.en.html", "report.zh.html", "models", "activity.parquet"} <= names
    assert Verdict.load(folder).decision == "keep_running"
    rows = Results.load(folder).where(estimand="rmst_difference", segment="region")
    assert rows.one(level="s").estimate > 0 or rows.one(level="n").estimate < 0
    assert pictures(project / "out.ipynb") >= 8
