"""Parquet files in; the columns that the engine would take for other numbers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LONG = "decimals of more than 38 digits"  # a kind of column that cannot be read


def misread(
    run: Callable[[str], Sequence[tuple[Any, ...]]], names: Sequence[str]
) -> dict[str, str]:
    """The columns of the files `names` (text constants in SQL) that cannot be read: name -> `LONG`.

    DuckDB 1.5 reads 32 bytes of a decimal of more than 38 digits, also where the file has fewer of
    them, and says nothing: 1.5 as decimal(40, 4) becomes 1.08e17. `run` carries out a query.
    """
    long = "precision::integer > 38 and type_length::integer < 32"
    found = run(f"select distinct name from parquet_schema([{', '.join(names)}]) where {long}")
    return {row[0]: LONG for row in found}
