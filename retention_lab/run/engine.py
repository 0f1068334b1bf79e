"""A notebook's cells and a `Job` in; the cells run in a kernel of their own, with outputs, out.

Papermill's engine of the lab, registered by name. Importing this module imports papermill and
nbformat, which takes seconds: `kernel.execute` does so when there is a notebook to run.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill import engines
from papermill.clientwrap import PapermillNotebookClient

from retention_lab.run.folder import write_atomically
from retention_lab.run.kernel import (
    COLOURS,
    DeadlineError,
    InterruptedRunError,
    Job,
    KernelDiedError,
    NotebookError,
    how_it_ended,
    kernel_environment,
)

NAME = "retention-lab"
GRACE = 3.0  # seconds that a kernel has to answer an interrupt before it is killed
START = 60  # seconds that a kernel has to start
SAVE_EVERY = 2.0  # seconds between two saves of a running notebook
WATCH = 0.1  # seconds between two looks at the kernel's process
# How a kernel starts. It has the runner's own package, also where the project holds another copy of
# it: hashes and reports tell of the runner's. ipykernel takes over stderr, but a crash must still
# say where it was; and it loads a debugger, half a second of work that nobody can use here.
LAUNCH = (
    "import faulthandler, os, runpy, sys; "
    f"sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r}); "
    "import retention_lab; "
    "del sys.path[0]; "
    "faulthandler.enable(os.dup(2), all_threads=False); "
    "sys.modules['debugpy'] = None; "
    "runpy.run_module('ipykernel_launcher', run_name='__main__', alter_sys=True)"
)
LAST_WORDS = 4000  # characters of what a dead kernel wrote to its stderr


class Book(engines.NotebookExecutionManager):
    """Papermill's book-keeping of one notebook; saved whole, redacted, and not too often."""

    def __init__(self, nb: Any, job: Job) -> None:
        super().__init__(nb, output_path=None, progress_bar=False)
        self.job = job
        self.saved = 0.0

    def save(self, *, final: bool = False, **_: Any) -> None:
        if final or time.monotonic() - self.saved >= SAVE_EVERY:
            text = self.job.redactor.text(nbformat.writes(self.nb))
            write_atomically(self.job.output, text)
            self.saved = time.monotonic()

    def autosave_cell(self, **_: Any) -> None:
        self.save()

    def notebook_complete(self, **kwargs: Any) -> None:
        super().notebook_complete(**kwargs)
        self.save(final=True)


def end_group(group: int | None) -> None:
    """Kill what a kernel leaves running: it leads a process group (and session) of its own."""
    if group is None or group == os.getpgrp():
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


