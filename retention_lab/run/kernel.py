"""A notebook and its parameters in; the executed notebook in a file, or one clear error, out.

Papermill injects the parameters and keeps the notebook's book; the engine registered here runs
the cells. It differs from papermill's own in what a batch needs: the kernel talks over IPC
sockets in a private folder, has its working directory without changing this process's, is this
very Python, has one deadline for the whole notebook, is missed at once when it dies, and goes
when the runner is told to stop. Secrets are replaced before anything is saved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention_lab.errors import RunError
from retention_lab.run.redact import Redactor

if TYPE_CHECKING:
    import asyncio

LONGEST = 80  # characters of a folder in which sockets fit (the limit of their path is 104)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class NotebookError(RunError):
    """A notebook that did not run to its end; `kind` and `trace` say how and where."""

    def __init__(self, kind: str, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class DeadlineError(NotebookError):
    """The notebook was still running at its deadline."""


class KernelDiedError(NotebookError):
    """The kernel's process ended while the notebook was running."""


class InterruptedRunError(NotebookError):
    """The runner was told to stop while the notebook was running."""


class Stop:
    """Tells running notebooks to stop: `ask` interrupts them, `force` kills their kernels."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []
        self.asked = False
        self.forced = False

    def ask(self, *, force: bool = False) -> None:
        with self._lock:
            self.asked = True
            self.forced = self.forced or force
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    @contextlib.contextmanager
    def wakes(self, loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.Event]:
        """An event of `loop` that is set as soon as anyone asks."""
        import asyncio

        event = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing to wake
                loop.call_soon_threadsafe(event.set)

        with self._lock:
            self._wakers.append(wake)
            if self.asked:
                event.set()
        try:
            yield event
        finally:
            with self._lock:
                self._wakers.remove(wake)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one execution needs beside the notebook and its parameters."""

    output: Path
    cwd: Path
    sockets: Path
    timeout: float
    redactor: Redactor
    stop: Stop
    on_cell: Callable[[int, int], None]
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.timeout - (time.monotonic() - self.began)


def execute(notebook: Path, parameters: Mapping[str, Any], job: Job) -> None:
    """Run `notebook` with `parameters`; the executed notebook is at ``job.output`` in any case.

    Raises NotebookError (a cell raised), DeadlineError, KernelDiedError, InterruptedRunError.
    """
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from retention_lab.run import engine

    try:
        execute_notebook(
            str(notebook).replace("{", "{{").replace("}", "}}"),
            None,
            parameters=dict(parameters),
            engine_name=engine.NAME,
            progress_bar=False,
            job=job,
        )
    except PapermillExecutionError as error:
        lines = [COLOURS.sub("", line) for line in error.traceback]
        trace = job.redactor.text("\n".join(lines))
        message = job.redactor.text(f"cell {error.cell_index + 1}: {error.ename}: {error.evalue}")
        raise NotebookError(str(error.ename), message, trace) from None


def kernel_environment() -> dict[str, str]:
    """This process's environment without MLflow's settings, of which the kernel knows nothing."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A private folder with a short path for the kernels' sockets; gone afterwards."""
    here = tempfile.gettempdir()
    short = here if len(here) <= LONGEST else "/tmp"  # noqa: S108 (mkdtemp makes it private)
    folder = Path(tempfile.mkdtemp(prefix="rl-", dir=short))
    try:
        yield folder.resolve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def how_it_ended(code: int | None) -> str:
    """What a process's exit status says."""
    if code is None:
        return "its process is gone"
    if code >= 0:
        return f"its process ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = " (often: out of memory)" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"
