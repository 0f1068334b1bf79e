"""An experiment and its notebook in; the parameters that one passes to the other, checked, out.

Reads the notebook as JSON: nbformat takes a second to import, and `validate` asks as well.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention_lab.errors import PlanError, did_you_mean

if TYPE_CHECKING:
    from retention_lab.experiment.spec import Spec

AB, COHORTS = "ab_test", "cohort_survival"  # the lab's own notebooks
INCENTIVE = "incentive_effect"
RANDOMISED = ("randomised", "encouragement", "dose")  # strategies that ab_test can be about
RESERVED = ("experiment", "run_dir", "overrides")  # the runner's own, which no file may set


def notebook_of(spec: Spec, root: Path) -> Path:
    """The notebook that runs the experiment, in the project at `root`."""
    return root / "notebooks" / f"{spec.notebook}.ipynb"


def check_notebook(spec: Spec, root: Path, overrides: Mapping[str, Any] | None = None) -> None:
    """Raise PlanError where the notebook that `spec` names is not there or cannot be run so.

    It must know every one of the file's ``parameters`` and of the runner's own: papermill itself
    only warns, and the notebook would run on its defaults. The runner's own stay its own. Of the
    lab's own notebooks, the one named must be about what the file asks.
    """
    _fits(spec)
    notebook = notebook_of(spec, root)
    known = notebook_parameters(notebook)
    faults = [
        f"parameters: {name!r} is set by the lab; the file may not set it"
        for name in spec.parameters
        if name in RESERVED
    ]
    own = RESERVED if overrides else RESERVED[:2]
    faults += [
        f"parameters: {name!r} is not in the parameters cell of {notebook.name}"
        f"{did_you_mean(name, known)}"
        for name in dict.fromkeys((*own, *spec.parameters))
        if name not in known
    ]
    if faults:
        raise PlanError("\n".join(faults))


def _fits(spec: Spec) -> None:
    """Raise PlanError where one of the lab's notebooks cannot be about what `spec` asks."""
    if spec.notebook == AB and spec.survival is not None and not spec.metrics:
        raise PlanError(
            f"notebook: {AB} compares arms by metrics, and the file has none; "
            f"write notebook: {COHORTS}"
        )
    said = spec.incentive
    if spec.notebook == INCENTIVE and said is None:
        raise PlanError(f"notebook: {INCENTIVE} needs an incentive section, and the file has none")
    if spec.notebook == AB and said is not None and said.strategy not in RANDOMISED:
        raise PlanError(
            f"notebook: {AB} needs arms that were dealt by chance, and the file's strategy is "
            f"{said.strategy}; write notebook: {INCENTIVE}"
        )
    if spec.notebook == COHORTS and spec.survival is None:
        raise PlanError(f"notebook: {COHORTS} needs a survival section, and the file has none")


def notebook_parameters(path: Path) -> dict[str, str]:
    """Name -> default, as written, of each parameter of the notebook at `path`.

    Raises PlanError: no such notebook (with the nearest name), not a notebook, no cell tagged
    ``parameters``, or that cell is not plain Python.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except FileNotFoundError:
        near = sorted(p.stem for p in path.parent.glob("*.ipynb"))
        hint = did_you_mean(path.stem, near) or f"; there are: {', '.join(near) or 'none'}"
        raise PlanError(f"notebook: there is no {path.name} in {path.parent.name}/{hint}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(f"notebook: {path.name} is not a notebook: {error}") from None
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
    if not tagged:
        raise PlanError(f"notebook: {path.name} has no cell with the tag 'parameters'")
    source = "".join(tagged[0]["source"])
    try:
        lines = ast.parse(source).body
    except SyntaxError as error:
        where = f"line {error.lineno} of the parameters cell of {path.name}"
        raise PlanError(f"notebook: {where} is not Python: {error.msg}") from None
    found: dict[str, str] = {}
    for line in lines:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        value = getattr(line, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                found[target.id] = ast.unparse(value)
    return found
