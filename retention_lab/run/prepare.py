"""An experiment file in; its notebook ready to run, or the reason why it will not, out.

Everything that can be found before a kernel starts is found here. Imports no papermill, nbformat
or mlflow, so that unchanged work is skipped in a fraction of a second.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retention_lab.errors import DataError, LabError, did_you_mean
from retention_lab.paths import project_root
from retention_lab.run.cache import find_unchanged
from retention_lab.run.folder import (
    SPEC,
    close_run,
    describe_error,
    make_folder,
    new_folder,
    note_skip,
    read_run,
    update_run,
    write_opening,
)
from retention_lab.run.outcome import Outcome, in_short
from retention_lab.run.parameters import check_notebook, notebook_of
from retention_lab.run.provenance import (
    hashes_of,
    inputs_of,
    key_of,
    of_file,
    of_plan,
    spec_hash,
    within,
)
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

    A file that cannot be planned leaves a failed run folder as well, so that it is recorded; a
    slip in an override does not.
    """
    file = file.absolute()
    if not file.is_file():
        where = within(file, project_root(Path.cwd()))
        near = [p.stem for p in file.parent.glob("*.yaml")] if file.parent.is_dir() else []
        message = f"there is no experiment file at {where}{did_you_mean(file.stem, near)}"
        return Outcome(experiment=file.stem, status="failed", message=message)
    reports = reports_of(file, reports)
    redactor = Redactor("")
    try:
        redactor = redactor_of(file, overrides)
        return _prepared(file, overrides, reports, force, redactor)
    except _no_data() as error:
        message = redactor.text(str(error))
        if FOLDER_NAME.fullmatch(file.stem):
            note_skip(reports, file.stem, in_short(message), _title(file))
        return Outcome(experiment=file.stem, status="skipped_no_data", message=message)
    except _wrong_override() as error:
        message = redactor.text(str(error))
        return Outcome(experiment=file.stem, status="failed", message=message)
    except Exception as error:
        return _refused(file, overrides, reports, error, redactor)


def _title(file: Path) -> dict[str, str]:
    """The title of the experiment by language; nothing where the file cannot be read."""
    from retention_lab.experiment.load import load

    try:
        title = load(file).title
    except LabError:
        return {}
    return {language: title.get(language) for language in ("en", "zh")}


def reports_of(file: Path, reports: Path | None) -> Path:
    """The folder of the run folders of `file`: `reports`, else that of its project."""
    return (
        reports if reports is not None else project_root(file.absolute()) / "reports"
    ).absolute()


def redactor_of(file: Path, overrides: Mapping[str, Any]) -> Redactor:
    """Replaces every secret that the file or its overrides name as ``${NAME}``."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return Redactor(text + json.dumps(dict(overrides), default=str))


def _no_data() -> type[DataError]:
    from retention_lab.data.datasets import DatasetMissingError

    return DatasetMissingError


def _wrong_override() -> type[LabError]:
    from retention_lab.experiment.load import OverrideError

    return OverrideError


def _prepared(
    file: Path, overrides: Mapping[str, Any], reports: Path, force: bool, redactor: Redactor
) -> Ready | Outcome:
    from retention_lab.data.source import Source
    from retention_lab.experiment.load import load

    spec = load(file, overrides)
    root = project_root(file)
    notebook = notebook_of(spec, root)
    inputs = inputs_of(spec, Source(spec.data, file.parent, root))
    if not force:
        key = key_of(hashes_of(file, overrides, notebook, inputs))
        found = find_unchanged(reports, spec.name, key)
        if found is not None:
            return _unchanged(found, root)
    from retention_lab.experiment.plan import make_plan

    plan = make_plan(file, overrides)
    check_notebook(spec, root, overrides)
    parameters = {**spec.parameters, "experiment": within(file, root), "run_dir": ""}
    if overrides:
        parameters["overrides"] = dict(overrides)
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


def hashes_now(ready: Ready) -> dict[str, str | None]:
    """The hashes of `ready`, taken again. Raises LabError where its file or tables are gone."""
    from retention_lab.data.source import Source
    from retention_lab.experiment.load import load

    overrides = ready.provenance["overrides"]
    try:
        spec = load(ready.file, overrides)
        inputs = inputs_of(spec, Source(spec.data, ready.file.parent, ready.root))
        return hashes_of(ready.file, overrides, ready.notebook, inputs)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None


def prepared_now(ready: Ready) -> Ready | Outcome:
    """`ready` where its inputs are what they were when it was prepared; else prepared again."""
    try:
        same = hashes_now(ready) == ready.provenance["hashes"]
    except LabError:
        same = False
    if same:
        return ready
    overrides = ready.provenance["overrides"]
    return prepare(ready.file, overrides=overrides, reports=ready.reports, force=True)


def note_changes(ready: Ready, folder: Path) -> list[str]:
    """Which inputs are not what they were when the notebook of `ready` began.

    The results in `folder` rest on the old ones or the new ones, nobody knows: run.json then
    holds no hash for these, and no key, so that no later run takes them for its own.
    """
    before = ready.provenance["hashes"]
    try:
        after = hashes_now(ready)
    except LabError:
        after = dict.fromkeys(before)
    copy = spec_hash(folder / SPEC, {}) if (folder / SPEC).is_file() else None
    names = [n for n in before if after.get(n) != before[n]]
    if copy != before["file"]:
        names = list(dict.fromkeys([*names, "file", "spec"]))
    if names:
        update_run(folder, hashes={**before, **dict.fromkeys(names)}, key=None)
    return names


def _unchanged(folder: Path, root: Path) -> Outcome:
    from retention_lab.run.record import is_recorded

    run = read_run(folder)
    verdict = run["verdict"] or {}
    return Outcome(
        experiment=run["experiment"],
        status="skipped_unchanged",
        verdict=verdict.get("verdict"),
        arm=verdict.get("arm"),
        reason=verdict.get("reason"),
        offer=bool(verdict.get("offer")),
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
        except Exception as second:
            folder = None
            message = "\n".join(dict.fromkeys((message, str(second))))
    return Outcome(experiment=file.stem, status="failed", folder=folder, message=message)


def headline(error: Exception, said: Mapping[str, Any]) -> str:
    """One message for the user; the type as well where the error was not made for users."""
    return said["message"] if isinstance(error, LabError) else f"{said['type']}: {said['message']}"
