"""An experiment file in; its notebook ready to run, or the reason why it will not, out.

Everything that can be found before a kernel starts is found here. Imports no papermill, nbformat
or mlflow, so that unchanged work is skipped in a fraction of a second.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retention_lab.errors import DataError, LabError, PlanError, did_you_mean
from retention_lab.paths import project_root
from retention_lab.run.cache import find_unchanged
from retention_lab.run.folder import (
    close_run,
    describe_error,
    make_folder,
    new_folder,
    read_run,
    write_opening,
)
from retention_lab.run.outcome import Outcome
from retention_lab.run.provenance import hashes_of, inputs_of, key_of, of_file, of_plan, within
from retention_lab.run.redact import Redactor

FOLDER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_\-]*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A checked experiment: what to run, with which parameters, and what to write down."""

    experiment: str
    file: Path
    root: Path
    reports: Path
    notebook: Path
    parameters: Mapping[str, Any]
    provenance: Mapping[str, Any]
    redactor: Redactor


def prepare(
    file: Path, *, overrides: Mapping[str, Any], reports: Path | None, force: bool
) -> Ready | Outcome:
    """Check one file: `Ready`, or the `Outcome` where its notebook need or can not run.

    A file that cannot be planned leaves a failed run folder as well, so that it is recorded.
    """
    file = file.absolute()
    if not file.is_file():
        where = within(file, project_root(Path.cwd()))
        near = [p.stem for p in file.parent.glob("*.yaml")] if file.parent.is_dir() else []
        message = f"there is no experiment file at {where}{did_you_mean(file.stem, near)}"
        return Outcome(experiment=file.stem, status="failed", message=message)
    reports = reports.absolute() if reports is not None else project_root(file) / "reports"
    redactor = Redactor("")
    try:
        redactor = redactor_of(file, overrides)
        return _prepared(file, overrides, reports, force, redactor)
    except _no_data() as error:
        message = redactor.text(str(error))
        return Outcome(experiment=file.stem, status="skipped_no_data", message=message)
    except Exception as error:
        return _refused(file, overrides, reports, error, redactor)


def redactor_of(file: Path, overrides: Mapping[str, Any]) -> Redactor:
    """Replaces every secret that the file or its overrides name as ``${NAME}``."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return Redactor(text + json.dumps(dict(overrides), default=str))


def _no_data() -> type[DataError]:
    from retention_lab.data.datasets import DatasetMissingError

    return DatasetMissingError


def _prepared(
    file: Path, overrides: Mapping[str, Any], reports: Path, force: bool, redactor: Redactor
) -> Ready | Outcome:
    from retention_lab.data.source import Source
    from retention_lab.experiment.load import load

    spec = load(file, overrides)
    root = project_root(file)
    notebook = root / "notebooks" / f"{spec.notebook}.ipynb"
    inputs = inputs_of(spec, Source(spec.data, file.parent, root))
    if not force:
        key = key_of(hashes_of(file, overrides, notebook, inputs))
        found = find_unchanged(reports, spec.name, key)
        if found is not None:
            return _unchanged(found, root)
    from retention_lab.experiment.plan import make_plan

    plan = make_plan(file, overrides)
    parameters = {"experiment": within(file, root), "run_dir": "", **spec.parameters}
    if overrides:
        parameters["overrides"] = dict(overrides)
    check_parameters(notebook, parameters)
    make_folder(reports)
    return Ready(
        experiment=spec.name,
        file=file,
        root=root,
        reports=reports,
        notebook=notebook,
        parameters=parameters,
        provenance=of_plan(plan, inputs),
        redactor=redactor,
    )


def _unchanged(folder: Path, root: Path) -> Outcome:
    from retention_lab.run.record import is_recorded

    run = read_run(folder)
    verdict = run["verdict"] or {}
    return Outcome(
        experiment=run["experiment"],
        status="skipped_unchanged",
        verdict=verdict.get("verdict"),
        arm=verdict.get("arm"),
        folder=folder,
        message="nothing has changed since this run",
        faults=tuple(run.get("faults", ())),
        recorded=is_recorded(run, root),
    )


def _refused(
    file: Path, overrides: Mapping[str, Any], reports: Path, error: Exception, redactor: Redactor
) -> Outcome:
    """The failed outcome of a file that could not be planned, with a run folder that says so."""
    said = {k: redactor.text(v) for k, v in describe_error(error).items()}
    message = headline(error, said)
    folder = None
    if FOLDER_NAME.fullmatch(file.stem):
        try:
            folder = new_folder(reports, file.stem)
            write_opening(folder, file, of_file(file, overrides), started_by="runner")
            close_run(folder, "failed", said)
        except (LabError, OSError) as second:
            folder = None
            message = "\n".join(dict.fromkeys((message, str(second))))
    return Outcome(experiment=file.stem, status="failed", folder=folder, message=message)


def headline(error: Exception, said: Mapping[str, Any]) -> str:
    """One message for the user; the type as well where the error was not made for users."""
    return said["message"] if isinstance(error, LabError) else f"{said['type']}: {said['message']}"


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Raise PlanError where `notebook` does not know one of `parameters`.

    Papermill itself only warns, and the notebook would run on its defaults.
    """
    known = notebook_parameters(notebook)
    faults = [
        f"parameters: {name!r} is not in the parameters cell of {notebook.name}"
        f"{did_you_mean(name, known)}"
        for name in parameters
        if name not in known
    ]
    if faults:
        raise PlanError("\n".join(faults))


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
