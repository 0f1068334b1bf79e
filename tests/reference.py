"""Names of reference cases in; their inputs, data and numbers out.

`case` reads the numbers of R's survival in ../shared/golden; a test that asks for one is skipped
where they are not at hand. `made_by_r` reads those in tests/golden, which are always there.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "golden"


@cache
def _cases() -> dict[str, Any]:
    path = SHARED / "survival.json"
    if not path.is_file():
        return {}
    return {c["id"]: c for c in json.loads(path.read_text())["cases"]}


def case(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
    """The inputs, the expected numbers and the columns of the data of one case."""
    if name not in _cases():
        pytest.skip(f"no case {name!r} in {SHARED}")
    found = _cases()[name]
    return found["inputs"], found["expected"], columns(SHARED / found["csv"])


def columns(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file; empty fields of number columns are nan."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: _numbers([r[name] for r in rows]) for name in rows[0]}


def _numbers(texts: list[str]) -> np.ndarray:
    try:
        return np.array([np.nan if t in ("", "NA") else float(t) for t in texts])
    except ValueError:
        return np.array(texts, object)


def made_by_r() -> dict[str, Any]:
    """Numbers of R's survival and cmprsk for ninety units; null is nan."""
    return _arrays(json.loads((HERE / "golden" / "survival_r.json").read_text()))


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _arrays(v) for k, v in value.items()}
    if isinstance(value, list) and not any(isinstance(v, (dict, list)) for v in value):
        if any(isinstance(v, str) for v in value):
            return np.array(value, object)
        return np.array([np.nan if v is None else v for v in value], float)
    return [_arrays(v) for v in value] if isinstance(value, list) else value


def counts_of(*arrays: Any, n: Any = None) -> tuple[np.ndarray, ...]:
    """Unique rows of the arrays, in no particular order, and last how often each occurs."""
    found: Counter[Any] = Counter()
    weights = np.ones(len(arrays[0]), int) if n is None else np.asarray(n, int)
    for row, weight in zip(zip(*arrays, strict=True), weights, strict=True):
        found[row] += int(weight)
    order = np.random.default_rng(7).permutation(len(found))
    rows = list(found.items())
    split = [
        np.array([rows[i][0][k] for i in order], np.asarray(a).dtype) for k, a in enumerate(arrays)
    ]
    return (*split, np.array([rows[i][1] for i in order]))
