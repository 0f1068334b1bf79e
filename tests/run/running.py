"""Experiment files in; how their runs end, what is told of them, and their notebooks, out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import psutil

from retention_lab.run.execute import Event, Outcome, run_experiments


def run(files: Sequence[Path], **options: object) -> tuple[list[Outcome], list[Event]]:
    events: list[Event] = []
    before = set(psutil.Process().children(recursive=True))  # another test's browser, say
    outcomes = run_experiments(files, on_event=events.append, **options)  # type: ignore[arg-type]
    assert not set(psutil.Process().children(recursive=True)) - before
    return outcomes, events


def notebook(outcome: Outcome) -> dict:  # type: ignore[type-arg]
    assert outcome.folder is not None
    content: dict = json.loads((outcome.folder / "notebook.ipynb").read_text())  # type: ignore[type-arg]
    return content
