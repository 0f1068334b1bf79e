"""A table in; its rows as dictionaries out, whether it is kept as CSV or as Parquet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


def records(path: Path) -> list[dict[str, Any]]:
    """The rows of a file as `locate` gives it: named CSV files are kept as Parquet."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
