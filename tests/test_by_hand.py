"""The calls of Python, made by hand as the README shows them; what they refuse, and why."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ROOT, Ask

import retention_lab as rl
from retention_lab.errors import PlanError, RunError
from retention_lab.experiment.plan import Plan

START = dt.datetime(2026, 1, 1)
N = 80


@pytest.fixture
def followed(write: Callable[..., Path]) -> Plan:
    """A small test with orders and a survival section."""
    units = [f"u{i}" for i in range(N)]
    ordered = [START + dt.timedelta(days=1 + i % 30) for i in range(N) if i % 3]
    who = {"unit": units, "arm": ["a", "b"] * (N // 2), "at": [START] * N}
    orders = {"unit": [u for i, u in enumerate(units) if i % 3], "at": ordered}
    path = write(
        {"who": who, "orders": orders},
        data={
            "assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": dt.date(2026, 3, 1),
        },
        design={"unit": "unit", "arm": "arm", "control": "a"},
        metrics=[{"name": "back", "kind": "retention", "event": "orders", "within": "30d"}],
        survival={"origin": "exposure", "event": "next orders", "horizon": "30d"},
    )
    return rl.plan(path)


def test_a_survival_section_is_not_dropped_without_a_word(followed: Plan, tmp_path: Path) -> None:
    moments = rl.reduce(followed)
    results = rl.analyse(followed, moments)
    verdict = rl.decide(followed, results)
    with pytest.raises(RunError, match=r"cohorts = rl\.reduce_cohorts\(plan\)"):
        rl.finish(followed, moments, results, verdict, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_calls_of_the_readme_leave_a_whole_report(
    followed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr(rl, "plan", lambda _: followed, raising=False)
    names: dict[str, Any] = {}
    exec(code, names)
    folder = names["folder"]
    assert "When do they come back?" in (folder / "report.en.html").read_text(encoding="utf-8")
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert len(rl.Results.load(str(folder))) == len(names["results"])
    assert rl.Verdict.load(str(folder)) == names["verdict"]


def test_a_study_without_arms_decides_nothing(write: Callable[..., Path]) -> None:
    orders = {"unit": ["u", "v"], "at": [START, START + dt.timedelta(days=3)]}
    path = write(
        {"orders": orders},
        data={
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": dt.date(2026, 3, 1),
        },
        survival={"unit": "unit", "origin": "first orders", "event": "next orders"},
    )
    with pytest.raises(PlanError, match=r"rl\.describe\(plan, results\)"):
        rl.decide(rl.plan(path), rl.Results.of([]))


def test_a_plan_is_found_by_its_name(project: Path) -> None:
    assert rl.plan("shop").path == project / "experiments" / "shop.yaml"


def test_a_cohort_file_without_its_notebook_is_not_valid(ask: Ask, project: Path) -> None:
    text = """\
schema: 1
name: study
title: When?
data: {events: {orders: {table: orders.csv, at: at}}, as_of: 2026-03-01}
survival: {unit: customer_id, origin: first orders, event: next orders, horizon: 30d}
"""
    (project / "orders.csv").write_text("customer_id,at\n1,2026-01-01\n1,2026-01-09\n")
    (project / "experiments" / "study.yaml").write_text(text)
    answer = ask("validate", "study")
    assert answer.status == 1
    assert "write notebook: cohort_survival" in answer.err
    shop = project / "experiments" / "shop.yaml"
    shop.write_text(shop.read_text() + "notebook: cohort_survival\n")
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert "notebook: cohort_survival needs a survival section" in answer.err
