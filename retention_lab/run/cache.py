"""A run's key in; the earlier run folder that already holds its results, or None, out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retention_lab.errors import RunError
from retention_lab.run.folder import list_runs, read_run


def find_unchanged(reports: Path, experiment: str, key: str | None) -> Path | None:
    """The latest run of `experiment` that finished under `key` and still holds its results.

    `key` is `provenance.key_of` the hashes of spec, notebook, data, lock and code; None means
    that the data's state cannot be known, and nothing fits. Only runs of the runner count: in a
    notebook run by hand, cells may have been changed that the key does not see.
    """
    if key is None:
        return None
    for folder in list_runs(reports, experiment):
        try:
            run = read_run(folder)
        except RunError:
            continue
        if run.get("key") == key and holds_results(folder, run):
            return folder
    return None


def holds_results(folder: Path, run: dict[str, Any]) -> bool:
    """Whether the runner finished this run and every file it left is still there."""
    if run.get("status") != "finished" or run.get("started_by") != "runner":
        return False
    files = run.get("files") or []
    return "verdict.json" in files and all((folder / name).is_file() for name in files)
