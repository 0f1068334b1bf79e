"""The page of the calibrations: what a record says of itself."""

from __future__ import annotations

import pytest
from table import HEAD, PENDING, page, record


def test_a_share_has_the_error_of_its_nominal_value():
    assert record("t", "s", "size", 0.05, 0.04, 1900) == pytest.approx(0.005)
    assert record("t", "s", "size", "at most 0.05", 0.1, 1900) == pytest.approx(0.005)
    assert record("t", "s", "width", None, 7.5, 900, 0.25) == 0.25
    records = list(PENDING)
    PENDING.clear()
    assert page(records) == (
        f"{HEAD}"
        "| t | s | size | 0.05 | 0.0400 | 0.0050 | 1,900 |\n"
        "| t | s | size | at most 0.05 | 0.1000 | 0.0050 | 1,900 |\n"
        "| t | s | width | – | 7.5000 | 0.2500 | 900 |\n"
    )
