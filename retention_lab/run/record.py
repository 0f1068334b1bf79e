"""A run folder in; its one MLflow run, complete and found again by the folder's name, out.

Imports mlflow, which takes seconds, inside its functions. Uses only MLflow's client, never its
global state, so that threads and other uses of MLflow are left alone. Recording a folder again
finishes or refreshes the same MLflow run: whatever broke in the middle, `record` mends it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from retention_lab.errors import LabError, RunError
from retention_lab.paths import cache_folder
from retention_lab.run.folder import RECORD, SPEC, changed_text, read_run, spec_of, update_run
from retention_lab.run.models import log_models
from retention_lab.run.naming import metrics, parameters
from retention_lab.run.redact import Redactor, address, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
RUN_TAG = "retention_lab.run"
# The kind of experiment that MLflow's pages open with a list of runs.
RUNS_FIRST = {"mlflow.experimentKind": "custom_model_development"}
MOST_PARAMS = 100  # MLflow's limits for one batch
MOST_METRICS = 1000
LONGEST_TAG = 8000
DIGEST = 36  # characters of a digest that MLflow keeps
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "FAILED"}
BUSY_SECONDS = 30  # how long another process may hold the SQLite file
TRIES = 5
_opening = threading.Lock()


def record(folder: Path, tracking_uri: str | None = None) -> str:
    """Record the run in `folder`; returns the id of its MLflow run.

    The store is `tracking_uri`, else MLFLOW_TRACKING_URI, else ``<root>/mlflow.db`` with the
    artifacts under ``<root>/mlruns``. Raises RunError where the run has not ended or the store
    cannot be reached or written; calling again finishes the same MLflow run.
    """
    folder = Path(folder)
    with _turn(str(folder.resolve())):
        return _recorded(folder, tracking_uri)


def _recorded(folder: Path, tracking_uri: str | None) -> str:
    run = read_run(folder)
    if run["status"] not in STATUS:
        raise RunError(f"{folder}: the run has not ended, or its runner was killed; run it again")
    root = (folder / run["root"]).resolve()
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or None
    where = _shown(uri)
    secrets = (folder / SPEC).read_text(encoding="utf-8", errors="replace")
    lost = Redactor(secrets + json.dumps(run["overrides"], default=str)).folder(folder).faults
    if lost:
        update_run(folder, faults=[*run.get("faults", ()), *lost])
    client, run_id = None, ""
    try:
        client = open_store(uri, root)
        experiment = _experiment(client, run["experiment"], None if uri else root / "mlruns")
        known = run["mlflow"] if (run["mlflow"] or {}).get("tracking") == where else None
        run_id = _run(client, experiment, run, (known or {}).get("run_id"))
        note = {"experiment_id": experiment, "run_id": run_id, "tracking": where}
        update_run(folder, mlflow={**note, "complete": False})
        _log(client, run_id, folder, run)
        client.log_artifacts(run_id, str(folder))
        log_models(client, experiment, run_id, folder, run["experiment"])
        client.set_terminated(run_id, STATUS[run["status"]], _milliseconds(run["finished"]))
        update_run(folder, mlflow={**note, "complete": True})
        client.log_artifact(run_id, str(folder / RECORD))
    except BaseException as error:
        if client is not None and run_id:
            # Half a record is no run that still goes on; whoever records again finishes it.
            with contextlib.suppress(Exception):
                client.set_terminated(run_id, "FAILED", _milliseconds(run["finished"]))
        if isinstance(error, LabError) or not isinstance(error, Exception):
            raise
        reason = _reason(error, uri, where)
        raise RunError(f"MLflow at {where}: {type(error).__name__}: {reason}") from error
    return run_id


def _reason(error: Exception, uri: str | None, where: str) -> str:
    """The first line of what went wrong, without the store's password."""
    text = str(error)
    if uri:
        text = Redactor("${MLFLOW_TRACKING_URI}", {"MLFLOW_TRACKING_URI": uri}).text(
            text.replace(uri, where)
        )
    lines = without_credentials(text).strip().splitlines() or [""]
    return lines[0][:500]


