"""What the tests of data share: a computer without any dataset."""

from __future__ import annotations

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder for data, an empty cache, no network."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("RETENTION_LAB_DATA", str(folder))
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RETENTION_LAB_OFFLINE", "1")
    return tmp_path
