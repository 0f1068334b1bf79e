"""An experiment's plan in; a run folder with an up-to-date run.json out, and found again.

A run folder is ``<root>/reports/<experiment>/<run id>/``; its ``run.json`` says what was run,
on what, when and how it ended. The runner opens it before the kernel starts, the notebook opens
it again (and gets the same one), so a notebook run by hand leaves the same folder.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import secrets
import shutil
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from retention_lab.errors import LabError, RunError, did_you_mean
from retention_lab.paths import project_root
from retention_lab.results import ENDED

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan
    from retention_lab.experiment.spec import Spec

Status = Literal["running", "finished", "failed", "interrupted"]
RECORD = "run.json"
SPEC = "spec.yaml"
SKIP = "skipped.json"


def open_run(plan: Plan, run_dir: str | Path = "", *, started_by: str = "notebook") -> Path:
    """The run folder at `run_dir`, made with run.json and spec.yaml unless it is open already.

    An empty `run_dir` makes ``<root>/reports/<name>/<run id>``, as a notebook run by hand does.
    Raises RunError where the folder cannot be written.
    """
    from retention_lab.run.provenance import of_plan

    folder = Path(run_dir) if str(run_dir) else None
    if folder is not None and (folder / RECORD).is_file():
        return folder
    if folder is None:
        folder = new_folder(project_root(plan.path) / "reports", plan.spec.name)
    return write_opening(folder, plan.path, of_plan(plan), started_by=started_by)


def new_folder(reports: Path, experiment: str) -> Path:
    """Make and return an empty ``reports/<experiment>/<run id>``; raises RunError."""
    make_folder(reports / experiment)
    while True:
        now = dt.datetime.now(dt.UTC)
        folder = reports / experiment / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileExistsError):
            make_folder(folder, exist_ok=False)
            return folder


def make_folder(folder: Path, *, exist_ok: bool = True) -> None:
    """Make `folder` and those above it; RunError says what is in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        if isinstance(error, FileExistsError) and not exist_ok:
            raise
        raise RunError(f"{folder} cannot be made: {error.strerror or error}") from None


def write_opening(
    folder: Path, file: Path, provenance: Mapping[str, Any], *, started_by: str
) -> Path:
    """Write the first run.json (status running) and the byte copy of the experiment file."""
    opening = {
        "run_id": folder.name,
        "status": "running",
        "started_by": started_by,
        "started": _now(),
        "finished": None,
        "seconds": None,
        "error": None,
        **provenance,
        "root": os.path.relpath(project_root(file), folder.resolve()),
        "verdict": None,
        "mlflow": None,
        "files": [],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / SPEC)
        _write(folder, opening)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror or error}") from None
    return folder


