"""Experiment files in; each one's notebook executed, recorded and told of as an `Outcome` out.

One process runs all notebooks in threads, their kernels beside each other; what goes wrong with
one stays with that one. Files are checked one after the other while earlier notebooks run, and
finished runs are recorded in MLflow meanwhile, so that its slow import costs little waiting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from retention_lab.errors import LabError, RunError
from retention_lab.run.folder import (
    close_run,
    describe_error,
    new_folder,
    read_run,
    update_run,
    write_opening,
)
from retention_lab.run.kernel import (
    InterruptedRunError,
    Job,
    NotebookError,
    Stop,
    execute,
    socket_folder,
)
from retention_lab.run.outcome import Event, Outcome
from retention_lab.run.parameters import notebook_parameters
from retention_lab.run.prepare import (
    Ready,
    headline,
    note_changes,
    prepare,
    prepared_now,
    reports_of,
)
from retention_lab.run.provenance import within

__all__ = ["Event", "Outcome", "notebook_parameters", "run_experiments"]

TIMEOUT = 3600.0
RESULTS = ("verdict.json", "results.parquet")
OnEvent = Callable[[Event], None]


def run_experiments(
    files: Sequence[Path],
    *,
    jobs: int = 1,
    force: bool = False,
    overrides: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    reports: Path | None = None,
    on_event: OnEvent | None = None,
) -> list[Outcome]:
    """Run the notebook of every file, at most `jobs` at once; outcomes in the files' order.

    `timeout` is the deadline of one notebook in seconds (an hour by default), `reports` the
    folder for run folders (``<root>/reports`` by default). `force` runs unchanged work again.
    `on_event` is told of progress, from several threads but one call at a time.

    Raises nothing for a file that fails: its outcome says so, and the others run. At Ctrl-C
    (or SIGTERM, SIGHUP) running kernels are interrupted and shut down, and the outcomes of what was
    not finished are ``interrupted``; a second Ctrl-C kills them without waiting.
    """
    batch = _Batch(timeout or TIMEOUT, on_event or (lambda _: None))
    with socket_folder() as batch.sockets, _termination_interrupts():
        batch.run(
            [Path(f) for f in files],
            max(1, jobs),
            lambda f: prepare(f, overrides=overrides or {}, reports=reports, force=force),
        )
    batch.index({reports_of(Path(f), reports) for f in files})
    return [batch.outcomes[i] for i in range(len(files))]


class _Batch:
    """One call of `run_experiments`: its threads, its outcomes, and its way to stop."""

    sockets: Path

    def __init__(self, timeout: float, on_event: OnEvent) -> None:
        self.timeout = timeout
        self.stop = Stop()
        self.outcomes: dict[int, Outcome] = {}
        self._on_event = on_event
        self._telling = threading.Lock()
        self._pending: list[tuple[int, Future[Future[None]]]] = []
        self._records: list[Future[None]] = []

    def tell(self, kind: Any, index: int, experiment: str, **more: Any) -> None:
        with self._telling, contextlib.suppress(OSError):  # of a terminal that is gone
            self._on_event(Event(kind=kind, index=index, experiment=experiment, **more))

    def run(
        self, files: Sequence[Path], jobs: int, prepared: Callable[[Path], Ready | Outcome]
    ) -> None:
        kernels = ThreadPoolExecutor(jobs, "kernel")
        self.recorder = ThreadPoolExecutor(1, "record")
        try:
            self._patiently(lambda: self._submit(files, prepared, kernels))
            while self._pending or self._records:
                self._patiently(self._wait)
        finally:
            kernels.shutdown()
            self.recorder.shutdown()
            gc.unfreeze()
        for index, file in enumerate(files):
            if index not in self.outcomes:
                self._end(index, _not_started(file.stem))

    def _patiently(self, work: Callable[[], None]) -> None:
        """Do `work`; Ctrl-C stops the kernels, and what they leave is still waited for."""
        try:
            work()
        except KeyboardInterrupt:
            self.stop.ask(force=self.stop.asked)

    def _submit(
        self,
        files: Sequence[Path],
        prepared: Callable[[Path], Ready | Outcome],
        kernels: ThreadPoolExecutor,
    ) -> None:
        warm = False
        for index, file in enumerate(files):
            found = prepared(file)
            if isinstance(found, Outcome):
                unrecorded = found.folder is not None and (
                    found.status == "failed" or not found.recorded
                )
                if unrecorded:
                    self._records.append(self.recorder.submit(self._record, index, found))
                else:
                    self._end(index, found)
                continue
            self.tell("planned", index, found.experiment)
            if not warm:
                # Here, before any thread needs them: two threads that import big packages at
                # once can meet half-initialised modules.
                from retention_lab.run import engine  # noqa: F401
            self._pending.append((index, kernels.submit(self._run, index, found)))
            if not warm:
                self._records.append(self.recorder.submit(_warm_up, found.root))
                warm = True

    def _wait(self) -> None:
        while self._pending:
            self._records.append(self._pending[0][1].result())
            self._pending.pop(0)
        while self._records:
            self._records[0].result()
            self._records.pop(0)

    def _run(self, index: int, ready: Ready) -> Future[None]:
        """Run one notebook, close its folder and hand it to the recorder."""
        began = time.monotonic()
        outcome = self._executed(index, ready)
        outcome = dataclasses.replace(outcome, seconds=round(time.monotonic() - began, 3))
        return self.recorder.submit(self._record, index, outcome)

    def _executed(self, index: int, ready: Ready) -> Outcome:
        if self.stop.asked:
            return _not_started(ready.experiment)
        self.tell("started", index, ready.experiment)
        folder = None
        try:
            now = prepared_now(ready)
            if isinstance(now, Outcome):
                return now
            ready = now
            folder = new_folder(ready.reports, ready.experiment)
            write_opening(folder, ready.file, ready.provenance, started_by="runner")
            error = self._notebook(index, ready, folder)
            changed = note_changes(ready, folder)
            if changed:
                text = f"{ready.experiment}: changed while it ran: {', '.join(changed)}"
                self.tell("note", index, ready.experiment, text=f"{text}; run it again")
            return _closed(folder, ready, error)
        except Exception as error:
            return _broken(folder, ready, error)

    def _notebook(self, index: int, ready: Ready, folder: Path) -> Exception | None:
        """Execute; the error that ended it, or None where its results are there."""
        job = Job(
            output=folder / "notebook.ipynb",
            cwd=ready.root,
            sockets=self.sockets,
            timeout=self.timeout,
            redactor=ready.redactor,
            stop=self.stop,
            on_cell=lambda cell, cells: self.tell(
                "cell", index, ready.experiment, cell=cell, cells=cells
            ),
        )
        parameters = {**ready.parameters, "run_dir": within(folder, ready.root)}
        try:
            execute(ready.notebook, parameters, job)
        except Exception as error:
            return error
        if not _has_results(folder):
            return RunError(
                "the notebook finished without results: its last cell must call rl.finish(...)"
            )
        return None

    def _record(self, index: int, outcome: Outcome) -> None:
        """Record in MLflow what has a folder; the outcome is final afterwards."""
        from retention_lab.run.record import record

        if outcome.folder is not None and (outcome.folder / "run.json").is_file():
            try:
                record(outcome.folder)
                outcome = dataclasses.replace(outcome, recorded=True)
            except Exception as error:
                lines = [outcome.message, f"{outcome.status}, not recorded: {error}"]
                lines.append(f"`retention-lab record {outcome.folder}` finishes it")
                message = "\n".join(line for line in lines if line)
                outcome = dataclasses.replace(outcome, recorded=False, message=message)
        self._end(index, outcome)

    def _end(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        self.tell("finished", index, outcome.experiment, outcome=outcome)

    def index(self, folders: Iterable[Path]) -> None:
        """Write the list of all runs beside the new ones."""
        if all(o.status == "skipped_unchanged" for o in self.outcomes.values()):
            return
        for reports in sorted(folder for folder in folders if folder.is_dir()):
            from retention_lab.run.index import write_index

            try:
                write_index(reports)
            except (LabError, OSError) as error:
                self.tell("note", 0, "", text=f"the list of reports is not up to date: {error}")


def _warm_up(root: Path) -> None:
    """Import mlflow and make the store while kernels run; `record` reports what is wrong."""
    import os

    from retention_lab.run.record import open_store

    with contextlib.suppress(Exception):
        open_store(os.environ.get("MLFLOW_TRACKING_URI") or None, root)
    # A record makes many short-lived objects; each collection would look through all of mlflow's
    # modules again, which costs a third of the record's time.
    gc.freeze()


def _closed(folder: Path, ready: Ready, error: Exception | None) -> Outcome:
    """Close the run folder without a secret in it; how it ended."""
    try:
        faults = ready.redactor.folder(folder).faults
    except RunError as second:
        faults = [str(second)]
        error = error or second
    if error is None and not _has_results(folder):
        error = RunError("the results are lost:\n" + "\n".join(faults))
    said, message = _said(ready, error)
    status: Any = "finished"
    if error is not None:
        status = "interrupted" if isinstance(error, InterruptedRunError) else "failed"
    if faults:
        update_run(folder, faults=[*read_run(folder).get("faults", ()), *faults])
    run = close_run(folder, status, said)
    verdict = (run["verdict"] or {}) if error is None else {}
    return Outcome(
        experiment=ready.experiment,
        status=status,
        verdict=verdict.get("verdict"),
        arm=verdict.get("arm"),
        reason=verdict.get("reason"),
        offer=bool(verdict.get("offer")),
        folder=folder,
        message=message,
        faults=tuple(run.get("faults", ())) if error is None else (),
    )


def _said(ready: Ready, error: Exception | None) -> tuple[dict[str, Any] | None, str]:
    """`error` as run.json and as the user's message have it, without secrets."""
    if error is None:
        return None, ""
    said = describe_error(error)
    if isinstance(error, NotebookError):
        said.update(type=error.kind, traceback=error.trace)
    said = {k: ready.redactor.text(v) for k, v in said.items()}
    return said, headline(error, said)


def _broken(folder: Path | None, ready: Ready, error: Exception) -> Outcome:
    """Close the run folder, as far as there is one, after a fault outside of the notebook."""
    said, message = _said(ready, error)
    if folder is not None:
        with contextlib.suppress(Exception):
            ready.redactor.folder(folder)
        with contextlib.suppress(Exception):
            close_run(folder, "failed", said)
    return Outcome(experiment=ready.experiment, status="failed", folder=folder, message=message)


def _has_results(folder: Path) -> bool:
    return all((folder / name).is_file() for name in RESULTS)


def _not_started(experiment: str) -> Outcome:
    return Outcome(experiment=experiment, status="interrupted", message="it was not started")


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM, and the end of the terminal, end a batch as Ctrl-C does.

    Signals can be heard in the main thread only; one that is ignored (nohup) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    heard = [n for n in numbers if signal.getsignal(n) != signal.SIG_IGN]
    before = {n: signal.signal(n, interrupt) for n in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
