"""Experiment files in; what was checked, printed, and whether all are sound, out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retention_lab import terminal
from retention_lab.errors import LabError
from retention_lab.experiment.find import find_files
from retention_lab.experiment.plan import make_plan
from retention_lab.experiment.remarks import REMARKS
from retention_lab.run.parameters import check_notebook


def validate_files(files: Sequence[str], root: Path) -> bool:
    """Check each of `files` (paths, globs or names) against the schema and against its tables."""
    all_sound = True
    for path in find_files(files, root):
        try:
            plan = make_plan(path)
            check_notebook(plan.spec, plan.root)
        except LabError as error:
            terminal.fail(f"{terminal.shown(path)}: not valid\n{error}")
            all_sound = False
            continue
        sound = all(check.ok for check in plan.checks)
        all_sound = all_sound and sound
        terminal.say(f"{terminal.shown(path)}: {'valid' if sound else 'runs, with faults'}")
        for check in plan.checks:
            terminal.check(check.ok, check.text, remark=check.code in REMARKS)
    return all_sound
