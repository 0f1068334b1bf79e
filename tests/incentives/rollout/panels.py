"""Panels for the tests of a rollout: with reference numbers, and simulated ones."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent.parent.parent / "golden"


@cache
def reference() -> dict[str, Any]:
    """The panel of tests/golden/rollout.json, and what csdid and synthdid-py make of it."""
    found = json.loads((GOLDEN / "rollout.json").read_text())
    start = np.array(found["start"], float)
    found["adopted"] = np.where(start == 0, np.inf, start - 1)
    for name in ("y", "x", "w"):
        found[name] = np.array(found[name])
    return found


def panel(seed=1, treated=12, never=10, periods=8, starts=(3, 5), effect=1.0):
    """Outcomes (markets, periods) with shocks that last, and starts."""
    rng = np.random.default_rng(seed)
    size = treated + never
    adopted = np.full(size, np.inf)
    adopted[:treated] = np.resize(starts, treated)
    y = rng.normal(size=(size, 1)) + rng.normal(size=(size, periods)).cumsum(axis=1) * 0.3
    return y + effect * (np.arange(periods) >= adopted[:, None]), adopted
