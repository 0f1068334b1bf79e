"""Names and cells in; a small project in a folder, with an experiment and real notebooks, out.

Its table has 400 units in two arms; its notebooks are small, so that a test lasts about as long
as a kernel takes to start.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from retention_lab.experiment.plan import make_plan
from retention_lab.run.folder import close_run, new_folder, open_run

PARAMETERS = 'experiment = ""\nrun_dir = ""\noverrides = {}\n'
FINISH = """
import dataclasses, pathlib
import pyarrow, pyarrow.parquet
from retention_lab.results import COLUMNS, NUMBER_COLUMNS, Reason, Row, Verdict
folder = pathlib.Path(run_dir)
at = dict(analysis="ab", metric="spend", arm="b", baseline="a")
rows = [
    Row(**at, estimand="mean_difference", estimate=2.0, std_error=0.5, ci_low=1.0, ci_high=3.0,
        p_value=0.001, n=200, n_baseline=200),
    Row(**at, estimand="relative_lift", note="unbounded: the control's mean is near 0"),
]
kinds = {**dict.fromkeys(NUMBER_COLUMNS, "double"), "n": "int64", "n_baseline": "int64"}
schema = pyarrow.schema([(c, kinds.get(c, "string")) for c in COLUMNS])
table = pyarrow.Table.from_pylist([dataclasses.asdict(r) for r in rows], schema)
pyarrow.parquet.write_table(table, folder / "results.parquet")
Verdict("ship", "b", (Reason("primary_better"),)).save(folder, {"en": ["b is better."]})
(folder / "report.en.html").write_text("<p>b is better.</p>")
"""
SPEC = """schema: 1
name: {name}
title: Does it work?
question: Customers in b spend more.
owner: growth
notebook: {notebook}
data:
  units: {units}
design: {{arm: arm, control: a}}
metrics:
  - {{name: spend, kind: mean, role: primary}}
"""


def make(root: Path, *names: str, cells: Sequence[str] = (FINISH,), units: str = "") -> list[Path]:
    """A project at `root` with one experiment a name, all with a notebook of these `cells`."""
    for folder in ("notebooks", "experiments", "data"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    lines = ["arm,spend", *(f"{'ab'[i % 2]},{i % 7 + 2 * (i % 2)}" for i in range(400))]
    (root / "data" / "units.csv").write_text("\n".join(lines) + "\n")
    return [add(root, name, cells, units=units or "data/units.csv") for name in names]


def add(root: Path, name: str, cells: Sequence[str] = (FINISH,), *, units: str) -> Path:
    """One more experiment called `name`, with a notebook of its own made of `cells`."""
    notebook = name.replace("-", "_")
    write_notebook(root / "notebooks" / f"{notebook}.ipynb", cells)
    file = root / "experiments" / f"{name}.yaml"
    file.write_text(SPEC.format(name=name, notebook=notebook, units=units))
    return file


def finished(file: Path, cells: str = FINISH, overrides: dict[str, object] | None = None) -> Path:
    """A run folder as the runner leaves it, made without a kernel."""
    plan = make_plan(file, overrides)
    folder = new_folder(plan.root / "reports", plan.spec.name)
    open_run(plan, folder, started_by="runner")
    exec(cells, {"run_dir": str(folder)})
    close_run(folder, "finished")
    return folder


def write_notebook(path: Path, cells: Sequence[str], parameters: str | None = PARAMETERS) -> None:
    """A notebook with a parameters cell (unless None) and the code `cells`."""
    made = [] if parameters is None else [_cell(parameters, ["parameters"])]
    made += [_cell(source, []) for source in cells]
    for i, cell in enumerate(made):
        cell["id"] = f"cell-{i:02}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": made, "nbformat": 4, "nbformat_minor": 5}
    content["metadata"] = {"kernelspec": kernel, "language_info": {"name": "python"}}
    path.write_text(json.dumps(content))


def _cell(source: str, tags: list[str]) -> dict[str, object]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": tags},
        "outputs": [],
        "source": source.strip("\n"),
    }
