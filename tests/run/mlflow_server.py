"""A store and a port in; a real MLflow server that answers over HTTP, a process of its own, out."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def settings(**more: str) -> dict[str, str]:
    """The environment of a process that knows no MLflow but the one in `more`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    return {**kept, "RETENTION_LAB_OFFLINE": "1", **more}


def wait_for(ready: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.1)


@contextmanager
def mlflow_server(store: Path, artifacts: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server on `port` that answers; SQLite is its store, `artifacts` the folder of its files."""
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{store}"]
    words += ["--artifacts-destination", str(artifacts)]
    with (store.parent / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=settings(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(port) or server.poll() is not None)
        assert server.poll() is None, "the server ended; server.log says why"
        yield server
    finally:
        kill(server)


def kill(server: subprocess.Popen[bytes]) -> None:
    """End the server and its worker at once, as a crash does."""
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    server.wait(30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
