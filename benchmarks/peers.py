"""A name and packages in; the Python of an environment that holds them, out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retention_lab.paths import cache_folder


def environment(name: str, packages: Sequence[str]) -> Path | None:
    """Made once in the cache folder by uv; None where it cannot be had.

    Peers need Python 3.12: PEER_PYTHON names an interpreter, where that is not found.
    """
    home = cache_folder() / "bench" / f"peer-{name}"
    python = home / "bin" / "python"
    if python.exists():
        return python
    uv = Path(sys.executable).with_name("uv")
    tool = str(uv) if uv.exists() else shutil.which("uv")
    if tool is None:
        return None
    wanted = os.environ.get("PEER_PYTHON", "3.12")
    quiet: dict[str, Any] = {"capture_output": True, "env": {**os.environ}}
    if subprocess.run([tool, "venv", "-q", "--python", wanted, str(home)], **quiet).returncode:
        return None
    words = [tool, "pip", "install", "-q", "--python", str(python), *packages]
    if subprocess.run(words, **quiet).returncode:
        shutil.rmtree(home, ignore_errors=True)
        return None
    return python
