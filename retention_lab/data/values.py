"""A lazy frame of one row a unit in; how often each value of a column occurs, per cell, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from retention_lab.data import stored
from retention_lab.data.moments import Counts, Floats
from retention_lab.data.source import Frame, Source
from retention_lab.data.units import key
from retention_lab.errors import DataError, did_you_mean

BITS = 14
SPLIT = float(2 ** (53 - BITS) + 1)
WIDTH = 2.0 ** (1 - BITS)  # of a bin, relative to its values, at most
GRID, COUNT, LOW, HIGH = "grid", "count", "low value", "high value"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """The values of one cell or margin: bins [low, high], ascending, with `up_to` units to each.

    `up_to` counts the units of the bin and of all bins below it. `missing` units have no value,
    `not_finite` ones NaN, infinity, or a size beyond 1e295.
    """

    low: Floats
    high: Floats
    up_to: Counts
    missing: int = 0
    not_finite: int = 0

    @property
    def n(self) -> int:
        """Units with a finite value."""
        return int(self.up_to[-1]) if len(self.up_to) else 0

    def at(self, positions: Sequence[float] | Floats) -> Floats:
        """Order statistics at `positions` from 0 (the least value) to n - 1 (the largest).

        Between two of them the line between their values. An order statistic is exact where its
        bin holds one value or up to two units; otherwise the bin's units are taken to be evenly
        spread between its exact ends, so that the error is below `WIDTH` of the value (0.012%).
        Raises ValueError for a position outside of 0 .. n - 1.
        """
        where = np.asarray(positions, np.float64)
        if not np.all((where >= 0) & (where <= self.n - 1)):
            raise ValueError(f"positions must lie in 0 .. {self.n - 1}")
        below = np.floor(where)
        first = self._order(below.astype(np.int64))
        second = self._order(np.ceil(where).astype(np.int64))
        return np.asarray(first + (where - below) * (second - first), np.float64)

    def _order(self, ranks: Counts) -> Floats:
        found = np.searchsorted(self.up_to, ranks, side="right")
        below = np.where(found > 0, self.up_to[found - 1], 0)
        share = (ranks - below) / np.maximum(self.up_to[found] - below - 1, 1)
        low = self.low[found]
        return np.asarray(low + share * (self.high[found] - low), np.float64)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ValueCounts:
    """The third reduction: for C cells the distribution of one column over B bins in all.

    ========== === ====================================================================
    cells      C   levels, one for each of `keys` (arm first), sorted
    missing    C   units without a value
    not_finite C   units with NaN, infinity or a size beyond 1e295
    cell       B   the position in `cells` of the bin's cell, ascending
    grid       B   the bin: its values, rounded to `BITS` = 14 significant binary digits
    low, high  B   the least and the largest value in the bin
    count      B   units in the bin
    ========== === ====================================================================

    The grid is the same for all data, so that reductions merge exactly: the merge of parts is the
    reduction of their rows together. Bins are narrower than 2^-13 (0.012%) of their values; each
    whole number below 16,384 and each price in cents below 128 has a bin to itself, and is exact.
    Zero has its own bin, and no bin holds values of both signs.
    `definition` says what the column is: reductions merge only where it is the same.
    """

    keys: tuple[str, ...]
    column: str
    cells: tuple[tuple[str, ...], ...]
    missing: Counts
    not_finite: Counts
    cell: Counts
    grid: Floats
    low: Floats
    high: Floats
    count: Counts
    definition: str = ""

    def __post_init__(self) -> None:
        shapes = {"missing": len(self.cells), "not_finite": len(self.cells)}
        shapes |= dict.fromkeys(_OF_BINS, len(self.cell))
        for name, length in shapes.items():
            if getattr(self, name).shape != (length,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {(length,)}")
            getattr(self, name).flags.writeable = False

    @property
    def n(self) -> Counts:
        """Units with a finite value, by cell."""
        n = np.zeros(len(self.cells), np.int64)
        np.add.at(n, self.cell, self.count)
        return n

    @property
    def size(self) -> Counts:
        """Units, with a value or without, by cell."""
        return np.asarray(self.n + self.missing + self.not_finite, np.int64)

    def levels(self, key: str) -> tuple[str, ...]:
        """The levels that `key` takes, sorted."""
        position = self._position(key)
        return tuple(sorted({cell[position] for cell in self.cells}))

    def distribution(self, *levels: str) -> Distribution:
        """The values of the cell with these levels, one a key; empty where there is no such cell.

        Levels of the first keys only, or none, give the margin over the others.
        """
        given = len(levels)
        if given < len(self.keys):
            return self.roll_up(*self.keys[:given]).distribution(*levels)
        if levels not in self.cells:
            none = np.zeros(0)
            return Distribution(none, none, np.zeros(0, np.int64))
        i = self.cells.index(levels)
        rows = slice(*np.searchsorted(self.cell, [i, i + 1]))
        return Distribution(
            self.low[rows],
            self.high[rows],
            np.cumsum(self.count[rows]),
            int(self.missing[i]),
            int(self.not_finite[i]),
        )

    def roll_up(self, *keys: str) -> ValueCounts:
        """The margins over `keys`: cells that agree in all of them are combined."""
        positions = [self._position(k) for k in keys]
        labels = tuple(tuple(cell[i] for i in positions) for cell in self.cells)
        return _combine(dataclasses.replace(self, keys=keys, cells=labels))

    def where(self, key: str, level: str) -> ValueCounts:
        """The cells in which `key` is `level`."""
        position = self._position(key)
        kept = np.array([cell[position] == level for cell in self.cells], bool)
        rows = kept[self.cell]
        of_bins: dict[str, Any] = {k: getattr(self, k)[rows] for k in _OF_BINS}
        of_bins["cell"] = (np.cumsum(kept) - 1)[of_bins["cell"]]
        return dataclasses.replace(
            self,
            cells=tuple(c for c, keep in zip(self.cells, kept, strict=True) if keep),
            missing=self.missing[kept],
            not_finite=self.not_finite[kept],
            **of_bins,
        )

    def save(self, path: str | Path) -> None:
        """Write one Parquet file; `load` reads it back to the last bit."""
        content = {
            "bits": BITS,
            "keys": self.keys,
            "column": self.column,
            "cells": self.cells,
            "missing": self.missing.tolist(),
            "not_finite": self.not_finite.tolist(),
            "definition": self.definition,
        }
        stored.write(path, "values", {name: getattr(self, name) for name in _OF_BINS}, content)

    @classmethod
    def load(cls, path: str | Path) -> ValueCounts:
        """Read what `save` wrote; DataError for any other file."""
        table, content = stored.read(path, "values", "reduction")
        if content.get("bits") != BITS:
            raise DataError(f"{path} does not hold value counts of format {stored.FORMAT}")
        with stored.whole(path, "reduction"):
            arrays: dict[str, Any] = {name: table[name].to_numpy().copy() for name in _OF_BINS}
            return cls(
                keys=tuple(content["keys"]),
                column=content["column"],
                cells=tuple(tuple(cell) for cell in content["cells"]),
                missing=np.array(content["missing"], np.int64),
                not_finite=np.array(content["not_finite"], np.int64),
                definition=content["definition"],
                **arrays,
            )

    def _position(self, key: str) -> int:
        if key not in self.keys:
            hint = did_you_mean(key, self.keys)
            raise KeyError(f"the reduction is not split by {key!r}{hint}")
        return self.keys.index(key)

    def __repr__(self) -> str:
        return (
            f"ValueCounts({self.column!r}: {int(self.size.sum()):,} units in {len(self.cells):,} "
            f"cells of {' x '.join(self.keys)}; {len(self.cell):,} bins)"
        )


_OF_BINS = ("cell", "grid", "low", "high", "count")


def count_values(
    source: Source,
    frame: Frame,
    keys: Sequence[str],
    column: str,
    definition: str = "",
    by: Sequence[str] = (),
) -> ValueCounts:
    """Reduce `frame`, as `unit_frame` returns it, to the value counts of `column` by `keys`.

    These are the frame's columns `by`; where that is empty, ``key 0``, ``key 1`` and so on.

    One grouped query. A value's bin is the value rounded to 14 significant binary digits, which
    takes a product and two differences: Dekker (1971), "A floating-point technique for extending
    the available precision", Numerische Mathematik 18, 224-242, section 5. Raises DataError where
    a table cannot be read.
    """
    by = tuple(by) or tuple(key(i) for i in range(len(keys)))
    value = nw.col(column).cast(nw.Float64)
    scaled = value * SPLIT
    binned = frame.select(*by, **{column: value, GRID: scaled - (scaled - value)})
    sums = {COUNT: nw.len(), LOW: nw.col(column).min(), HIGH: nw.col(column).max()}
    rows = source.arrays(binned.group_by(*by, GRID).agg(**sums))
    return from_rows(keys, column, [rows[k] for k in by], rows, definition)


def from_rows(
    keys: Sequence[str],
    column: str,
    levels: Sequence[Any],
    rows: Mapping[str, Any],
    definition: str = "",
) -> ValueCounts:
    """Value counts of grouped rows: `levels` holds the column of each key, `rows` the others.

    A row whose bin is masked counts missing values, one whose bin is NaN those not finite.
    """
    count = np.asarray(rows[COUNT], np.int64)
    grid = np.ma.asarray(rows[GRID], np.float64)
    missing = np.ma.getmaskarray(grid)
    finite = np.isfinite(grid.filled(np.nan))
    place: dict[tuple[Any, ...], int] = {}
    found_at = (place.setdefault(c, len(place)) for c in zip(*levels, strict=True))
    cell = np.fromiter(found_at, np.int64, count=len(count))

    def units(rows_of: Any) -> Counts:
        total = np.zeros(len(place), np.int64)
        np.add.at(total, cell[rows_of], count[rows_of])
        return total

    found = ValueCounts(
        keys=tuple(keys),
        column=column,
        cells=tuple(tuple(map(str, c)) for c in place),
        missing=units(missing),
        not_finite=units(~finite & ~missing),
        cell=cell[finite],
        grid=grid.filled(np.nan)[finite],
        low=np.ma.asarray(rows[LOW], np.float64).filled(np.nan)[finite],
        high=np.ma.asarray(rows[HIGH], np.float64).filled(np.nan)[finite],
        count=count[finite],
        definition=definition,
    )
    return _combine(found)


def merge(*parts: ValueCounts) -> ValueCounts:
    """The value counts of all rows behind `parts` together, in any order and grouping.

    Raises DataError where the parts do not hold the same column, defined in the same way.
    """
    if not parts:
        raise DataError("there is nothing to merge")
    first = parts[0]
    if any((p.keys, p.column) != (first.keys, first.column) for p in parts):
        raise DataError("value counts of different columns or splits cannot be merged")
    if any(p.definition != first.definition for p in parts):
        raise DataError(f"value counts of {first.column!r} differ in definition")
    starts = np.cumsum([0, *(len(p.cells) for p in parts)])
    arrays: dict[str, Any] = {
        k: np.concatenate([getattr(p, k) for p in parts]) for k in (*_OF_BINS, *_OF_CELLS)
    }
    arrays["cell"] = np.concatenate([p.cell + s for p, s in zip(parts, starts, strict=False)])
    cells = tuple(c for p in parts for c in p.cells)
    return _combine(dataclasses.replace(first, cells=cells, **arrays))


_OF_CELLS = ("missing", "not_finite")


def _combine(v: ValueCounts) -> ValueCounts:
    """Combine cells of the same levels, and in them bins of the same values; sort both."""
    cells = tuple(sorted(set(v.cells)))
    place: Mapping[tuple[str, ...], int] = {c: i for i, c in enumerate(cells)}
    to = np.fromiter((place[c] for c in v.cells), np.int64, count=len(v.cells))
    of_cells: dict[str, Any] = {k: np.zeros(len(cells), np.int64) for k in _OF_CELLS}
    for name, total in of_cells.items():
        np.add.at(total, to, getattr(v, name))
    cell, grid = to[v.cell], v.grid + 0.0  # so that -0 is 0
    order = np.lexsort((grid, cell))
    cell, grid = cell[order], grid[order]
    new = np.ones(len(cell), bool)
    new[1:] = (np.diff(cell) != 0) | (np.diff(grid) != 0)
    starts = np.flatnonzero(new)

    def folded(fold: np.ufunc, values: Any) -> Any:
        return fold.reduceat(values[order], starts) if len(starts) else values

    return dataclasses.replace(
        v,
        cells=cells,
        cell=cell[starts],
        grid=grid[starts],
        low=folded(np.minimum, v.low + 0.0),
        high=folded(np.maximum, v.high + 0.0),
        count=folded(np.add, v.count),
        **of_cells,
    )