def is_recorded(run: Mapping[str, Any], root: Path) -> bool:
    """Whether the store of the project at `root` has this run's record.

    Not so where the record is in another store. A SQLite file is asked for the run; a server is
    not, since that would take seconds: there, what run.json says counts.
    """
    noted, uri = run["mlflow"] or {}, os.environ.get("MLFLOW_TRACKING_URI") or None
    if not noted.get("complete") or noted.get("tracking") != _shown(uri):
        return False
    uri = uri or f"{SQLITE}{root / DATABASE}"
    if not uri.startswith(SQLITE):
        return True
    return _holds(Path(uri.removeprefix(SQLITE).partition("?")[0]), str(noted.get("run_id")))


def _holds(database: Path, run_id: str) -> bool:
    """Whether MLflow's SQLite file `database` has a run with this id, deleted or not."""
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, timeout=1, uri=True)) as connection:
            found = connection.execute("select 1 from runs where run_uuid = ?", [run_id])
            return found.fetchone() is not None
    except sqlite3.Error:
        return False


def open_store(uri: str | None, root: Path) -> MlflowClient:
    """A client of the store at `uri` (None: the project's own), which exists afterwards.

    Two processes that make the same SQLite file at once would break it, so they take turns.
    Raises sqlite3.Error where the file cannot be written.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = uri or f"{SQLITE}{root / DATABASE}"
    if not uri.startswith(SQLITE):
        return MlflowClient(tracking_uri=uri)
    with _opening, _turn(uri):
        _check_writable(uri.removeprefix(SQLITE))
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _check_writable(database: str) -> None:
    """Raise what is wrong with a SQLite file at once; MLflow would try for minutes."""
    with contextlib.closing(sqlite3.connect(database, BUSY_SECONDS)) as connection:
        connection.execute("begin immediate")
        connection.rollback()


@contextlib.contextmanager
def _turn(what: str) -> Iterator[None]:
    """Hold the lock that goes with `what`, between the threads and processes of this machine.

    Where there is no fcntl (Windows) nobody waits: who records one folder twice at the same time,
    or makes one SQLite file twice, may get two records or an error there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = cache_folder() / "locks" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise RunError(f"{lock} cannot be written: {error.strerror or error}") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Id of the MLflow experiment called `name`; made, or brought back from the bin."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = (artifacts / name).as_uri() if artifacts else None
        try:
            return str(client.create_experiment(name, location, tags=RUNS_FIRST))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _run(client: MlflowClient, experiment: str, run: Mapping[str, Any], known: str | None) -> str:
    """Id of this folder's MLflow run: the one it has already, or a new one."""
    from mlflow.exceptions import MlflowException

    if known is not None:
        with contextlib.suppress(MlflowException):
            found = client.get_run(known)
            if found.info.lifecycle_stage == "active":
                return known
    same = f"tags.`{RUN_TAG}` = '{run['run_id']}'"
    for earlier in client.search_runs([experiment], same, max_results=1):
        return str(earlier.info.run_id)
    started = _milliseconds(run["started"])
    tags = {RUN_TAG: run["run_id"]}
    made = client.create_run(experiment, start_time=started, tags=tags, run_name=run["run_id"])
    return str(made.info.run_id)


