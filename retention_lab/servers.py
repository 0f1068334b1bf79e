"""The project's folder in; this process turned into MLflow's server or JupyterLab out.

Both listen on 127.0.0.1 alone. The process is replaced, so that Ctrl-C reaches the server.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
from pathlib import Path
from typing import NoReturn

from retention_lab.errors import RunError
from retention_lab.run.redact import address

HOST = "127.0.0.1"


def mlflow_server(root: Path, port: int) -> NoReturn:
    """Become an MLflow server over the records of the project in `root`.

    One worker and no job runner: it starts in a third of the time and a quarter of the memory.
    Raises RunError where the records are on a server already, or the port is taken.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    if uri.startswith(("http://", "https://")):
        where = address(uri)
        raise RunError(f"the records are at {where} (MLFLOW_TRACKING_URI); open that in a browser")
    _free(port)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri  # not an argument: everyone can read those
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    _become(
        "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
        "--default-artifact-root", (root / "mlruns").as_uri(),
    )  # fmt: skip


def pages_of_runs(root: Path, port: int) -> list[tuple[str, str]]:
    """Experiment and address of its list of runs, which MLflow's own start page does not show.

    Read from ``mlflow.db`` itself: MLflow takes seconds to import. Empty where the records are
    elsewhere, or there are none yet.
    """
    path = root / "mlflow.db"
    if os.environ.get("MLFLOW_TRACKING_URI") or not path.is_file():
        return []
    active = "from experiments where lifecycle_stage = 'active' and experiment_id > 0"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute(f"select name, experiment_id {active} order by name").fetchall()
    except sqlite3.Error:
        return []
    return [(name, f"http://{HOST}:{port}/#/experiments/{number}/runs") for name, number in found]


def jupyter_lab(root: Path, port: int) -> NoReturn:
    """Become a JupyterLab whose files are the project's."""
    _become(
        "jupyter", "lab", f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={root}",
    )  # fmt: skip


def _become(module: str, *arguments: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


def _free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise RunError(f"port {port} is taken; choose another with --port") from None
