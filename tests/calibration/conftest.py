"""Records of the calibrations in; the file that CALIBRATION_TABLE names out, as the tests end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from table import PENDING, page

KEY = "calibration"
_found: dict[tuple[str, int, str], list[dict[str, Any]]] = {}


@pytest.fixture(autouse=True)
def _recorded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Records go with the test's report: so they reach the session from every worker."""
    PENDING.clear()
    yield
    request.node.user_properties.append((KEY, list(PENDING)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        file, line, _ = report.location
        for key, records in report.user_properties:
            if key == KEY:
                _found[file, line or 0, report.nodeid] = records  # type: ignore[assignment]


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get("CALIBRATION_TABLE")
    if path and not hasattr(session.config, "workerinput"):
        records = [r for at in sorted(_found) for r in _found[at]]
        Path(path).write_text(page(records), encoding="utf-8")