def close_run(
    folder: Path, status: Status, error: BaseException | Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write how the run ended into run.json, with the files it left; the last call holds.

    `error` is an exception or a mapping with type, message and traceback.
    """
    run = read_run(folder)
    finished = _now()
    started = dt.datetime.fromisoformat(run["started"])
    seconds = (dt.datetime.fromisoformat(finished) - started).total_seconds()
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    run.update(
        status=status,
        finished=finished,
        seconds=round(seconds, 3),
        error=describe_error(error) if isinstance(error, BaseException) else error,
        verdict=_verdict(folder),
        files=files,
    )
    _write(folder, run)
    return run


def update_run(folder: Path, **values: Any) -> None:
    """Replace the given keys of run.json."""
    _write(folder, {**read_run(folder), **values})


def read_run(folder: str | Path) -> dict[str, Any]:
    """The content of run.json in `folder`; raises RunError where there is none."""
    path = Path(folder) / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} is not a run folder: it has no {RECORD}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path} does not hold a run")
    return content


def spec_of(folder: Path, *, changed: bool = True) -> Spec:
    """The experiment file of the run in `folder`; raises SpecError.

    With the run's overrides, unless `changed` is False: then as it was written.
    """
    from retention_lab.experiment.load import parse, with_overrides

    raw, lines = parse((folder / SPEC).read_text(encoding="utf-8"), SPEC)
    return with_overrides(raw, read_run(folder)["overrides"] if changed else {}, lines, SPEC)


def as_written(run: Mapping[str, Any]) -> bool:
    """Whether the run used the experiment file as it stands, without changed values."""
    return not run.get("overrides")


def changed_text(run: Mapping[str, Any]) -> str:
    """``inference.alpha = 0.1, owner = crm``: the values that the run changed; empty if none."""
    return ", ".join(f"{k} = {v}" for k, v in (run.get("overrides") or {}).items())


def latest_run(folders: Sequence[Path]) -> Path | None:
    """The newest of `folders` whose run used the file as written; else the newest; None of none.

    `folders` are run folders of one experiment, the newest first.
    """
    for folder in folders:
        try:
            if as_written(read_run(folder)):
                return folder
        except RunError:
            return folder
    return folders[0] if folders else None


def note_skip(
    reports: Path, experiment: str, message: str, title: Mapping[str, str] | None = None
) -> None:
    """Note that `experiment` was not run, and why; the next run makes the note void.

    `title` is the experiment's by language, for pages that have nothing else of it.
    """
    try:
        (reports / experiment).mkdir(parents=True, exist_ok=True)
        content = {"at": _now(), "message": message, "title": dict(title or {})}
        write_atomically(reports / experiment / SKIP, json.dumps(content, ensure_ascii=False))
    except OSError:
        return  # the command line says it all the same


def skips(reports: Path) -> dict[str, dict[str, Any]]:
    """By experiment that was skipped and not run since: when (``at``) and why (``message``).

    ``title`` is a title by language, empty where it is not known.
    """
    found = {}
    for path in sorted(reports.glob(f"*/{SKIP}")):
        newest = list_runs(reports, path.parent.name)[:1]
        try:
            noted = json.loads(path.read_text(encoding="utf-8"))
            at = dt.datetime.fromisoformat(noted["at"])
            if newest and dt.datetime.fromisoformat(read_run(newest[0])["started"]) >= at:
                continue
            found[path.parent.name] = {
                "at": noted["at"],
                "message": str(noted["message"]),
                "title": dict(noted.get("title") or {}),
            }
        except (OSError, ValueError, KeyError, TypeError, RunError):
            continue
    return found


def list_runs(reports: Path, experiment: str | None = None) -> list[Path]:
    """Run folders under `reports`, newest first; of one experiment where it is named."""
    found = reports.glob(f"{experiment or '*'}/*/{RECORD}")
    return sorted((p.parent for p in found), key=lambda p: (p.name, str(p)), reverse=True)


def find_run(reports: Path, named: str | Path) -> Path:
    """The run folder meant by a path, a run id (or its beginning) or an experiment's name.

    An experiment's name means its latest run of the file as written. Raises RunError where
    nothing or more than one run fits, with the nearest known name.
    """
    path = Path(named)
    if (path / RECORD).is_file():
        return path
    name = str(named).removesuffix(".yaml").rsplit("/", 1)[-1]
    runs = list_runs(reports)
    of_experiment = [r for r in runs if r.parent.name == name]
    latest = latest_run(of_experiment)
    if latest is not None:
        return latest
    by_id = [r for r in runs if name and r.name.startswith(name)]
    if len(by_id) > 1:
        ids = ", ".join(f"{r.parent.name}/{r.name}" for r in by_id)
        raise RunError(f"{named} fits more than one run: {ids}")
    if not by_id:
        known = [n for r in runs for n in (r.parent.name, r.name)]
        where = f"there is no run {str(named)!r} under {reports}"
        raise RunError(f"{where}{did_you_mean(name, known)}")
    return by_id[0]


def describe_error(error: BaseException) -> dict[str, Any]:
    """Type, message and traceback of `error`, as run.json holds them."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {"type": type(error).__name__, "message": str(error), "traceback": "".join(lines)}


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old content or the new, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _write(folder: Path, run: Mapping[str, Any]) -> None:
    text = json.dumps(run, ensure_ascii=False, indent=1, default=str)
    write_atomically(folder / RECORD, text + "\n")


def _verdict(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
        codes = [str(r["code"]) for r in content["reasons"]]
        first = {"reason": ENDED if ENDED in codes else codes[0]} if codes else {}
        offer = {"offer": True} if _is_offer(folder, codes) else {}
        return {"verdict": content["verdict"], "arm": content["arm"], **first, **offer}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_offer(folder: Path, codes: Sequence[str]) -> bool:
    """Whether the verdict is told in the words of an incentive: keep it, look closer, stop it."""
    from retention_lab.texts.incentive import CODE, is_offer

    try:
        return any(code.startswith(CODE) for code in codes) and is_offer(spec_of(folder))
    except (LabError, OSError):
        return False


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
