"""Seeds in; units about a limit at 0, and the numbers of other programs for them, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import columns

GOLDEN = Path(__file__).parents[2] / "golden" / "threshold.json"
SHARED = Path(__file__).parents[4] / "shared" / "golden"
CASES = ("continuous", "cents", "dollars", "fours", "few")


def golden() -> dict[str, Any]:
    """Numbers of rdrobust and rddensity for made units."""
    return json.loads(GOLDEN.read_text())


def made(seed: int, n: int, digits: int | None, law: str) -> tuple[np.ndarray, np.ndarray]:
    """Running variable and outcome (n each), with a jump of 1.5 at 0."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 20, n) if law == "normal" else rng.gamma(3, 18, n) - 49
    if digits is not None:
        x = np.round(x, digits)
    if law == "fours":
        x = np.round(x / 4) * 4
    y = 2 + 0.03 * x - 0.0005 * x**2 + 1.5 * (x >= 0)
    return x, y + rng.normal(size=n) * (1 + 0.01 * np.abs(x))


def case(name: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The units and the numbers of one made case; they must be the same units."""
    said = golden()[name]
    x, y = made(said["seed"], said["n"], said["digits"], said["law"])
    np.testing.assert_allclose([x[0], y[0]], said["first"], rtol=1e-12)
    return x, y, said


def senate() -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Margins and votes of the US Senate and rdrobust's numbers; skipped where not at hand."""
    path = SHARED / "data" / "rdrobust_RDsenate.csv"
    if not path.is_file():
        pytest.skip(f"no {path.name}: it comes with rdrobust, as RDsenate; put it in shared/golden")
    found = columns(path)
    said = json.loads((SHARED / "incentives.json").read_text())["rdrobust_senate"]
    return found["margin"], found["vote"], said
