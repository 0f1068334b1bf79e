"""A reduction by cell in; its cells by fewer keys, the rows of each part, or cells joined, out.

A reduction has `keys`, by key the `levels` of its cells, and rows: `cell` is the position of the
cell that a row is of. Cells are sorted, and have a row each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from retention_lab.data.codes import distinct, kind_of
from retention_lab.errors import DataError, did_you_mean

Places = npt.NDArray[np.intp]
Levels = npt.NDArray[Any]


class ByCell(Protocol):
    """What a life table and a reduction of sums have in common."""

    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def levels(self) -> Mapping[str, Levels]: ...
    @property
    def cell(self) -> Places: ...
    @property
    def cells(self) -> int: ...


def picked(table: ByCell, keys: Iterable[str], what: str) -> tuple[Places, dict[str, Levels]]:
    """For each cell the position of its levels of `keys`, and these sorted levels.

    KeyError for a key that the table, which is called `what`, is not split by.
    """
    wanted = tuple(keys)
    for key in wanted:
        if key not in table.keys:
            raise KeyError(f"the {what} is not split by {key!r}{did_you_mean(key, table.keys)}")
    return distinct({k: table.levels[k] for k in wanted}, table.cells)


def apart(
    table: ByCell, keys: Sequence[str], rows: Iterable[str], what: str
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """For each combination of levels of `keys`, in their order: it, and the part's own fields.

    These are `levels` and those in `rows`, which have a value a row; the part keeps all keys.
    """
    code, levels = picked(table, keys, what)
    if not table.cells:
        return
    labels = list(zip(*(levels[k].tolist() for k in keys), strict=True)) if keys else [()]
    row_groups = _groups(code[table.cell], len(labels))
    for label, mine, cells in zip(labels, row_groups, _groups(code, len(labels)), strict=True):
        part: dict[str, Any] = {name: getattr(table, name)[mine] for name in rows}
        part["cell"] = np.searchsorted(cells, part["cell"])
        part["levels"] = {k: v[cells] for k, v in table.levels.items()}
        yield label, part


def _groups(code: Places, count: int) -> list[Places]:
    """The positions of each of `count` codes, ascending."""
    ends = np.cumsum(np.bincount(code, minlength=count))
    return np.split(np.argsort(code, kind="stable"), ends[:-1])


def joined(tables: Sequence[ByCell], what: str) -> tuple[Places, dict[str, Levels]]:
    """The cell of every row of `tables`, one table after the other, and the levels of all cells.

    All have the same keys. DataError where a key is text in one and a number in another.
    """
    full = [t for t in tables if t.cells] or [tables[0]]
    for key in tables[0].keys:
        if len({kind_of(t.levels[key]) for t in full}) > 1:
            raise DataError(f"{key!r} is text in one {what} and a number in another")
    levels = {k: np.concatenate([t.levels[k] for t in full]) for k in tables[0].keys}
    before = np.cumsum([0, *(t.cells for t in full)])
    place = np.concatenate([t.cell + b for t, b in zip(full, before[:-1], strict=True)])
    code, levels = distinct(levels, int(before[-1]))
    return code[place], levels
