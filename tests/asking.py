"""A small project and what a user types in; what the command line answers out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from retention_lab import __main__

ROOT = Path(__file__).parents[1]
UNITS = """\
customer_id,arm,region,bought,spend,note
1,none,EU,0,0.0,a
2,none,EU,1,12.5,b
3,none,US,0,0.0,c
4,none,US,1,20.0,d
5,coupon,EU,1,14.0,e
6,coupon,EU,1,11.0,f
7,coupon,US,0,0.0,g
8,coupon,US,1,30.0,h
"""
FILE = """\
schema: 1
name: shop
title: Does the coupon pay?
data:
  units: units.csv
design:
  unit: customer_id
  arm: arm
  control: none
metrics:
  - {name: spend, kind: mean, role: primary}
  - {name: bought, kind: proportion}
segments: [region]
privacy: {min_cell: 1}
"""


@dataclass(frozen=True)
class Answer:
    """What the command line printed, and its exit status."""

    status: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, in which the command line is called."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "ab_test.ipynb", tmp_path / "notebooks")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "units.csv").write_text(UNITS, encoding="utf-8")
    (tmp_path / "experiments" / "shop.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def ask(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Call the command line with some words."""

    def ask(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["retention-lab", *words])
        with pytest.raises(SystemExit) as ended:
            __main__.answer()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return ask
