"""A place in the file system in; the project's folders out."""

from __future__ import annotations

import os
from pathlib import Path


def project_root(start: str | Path) -> Path:
    """The nearest folder at or above `start` that holds ``notebooks/``; else `start`'s folder."""
    here = Path(start).resolve()
    folder = here if here.is_dir() else here.parent
    for candidate in (folder, *folder.parents):
        if (candidate / "notebooks").is_dir():
            return candidate
    return folder


def cache_folder() -> Path:
    """Where made and fetched data is kept: RETENTION_LAB_CACHE, or the user's cache folder."""
    named = os.environ.get("RETENTION_LAB_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "retention-lab"
