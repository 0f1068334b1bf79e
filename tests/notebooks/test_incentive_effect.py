"""The incentive notebook as people run it: by plain Papermill, on a small shop."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from notebooks.executed import papermill, pictures, place

import retention_lab as rl
from retention_lab.errors import PlanError
from retention_lab.results import Results, Verdict
from retention_lab.run.parameters import check_notebook

HEAD = """\
schema: 1
name: tiny
title: {en: Tiny, zh: 小研究}
notebook: incentive_effect
data: {units: units.csv}
design: {arm: arm, control: none}
metrics:
  - {name: bought, kind: proportion, role: primary}
  - {name: spend, kind: mean}
incentive:
  revenue: spend
  margin: 0.5
  min_roi: 1
"""
OFFERED = "  strategy: encouragement\n  redeemed: used\n  cost: {contact: 0.1, redemption: 2}\n"
ALIKE = "  strategy: observational\n  covariates: [keen, region]\n  cost: {contact: 0.1}\n"


@pytest.fixture
def project(tmp_path):
    """A project with this notebook and 1,200 customers, of whom every other one got an offer."""
    some = random.Random(20260131)
    rows = ["arm,used,bought,spend,keen,region"]
    for i in range(1200):
        keen = some.random()
        used = int(i % 2 and some.random() < keen)
        bought = int(some.random() < 0.2 + 0.3 * keen + 0.3 * used)
        worth = bought * some.randrange(20, 60)
        rows.append(
            f"{('none', 'offer')[i % 2]},{used},{bought},{worth},{keen:.3f},{'ns'[i % 3 > 0]}"
        )
    (tmp_path / "units.csv").write_text("\n".join(rows))
    place(tmp_path, "incentive_effect")
    return tmp_path


def written(project: Path, strategy: str) -> Path:
    path = project / "experiments" / "tiny.yaml"
    path.write_text(HEAD + strategy, encoding="utf-8")
    return path


def test_by_plain_papermill(project):
    written(project, OFFERED)
    folder = papermill(project, "incentive_effect", "tiny")
    names = {p.name for p in folder.iterdir()}
    assert {"results.parquet", "verdict.json", "moments.parquet", "report.zh.html"} <= names
    assert Verdict.load(folder).decision in ("ship", "stop", "keep_running")
    assert Results.load(folder).one(estimand="late", metric="bought").estimate > 0
    assert Results.load(folder).one(estimand="sample_ratio").p_value is not None
    assert pictures(project / "out.ipynb") == 4


def test_a_comparison_of_customers_alike_leaves_no_rows_of_customers(project, monkeypatch):
    monkeypatch.chdir(project)
    plan = rl.plan(written(project, ALIKE))
    evidence = rl.reduce_incentive(plan)
    results = rl.analyse_incentive(plan, evidence)
    folder = rl.finish(plan, evidence, results, rl.decide_incentive(plan, results))
    names = {p.name for p in folder.iterdir()}
    assert "report.en.html" in names
    kept = {n for n in names if n.endswith(".parquet")}
    assert kept == {"results.parquet"}
    page = (folder / "report.en.html").read_text(encoding="utf-8")
    assert "Are the customers alike?" in page
    assert "keen, region" in page


def test_a_notebook_must_be_about_what_the_file_asks(project):
    plan = rl.plan(written(project, ALIKE))
    check_notebook(plan.spec, project)
    wrong = plan.spec.model_copy(update={"notebook": "ab_test"})
    with pytest.raises(PlanError, match=r"dealt by chance.*write notebook: incentive_effect"):
        check_notebook(wrong, project)
    none = plan.spec.model_copy(update={"incentive": None})
    with pytest.raises(PlanError, match="incentive_effect needs an incentive section"):
        check_notebook(none, project)
