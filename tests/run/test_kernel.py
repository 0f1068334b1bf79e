"""Kernels: what they are given, how they end, that nothing outlives them; stopping from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import project
import psutil
import pytest
from running import notebook, run

import retention_lab
from retention_lab.run.engine import end_group
from retention_lab.run.execute import _termination_interrupts
from retention_lab.run.folder import read_run
from retention_lab.run.kernel import LONGEST, Stop, how_it_ended, kernel_environment, socket_folder


def heard(stop: Stop) -> bool:
    """Whether a loop hears of `stop` within a second."""

    async def listen() -> bool:
        with stop.wakes(asyncio.get_running_loop()) as event:
            try:
                await asyncio.wait_for(event.wait(), 1)
            except TimeoutError:
                return False
            return True

    # In a thread, as the runner does: the tests' browser keeps a loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, listen()).result()


def test_who_asks_from_another_thread_is_heard_at_once() -> None:
    stop = Stop()
    threading.Timer(0.1, stop.ask).start()
    began = time.monotonic()
    assert heard(stop)
    assert time.monotonic() - began < 0.9


def test_who_asked_before_is_heard_and_silence_is_not() -> None:
    stop = Stop()
    assert not heard(stop)
    stop.ask()
    assert heard(stop)
    assert (stop.asked, stop.forced) == (True, False)
    stop.ask(force=True)
    assert stop.forced


def test_a_loop_that_is_gone_is_no_obstacle() -> None:
    stop, loop = Stop(), asyncio.new_event_loop()
    with stop.wakes(loop):
        loop.close()
        stop.ask()
    assert stop.asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_is_heard_as_ctrl_c_and_only_within(number: signal.Signals) -> None:
    found = signal.signal(number, signal.SIG_DFL)  # whatever the tests' own caller ignores
    try:
        with pytest.raises(KeyboardInterrupt), _termination_interrupts():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, found)


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As `nohup` asks for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _termination_interrupts():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_group_and_the_own_group_are_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    for group in (None, os.getpgrp(), 4711):
        end_group(group)
    assert killed == [4711]


def test_signals_are_left_alone_in_other_threads() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with _termination_interrupts():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_kernel_knows_nothing_of_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pw@host")
    monkeypatch.setenv("SHOP", "x")
    given = kernel_environment()
    assert given["SHOP"] == "x"
    assert not [name for name in given if name.startswith("MLFLOW")]


def test_a_kernel_that_is_killed_is_missed_at_once(tmp_path: Path, recorded: list[Path]) -> None:
    kill = "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)"
    began = time.monotonic()
    (outcome,), _ = run(project.make(tmp_path, "one", cells=[kill]))
    assert "killed by SIGKILL (often: out of memory)" in outcome.message
    assert time.monotonic() - began < 30
    assert len(recorded) == 1


def test_a_dead_kernels_last_words_are_kept(tmp_path: Path, recorded: list[Path]) -> None:
    crash = "import faulthandler\nfaulthandler._sigsegv()"
    (outcome,), _ = run(project.make(tmp_path, "one", cells=[crash]))
    assert outcome.folder is not None
    assert "killed by SIGSEGV" in outcome.message
    assert "Segmentation fault" in read_run(outcome.folder)["error"]["traceback"]
    assert len(recorded) == 1


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_notebook_ends_at_its_deadline(
    tmp_path: Path, recorded: list[Path], stubborn: bool
) -> None:
    hang = "import time\ntime.sleep(100)"
    if stubborn:
        hang = (
            "import time, subprocess\nsubprocess.Popen(['sleep', '100'])\nwhile True:\n"
            "    try:\n        time.sleep(100)\n    except KeyboardInterrupt:\n        pass"
        )
    files = project.make(tmp_path, "one", cells=["print('so far')", hang, "print('never')"])
    began = time.monotonic()
    (outcome,), _ = run(files, timeout=6)
    assert time.monotonic() - began < 30
    assert outcome.status == "failed"
    assert outcome.message == "deadline of 6 s passed in cell 4"
    assert outcome.folder is not None
    told = read_run(outcome.folder)
    assert (told["status"], told["error"]["type"]) == ("failed", "Deadline")
    assert ("KeyboardInterrupt" in told["error"]["traceback"]) is not stubborn
    done, hung, never = notebook(outcome)["cells"][2:]
    assert done["outputs"][0]["text"] == ["so far\n"]
    assert hung["metadata"]["papermill"]["status"] == "failed"
    assert hung["outputs"][-1]["evalue"] == "deadline of 6 s passed in cell 4"
    assert never["outputs"] == []
    assert len(recorded) == 1


def test_the_kernel_has_the_runners_package_and_the_projects_modules(
    tmp_path: Path, recorded: list[Path]
) -> None:
    cells = ["import retention_lab, helpers\nprint(retention_lab.__file__)", project.FINISH]
    files = project.make(tmp_path, "one", cells=cells)
    (tmp_path / "helpers.py").write_text("")
    (tmp_path / "retention_lab").mkdir()
    (tmp_path / "retention_lab" / "__init__.py").write_text("raise RuntimeError('another copy')")
    (outcome,), _ = run(files)
    assert outcome.status == "finished", outcome.message
    assert notebook(outcome)["cells"][2]["outputs"][0]["text"] == [f"{retention_lab.__file__}\n"]


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "1 / 0", ""])
def test_what_a_kernel_started_ends_with_it(tmp_path: Path, recorded: list[Path], end: str) -> None:
    start = (
        "import os, pathlib, signal, subprocess\n"
        "def deaf():\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "made = [subprocess.Popen(['sleep', '300'], preexec_fn=f) for f in (None, deaf)]\n"
        "pathlib.Path('pids').write_text(' '.join(str(m.pid) for m in made))\n"
    )
    run(project.make(tmp_path, "one", cells=[project.FINISH, start + end]))
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    until = time.monotonic() + 10
    while any(map(lives, pids)):
        assert time.monotonic() < until
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_sockets_have_a_short_private_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with socket_folder() as folder:
        assert len(str(folder)) <= LONGEST
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "is gone"), (3, "exit status 3"), (-9, "SIGKILL"), (-77, "signal 77")],
)
def test_an_exit_status_is_put_into_words(code: int | None, words: str) -> None:
    assert words in how_it_ended(code)
