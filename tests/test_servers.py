"""A command that starts a server in; what this process would become out."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest
from asking import Ask

from retention_lab import servers


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that this process would have become."""
    command: list[str] = []

    def execv(program: str, words: list[str]) -> None:
        command[:] = words
        raise SystemExit(0)

    monkeypatch.setattr(servers.os, "execv", execv)
    return command


def test_ui_is_a_light_server_for_this_machine_alone(
    ask: Ask, became: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    assert ask("ui", "--port", "5999").status == 0
    said = " ".join(became)
    assert "-m mlflow server --host 127.0.0.1 --port 5999 --workers 1" in said
    assert servers.os.environ["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{project / 'mlflow.db'}"
    assert servers.os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_ui_prints_the_address_of_every_experiments_runs(
    ask: Ask, became: list[str], project: Path
) -> None:
    answer = ask("ui", "--port", "5999")  # no record yet
    assert "Application startup complete" in answer.err
    assert "/runs" not in answer.err
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as store:
        store.execute("create table experiments (experiment_id, name, lifecycle_stage)")
        store.execute("insert into experiments values (0, 'Default', 'active')")
        store.execute("insert into experiments values (7, 'shop', 'active')")
        store.execute("insert into experiments values (8, 'old', 'deleted')")
        store.commit()
    answer = ask("ui", "--port", "5999")
    assert "http://127.0.0.1:5999/#/experiments/7/runs  shop" in answer.err
    assert answer.err.count("/runs") == 1


def test_ui_hands_the_stores_password_on_where_nobody_reads_it(
    ask: Ask, became: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "postgresql://ada:secret@db.example.com/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert ask("ui", "--port", "5999").status == 0
    assert "secret" not in " ".join(became)
    assert servers.os.environ["MLFLOW_BACKEND_STORE_URI"] == store


def test_ui_says_where_the_records_are_if_they_are_elsewhere(
    ask: Ask, became: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.com")
    answer = ask("ui")
    assert answer.status == 1
    assert "mlflow.example.com" in answer.err
    assert "secret" not in answer.err
    assert became == []


def test_lab_is_for_this_machine_alone(
    ask: Ask, became: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ask("lab").status == 0
    assert "-m jupyter lab --ServerApp.ip=127.0.0.1" in " ".join(became)
    assert f"--ServerApp.root_dir={project}" in became


def test_lab_is_not_started_for_root(
    ask: Ask, became: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    answer = ask("lab")
    assert answer.status == 1
    assert "JupyterLab is not started for root" in answer.err
    assert "--allow-root" in answer.err
    assert became == []
