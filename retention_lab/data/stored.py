"""Columns and what they mean in; a Parquet file of them, or the same read back from one, out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retention_lab.data.codes import kind_of
from retention_lab.errors import DataError

FORMAT = 1
Levels = npt.NDArray[Any]


def write(
    path: str | Path, kind: str, columns: Mapping[str, Any], content: Mapping[str, Any]
) -> None:
    """Write `columns` (arrays of one length), with `content` as JSON under `kind` in its metadata.

    The format and the version of the lab are added to the content.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from retention_lab import __version__

    said = json.dumps({"format": FORMAT, **content, "version": __version__})
    pq.write_table(pa.table(dict(columns)).replace_schema_metadata({kind: said}), path)


def read(path: str | Path, kind: str, what: str, **expected: Any) -> tuple[Any, dict[str, Any]]:
    """The table (Arrow's) and the content that `write` wrote.

    Raises DataError where it is another file, `what` is the name for it, or the content is not of
    the format and of what is `expected`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a saved {what}: {error}") from None
    content = json.loads((table.schema.metadata or {}).get(kind.encode(), b"{}"))
    wanted = {"format": FORMAT, **expected}
    if any(content.get(name) != value for name, value in wanted.items()):
        raise DataError(f"{path} is not a saved {what} of format {FORMAT}")
    return table, content


@contextlib.contextmanager
def whole(path: str | Path, what: str) -> Iterator[None]:
    """DataError where something within lacks in the file, or does not fit together."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is a broken {what}: {error!r}") from None


def columns_of(
    keys: Sequence[str], levels: Mapping[str, Levels], cell: npt.NDArray[np.intp]
) -> dict[str, Any]:
    """By key the level of each row, whose cells are `cell`: columns of a file."""
    import pyarrow as pa

    found = {}
    for key in keys:
        text = kind_of(levels[key]) == "text"
        values = pa.array(levels[key], pa.string() if text else pa.float64())
        found[f"key {key}"] = values.take(pa.array(cell))
    return found


def levels_of(table: Any, keys: Sequence[str], cell: npt.NDArray[np.intp]) -> dict[str, Levels]:
    """The levels of the sorted cells, as `columns_of` was given them; every cell has a row."""
    import pyarrow as pa

    _, first = np.unique(cell, return_index=True)
    found = {}
    for key in keys:
        column = table[f"key {key}"].take(pa.array(first))
        dtype = np.float64 if pa.types.is_floating(column.type) else object
        found[key] = np.array(column.to_pylist(), dtype)
    return found
