"""Simulated tables and their truth in; a folder of files out. And the seed of a simulation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def write_tables(
    folder: str | Path,
    tables: Mapping[str, pa.Table],
    scenario: Any,
    seed: int,
    truth: Mapping[str, Any],
) -> Path:
    """Write one Parquet file a table and ``truth.json`` into `folder`, and return it.

    The truth stands below the `scenario` (a dataclass) and the `seed` that it is true of.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    content = {"scenario": dataclasses.asdict(scenario), "seed": seed, **truth}
    text = json.dumps(content, indent=1, default=str)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
    return folder


def chosen_seed(own: int, seed: int | None) -> int:
    """The `seed`, or the scenario's `own` where there is none; ValueError where it is below 0."""
    seed = own if seed is None else seed
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    return seed
