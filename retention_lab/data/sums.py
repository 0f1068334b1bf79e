"""Sums by cell, kind and day in; the same, merged, rolled up, saved or loaded, out."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import duckdb
import numpy as np
import numpy.typing as npt

from retention_lab.data import stored
from retention_lab.data.cells import Levels, apart, joined, picked
from retention_lab.data.codes import distinct, joint, times_of
from retention_lab.data.source import Frame, Source
from retention_lab.data.sql import quoted
from retention_lab.errors import DataError, counted

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """A reduction that adds up over customers: for C cells R rows of a sum each.

    ====== === ==================================================================
    levels C   by key: the cell's level, text (object) or number (float64)
    cell   R   the position of the row's cell
    kind   R   what is summed: a position in `KINDS`, which a subclass names
    first  R   a day, in days since a customer's origin
    second R   another such day, where the kind has two; else 0
    total  R   the sum over the cell's customers; never 0
    ====== === ==================================================================

    Rows are unique and sorted by cell, kind, first and second. Each customer is in one cell, and in
    one of the parts that are merged. Every cell has a row of kind `customer`, the first kind: how
    many there are. `definition` says what is summed: only what is defined alike may be merged.
    """

    KINDS: ClassVar[tuple[str, ...]] = ("customer",)
    WHAT: ClassVar[str] = "reduction"

    keys: tuple[str, ...]
    levels: Mapping[str, Levels]
    cell: Places
    kind: npt.NDArray[np.int16]
    first: Floats
    second: Floats
    total: Floats
    definition: str = ""

    def __post_init__(self) -> None:
        for name in _ROWS:
            if getattr(self, name).shape != self.cell.shape:
                shape = getattr(self, name).shape
                raise ValueError(f"{name} has shape {shape}, not {self.cell.shape}")
            getattr(self, name).flags.writeable = False
        if tuple(self.levels) != self.keys:
            raise ValueError(f"levels of {tuple(self.levels)}, but keys {self.keys}")

    @classmethod
    def compress(
        cls, columns: Mapping[str, Any], rows: Mapping[str, Any], definition: str = ""
    ) -> Self:
        """Add up rows of the same levels, kind and days, given as arrays of one shape."""
        arrays = {k: np.asarray(rows[k], np.float64) for k in ("first", "second", "total")}
        levels = {k: plain(v) for k, v in columns.items()}
        cell, cells = distinct(levels, len(arrays["total"]))
        kind = np.asarray(rows["kind"], np.intp)
        return cls._compressed(cell, cells, kind, arrays, definition)

    @classmethod
    def _compressed(
        cls,
        cell: Places,
        levels: Mapping[str, Levels],
        kind: npt.NDArray[Any],
        rows: Mapping[str, Floats],
        definition: str,
    ) -> Self:
        first, firsts = times_of(rows["first"])
        second, seconds = times_of(rows["second"])
        size = int(cell.max()) + 1 if len(cell) else 0
        coded = [(cell, size), (kind.astype(np.intp), len(cls.KINDS))]
        key, _ = joint([*coded, (first, len(firsts)), (second, len(seconds))])
        _, at, group = np.unique(key, return_index=True, return_inverse=True)
        total = np.bincount(group, weights=rows["total"], minlength=len(at))
        at, total = at[total != 0.0], total[total != 0.0]
        days = rows["first"][at], rows["second"][at]
        kinds = kind[at].astype(np.int16)
        return cls(tuple(levels), dict(levels), cell[at], kinds, *days, total, definition)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return int(self.cell[-1]) + 1 if len(self.cell) else 0

    @property
    def customers(self) -> npt.NDArray[np.int64]:
        """How many customers each cell holds, [C]."""
        cell, _, _, total = self.rows("customer")
        return np.bincount(cell, weights=total, minlength=self.cells).astype(np.int64)

    def rows(self, kind: str) -> tuple[Places, Floats, Floats, Floats]:
        """The rows of one kind: cell, first, second and total."""
        at = np.flatnonzero(self.kind == self.KINDS.index(kind))
        return self.cell[at], self.first[at], self.second[at], self.total[at]

    def by(self, *keys: str) -> Self:
        """Rolled up to `keys`: the other keys are dropped and sums added. KeyError: unknown key."""
        code, levels = picked(self, keys, self.WHAT)
        return self._compressed(code[self.cell], levels, self.kind, self._rows(), self.definition)

    def parts(self, *keys: str) -> list[tuple[tuple[Any, ...], Self]]:
        """One a combination of levels of `keys`, in their order; each keeps all keys."""
        found = apart(self, keys, _ROWS, self.WHAT)
        return [(label, dataclasses.replace(self, **part)) for label, part in found]

    def save(self, path: str | Path) -> None:
        """Write a Parquet file, which `load` reads to the last bit."""
        columns = stored.columns_of(self.keys, self.levels, self.cell)
        columns |= {name: getattr(self, name) for name in _ROWS}
        content = {"kinds": self.KINDS, "keys": self.keys, "definition": self.definition}
        stored.write(path, "sums", columns, content)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; DataError for any other file."""
        table, content = stored.read(path, "sums", cls.WHAT, kinds=list(cls.KINDS))
        with stored.whole(path, cls.WHAT):
            rows = {k: table[k].to_numpy().astype(t) for k, t in _ROWS.items()}
            levels = stored.levels_of(table, content["keys"], rows["cell"])
            return cls(tuple(levels), levels, **rows, definition=content["definition"])

    def _rows(self) -> dict[str, Floats]:
        return {"first": self.first, "second": self.second, "total": self.total}

    def __repr__(self) -> str:
        over = f" of {' x '.join(self.keys)}" if self.keys else ""
        customers = counted(int(self.customers.sum()), "customer")
        cells = f"{counted(self.cells, 'cell')}{over}"
        return f"{type(self).__name__}({customers} in {cells}; {len(self.total):,} sums)"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


