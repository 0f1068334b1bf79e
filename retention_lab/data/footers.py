"""A Parquet file in; the columns that the engine would take for other numbers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from retention_lab.data.source import LONG


def misread(run: Callable[[str], Sequence[tuple[Any, ...]]], name: str) -> dict[str, str]:
    """The columns of the file `name` (a text constant in SQL) that cannot be read: name -> `LONG`.

    DuckDB 1.5 reads 32 bytes of a decimal of more than 38 digits, also where the file has fewer of
    them, and says nothing: 1.5 as decimal(40, 4) becomes 1.08e17. `run` carries out a query.
    """
    long = "precision::integer > 38 and type_length::integer < 32"
    return {row[0]: LONG for row in run(f"select name from parquet_schema({name}) where {long}")}
