"""A shipped experiment file and a scenario in; the file's plan on a shop made for the test out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

import retention_lab as rl
from retention_lab.twin import Scenario, simulate

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def planned(name: str, scenario: Scenario, folder: Path, seed: int | None = None) -> Any:
    """The plan of experiments/`name`.yaml, its datasets replaced by a shop written to `folder`."""
    return rl.plan(_written(content(name), name, scenario, folder, seed))


def planned_few(
    name: str, scenario: Scenario, folder: Path, metrics: list[str], seed: int, **changed: Any
) -> Any:
    """The same with some `metrics` only, without segments and with other values `changed`."""
    few = {**content(name), **changed}
    few["metrics"] = [m for m in few["metrics"] if m["name"] in metrics]
    few["segments"], few["crossed_segments"] = [], []
    return rl.plan(_written(few, name, scenario, folder, seed))


def content(name: str) -> dict[str, Any]:
    return yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))


def _written(
    file: dict[str, Any], name: str, scenario: Scenario, folder: Path, seed: int | None
) -> Path:
    shop = simulate(scenario, seed).write(folder / "shop")
    text = yaml.safe_dump(file, allow_unicode=True, sort_keys=False)
    text, replaced = re.subn(r"dataset:[\w-]+/(\w+)", rf"{shop}/\1.parquet", text)
    assert replaced == 3
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path