_ROWS: dict[str, Any] = {
    "cell": np.intp,
    "kind": np.int16,
    "first": np.float64,
    "second": np.float64,
    "total": np.float64,
}


def added(parts: Sequence[Any]) -> Any:
    """The reduction of all customers behind `parts` together, in any order and grouping.

    Raises DataError where they are not of one kind, split by the same keys and defined alike.
    """
    if not parts:
        raise DataError("there is nothing to merge")
    first = parts[0]
    for other in parts[1:]:
        if type(other) is not type(first):
            raise DataError(f"a {first.WHAT} and a {other.WHAT} cannot be merged")
        if other.keys != first.keys:
            raise DataError(f"those split by {first.keys} and by {other.keys} cannot be merged")
        if other.definition != first.definition:
            raise DataError(
                f"two of a {first.WHAT} differ in definition: "
                f"{first.definition!r} and {other.definition!r}"
            )
    cell, levels = joined(parts, first.WHAT)
    rows = {k: np.concatenate([getattr(p, k) for p in parts]) for k in ("first", "second", "total")}
    kind = np.concatenate([p.kind for p in parts])
    return type(first)._compressed(cell, levels, kind, rows, first.definition)


def cells_of(by: Mapping[str, str]) -> tuple[str, str]:
    """SQL: the CTE ``cells`` (a number for each combination of levels), and its join to unit.

    `by` maps the names of keys to columns of unit.
    """
    columns = ", ".join(quoted(c) for c in by.values())
    if not by:
        return "cells as (select 0 as cell)", "cells on true"
    alike = " and ".join(
        f"unit.{quoted(c)} is not distinct from cells.{quoted(c)}" for c in by.values()
    )
    numbered = f"select row_number() over () - 1 as cell, * from (select distinct {columns}"
    return f"cells as ({numbered} from unit))", f"cells on {alike}"


def levels_of(by: Mapping[str, str]) -> str:
    """SQL: the columns of `by` as "level 0", "level 1" and so on, to follow other columns."""
    return "".join(f', {quoted(c)} as "level {i}"' for i, c in enumerate(by.values()))


def frame_of(source: Source, text: str) -> Frame:
    """A query on the retention rows as a lazy frame; DataError where it cannot be asked."""
    import narwhals as nw

    try:
        return nw.from_native(source.connection.sql(text))
    except duckdb.Error as error:
        first = str(error).split("\n\n")[0].split("LINE ")[0].strip()
        raise DataError(source.conceal(f"the rows of retention: {first}")) from None


def fetch(source: Source, text: str) -> dict[str, Any]:
    """Columns of a small query on the retention rows, masked where null; DataError if it fails."""
    return source.arrays(frame_of(source, text))


def plain(values: Any) -> Levels:
    """Levels as the engine gave them, a missing one as None or nan."""
    if not np.ma.isMaskedArray(values):
        return np.asarray(values)
    if values.dtype.kind in "biuf":
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    out = np.array(values.data, object)
    out[np.ma.getmaskarray(values)] = None
    return out
