"""Stopping: asked for from outside, heard inside a loop; signals; what a kernel is given."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from retention_lab.run.engine import end_group
from retention_lab.run.execute import _termination_interrupts
from retention_lab.run.kernel import Stop, kernel_environment


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