class Client(PapermillNotebookClient):
    """Runs the cells of one notebook in one kernel, never longer than it may."""

    def __init__(self, book: Book, **options: Any) -> None:
        super().__init__(book, **options)
        self.book = book
        self.job = book.job
        self.cell: Any = None
        self.kernel: Any = None
        self.ip = self.job.sockets / f"k{id(self):x}"
        self.words = self.ip.with_suffix(".log")

    async def run(self) -> None:
        """Run all cells; raises NotebookError where they were ended from outside."""
        launch = [sys.executable, "-c", LAUNCH, "-f", "{connection_file}"]
        self.km = self.kernel = AsyncKernelManager(
            transport="ipc", ip=str(self.ip), connection_file=str(self.ip.with_suffix(".json"))
        )
        self.kernel._kernel_spec = KernelSpec(argv=launch, display_name="Python", language="python")
        with self.job.stop.wakes(asyncio.get_running_loop()) as stopped:
            work = asyncio.ensure_future(self._work())
            died = asyncio.ensure_future(self._death())
            stop = asyncio.ensure_future(stopped.wait())
            tasks = (work, died, stop)
            try:
                left = max(0.0, self.job.left)
                await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if work.done() and not isinstance(work.exception(), DeadKernelError):
                    work.result()
                elif work.done() or died.done():
                    raise self._died()
                else:
                    await self._interrupt(work)
                    raise self._ended()
            finally:
                graceful = work.done()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._close(graceful)

    async def _work(self) -> None:
        with self.words.open("wb") as words:
            await self.kernel.start_kernel(
                extra_arguments=["--HistoryManager.hist_file=:memory:"],
                cwd=str(self.job.cwd),
                env=kernel_environment(),
                stdout=words,
                stderr=words,
            )
        self.startup_timeout = START
        client = await self.async_start_new_kernel_client()
        cells = self.nb.cells
        for index, cell in enumerate(cells):
            self.book.cell_start(cell, index)
            self.cell = cell
            try:
                await self.async_execute_cell(cell, index)
            except CellExecutionError as error:
                self.book.cell_exception(cell, cell_index=index, exception=error)
                break
            finally:
                self.book.cell_complete(cell, cell_index=index)
            self.job.on_cell(index + 1, len(cells))
        info = await self.async_wait_for_reply(client.kernel_info())
        self.nb.metadata["language_info"] = (info or {})["content"]["language_info"]
        self.set_widgets_metadata()

    async def _death(self) -> None:
        """Return when the kernel's process has ended."""
        while not self.kernel.has_kernel:
            await asyncio.sleep(WATCH)
        while await self.kernel.is_alive():
            await asyncio.sleep(WATCH)

    async def _interrupt(self, work: asyncio.Future[None]) -> None:
        """Ask the kernel to leave its cell, so that the traceback says where it was.

        More than once: a kernel that has not begun the cell yet ignores the first time.
        """
        until = time.monotonic() + GRACE
        while self.kernel.has_kernel and not self.job.stop.forced and time.monotonic() < until:
            await self.kernel.interrupt_kernel()
            await asyncio.wait({work}, timeout=GRACE / 3)
            if work.done():
                return

    async def _close(self, graceful: bool) -> None:
        group = getattr(self.kernel.provisioner, "pgid", None)
        try:
            if await self.kernel.is_alive():
                await self.kernel.shutdown_kernel(now=not graceful)
            else:
                await self.kernel.cleanup_resources()
        finally:
            end_group(group)
        if self.kc is not None:
            self.kc.stop_channels()

    def _died(self) -> KernelDiedError:
        code = self.kernel.provisioner.process.poll() if self.kernel.has_kernel else None
        words = self.words.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:].strip()
        return KernelDiedError(
            "KernelDied", f"the kernel died{self._at()}: {how_it_ended(code)}", words
        )

    def _ended(self) -> NotebookError:
        if self.job.stop.asked:
            return InterruptedRunError("Interrupted", f"interrupted{self._at()}", self._trace())
        message = f"deadline of {self.job.timeout:g} s passed{self._at()}"
        return DeadlineError("Deadline", message, self._trace())

    def _at(self) -> str:
        """Which cell was running, in words."""
        return "" if self.cell is None else f" in cell {self.nb.cells.index(self.cell) + 1}"

    def _trace(self) -> str:
        """The traceback with which the running cell answered the interrupt, if it did."""
        outputs = [] if self.cell is None else self.cell.get("outputs", [])
        lines = [line for o in outputs if o.output_type == "error" for line in o.traceback]
        return COLOURS.sub("", "\n".join(lines))

    def note(self, error: NotebookError) -> None:
        """Say in the cell that was running why it ended."""
        if self.cell is None or self.cell.cell_type != "code":
            return
        self.cell.metadata.papermill.update(exception=True, status=Book.FAILED)
        lines = [f"{error.kind}: {error}"]
        if isinstance(error, KernelDiedError):
            lines += error.trace.splitlines()
        said = nbformat.v4.new_output("error", ename=error.kind, evalue=str(error), traceback=lines)
        self.cell.outputs.append(said)


class Engine(engines.Engine):
    """Papermill's way in."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: Any, *_: Any, **options: Any) -> Any:
        """Run `nb` as the option `job` says; papermill's own options do not apply."""
        job: Job = options["job"]
        book = Book(nb, job)
        book.notebook_start()
        client = Client(book, timeout=None)
        try:
            asyncio.run(client.run())
        except NotebookError as error:
            error.trace = job.redactor.text(error.trace)
            client.note(error)
            raise
        finally:
            book.notebook_complete()
        return nb


engines.papermill_engines.register(NAME, Engine)