def _log(client: MlflowClient, run_id: str, folder: Path, run: Mapping[str, Any]) -> None:
    """Parameters, tags, metrics and inputs, in as few requests as MLflow's limits allow."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    at = _milliseconds(run["finished"])
    params = [Param(k, v) for k, v in parameters(_content(folder)).items()]
    tags = [RunTag(k, v[:LONGEST_TAG]) for k, v in _tags(folder, run).items()]
    numbers = [Metric(k, v, at, 0) for k, v in _metrics(folder).items()]
    rounds = max(_batches(params, MOST_PARAMS), _batches(tags, MOST_PARAMS), 1)
    size = MOST_METRICS - 2 * MOST_PARAMS
    for i in range(max(rounds, _batches(numbers, size))):
        client.log_batch(
            run_id,
            metrics=numbers[i * size : (i + 1) * size],
            params=params[i * MOST_PARAMS : (i + 1) * MOST_PARAMS],
            tags=tags[i * MOST_PARAMS : (i + 1) * MOST_PARAMS],
        )
    inputs = [
        DatasetInput(
            Dataset(
                name=i["ref"],
                digest=(i["digest"] or "unknown")[:DIGEST],
                source_type="local" if i["digest"] else "external",
                source=json.dumps({"uri": i["ref"]}),
                profile=json.dumps({"sha256": i["digest"], "bytes": i["bytes"]}),
            ),
            [InputTag("mlflow.data.context", i["name"])],
        )
        for i in run["inputs"]
    ]
    for attempt in range(TRIES):
        try:
            client.log_inputs(run_id, inputs)
            return
        except MlflowException as error:
            # Two runs that enter the same new dataset at once: the later one finds it next time.
            known = any(word in str(error).lower() for word in ("unique", "duplicate"))
            if attempt == TRIES - 1 or not known:
                raise


def _batches(items: Sequence[Any], size: int) -> int:
    return -(-len(items) // size)


def _content(folder: Path) -> Mapping[str, Any]:
    """The file's values with defaults filled in; as written where it is not valid."""
    with contextlib.suppress(LabError):
        return spec_of(folder).model_dump(mode="json", by_alias=True, exclude_none=True)
    try:
        written = yaml.safe_load((folder / SPEC).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return written if isinstance(written, dict) else {}


def _metrics(folder: Path) -> dict[str, float]:
    from retention_lab.results import Results

    if not (folder / "results.parquet").is_file():
        return {}
    try:
        return metrics(Results.load(folder).rows)
    except (OSError, ValueError):
        return {}  # half a file, left by a kernel that died


def _tags(folder: Path, run: Mapping[str, Any]) -> dict[str, str]:
    """What MLflow's tables show and search by. Tags that do not apply are left out."""
    error, verdict, git = run["error"] or {}, run["verdict"] or {}, run["git"]
    found = {
        RUN_TAG: run["run_id"],
        "status": run["status"],
        "owner": run["owner"],
        "engine": run["engine"],
        "verdict": verdict.get("verdict"),
        "verdict.arm": verdict.get("arm"),
        "git.commit": git["commit"],
        "git.dirty": None if git["dirty"] is None else str(git["dirty"]).lower(),
        "key": run["key"],
        "changed": changed_text(read_run(folder)),  # where secrets are replaced by now
        "error": error.get("message"),
        "traceback": (error.get("traceback") or "")[-LONGEST_TAG:],
        "mlflow.source.name": run["file"],
        "mlflow.source.type": "NOTEBOOK",
        "mlflow.source.git.commit": git["commit"],
        "mlflow.user": _user(),
        "mlflow.note.content": _note(folder, run),
    }
    found.update({f"hash.{name}": digest for name, digest in run["hashes"].items()})
    found.update({f"version.{name}": version for name, version in run["versions"].items()})
    return {name: str(value) for name, value in found.items() if value}


def _note(folder: Path, run: Mapping[str, Any]) -> str:
    """MLflow's description of the run: what was asked, and what the answer is."""
    lines = [f"**{run['title']}**"]
    question = _content(folder).get("question")
    question = question.get("en") if isinstance(question, Mapping) else question
    if question:
        lines.append(str(question))
    if run["verdict"]:
        arm = f" ({run['verdict']['arm']})" if run["verdict"]["arm"] else ""
        lines.append(f"**Verdict: {run['verdict']['verdict'].replace('_', ' ')}{arm}**")
        lines.extend(f"- {sentence}" for sentence in _reasons(folder))
    if run["error"]:
        lines.append(f"**{run['status']}**: {run['error']['message']}")
    return "\n\n".join(lines)


def _reasons(folder: Path) -> list[str]:
    """The verdict's reasons in English, each once, as the report tells them."""
    from retention_lab.results import Verdict
    from retention_lab.run.view.decisive import told

    said = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))["reasons"]
    codes = {r.code for r in told(Verdict.load(folder))}
    texts = [r.get("text", {}).get("en") for r in said if r["code"] in codes]
    return [text for text in dict.fromkeys(texts) if text]


def _shown(uri: str | None) -> str:
    """The store as run.json and messages name it: without a password or this machine's paths."""
    return address(uri) if uri else f"{SQLITE}{DATABASE}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _milliseconds(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)
