"""Times and causes of units in; counts by cell, time and cause, merged, rolled up or saved, out."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retention_lab.data import stored
from retention_lab.data.cells import Levels, Places, apart, joined, picked
from retention_lab.data.codes import column_of, distinct, tally, times_of
from retention_lab.data.spells import TIMES, Cause, Counts, Floats, Spells
from retention_lab.errors import DataError, counted

WHAT = "life table"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LifeTable:
    """The second reduction: for C cells and R rows, enough for every curve, test and model.

    ======== ======= =================================================================
    levels   C       by key: the cell's level, text (object) or number (float64)
    cell     R       the position of the row's cell
    start    R       at risk after this time; -inf: from the beginning, time 0 included
    stop     R       at risk up to and including this time
    cause    R       0: censored at `stop`; k: `causes[k - 1]` happened at `stop`
    n        R       units in the row, 1 or more
    ======== ======= =================================================================

    Rows are unique and sorted by cell, start, stop and cause; cells are unique and sorted by their
    levels, in the order of `keys` (a missing level, None or nan, comes last), and have a row each.
    `definition` says what the times are (origin, event, as_of ...): tables merge only where it is
    the same. `notes` counts by code the units that were left out, or are odd; `by` and `merge`
    carry it on. Equal weights and rows: a row with n = 3 is three units.
    """

    keys: tuple[str, ...]
    levels: Mapping[str, Levels]
    causes: tuple[str, ...]
    cell: Places
    start: Floats
    stop: Floats
    cause: Cause
    n: Counts
    definition: str = ""
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: len(self.cell) for name in _ROWS}
        for name, length in shapes.items():
            if getattr(self, name).shape != (length,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {(length,)}")
            getattr(self, name).flags.writeable = False
        if set(self.levels) != set(self.keys):
            raise ValueError(f"levels of {sorted(self.levels)}, but keys {sorted(self.keys)}")
        for levels in self.levels.values():
            if len(levels) != self.cells:
                raise ValueError(f"{len(levels)} levels for {self.cells} cells")
            levels.flags.writeable = False

    @classmethod
    def of(
        cls,
        stop: Any,
        cause: Any,
        n: Any = None,
        start: Any = None,
        causes: Sequence[str] = ("event",),
        split: Mapping[str, Any] | None = None,
        definition: str = "",
        notes: Mapping[str, int] | None = None,
        **levels: Any,
    ) -> LifeTable:
        """Compress arrays of shape (rows,); `split` and `levels` are the keys with their levels.

        Text is fastest in Arrow's format, as an engine gives it (with nulls for what is missing).
        `n` is the units of each row (1 where not given; rows of 0 are dropped), `start` the time
        after which it is at risk. `split` holds keys whose names are arguments here. Rows without a
        time, with a negative stop, or that stop at or before their start, are left out and their
        units counted in `notes`, by the first of these reasons that holds.
        Raises ValueError for shapes that differ, a cause that is not in 0 .. len(causes), and an
        `n` that is negative or no whole number.
        """
        split = {**(split or {}), **levels}
        rows = Spells.checked(stop, cause, n, start, len(causes))
        size = len(rows.stop)
        columns = {k: column_of(v) for k, v in split.items()}
        for key, values in columns.items():
            shape = getattr(values, "shape", (len(values),))
            if shape != (size,):
                raise ValueError(f"{key!r} has shape {shape}, not {(size,)}")
        rows, kept, left_out = rows.usable()
        if kept is not None:
            columns = {k: v.take(np.flatnonzero(kept)) for k, v in columns.items()}
        what: dict[str, Any] = {"causes": tuple(causes), "definition": definition}
        what["notes"] = _added(notes or {}, left_out)
        cell, levels = distinct(columns, len(rows.stop))
        return _compressed(cell, levels, rows, what)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.levels[self.keys[0]]) if self.keys else int(len(self.cell) > 0)

    @property
    def size(self) -> int:
        """Units in all rows together (a unit with several intervals counts once for each)."""
        return int(self.n.sum())

    @property
    def events(self) -> dict[str, int]:
        """How often each cause happened."""
        found = np.zeros(len(self.causes) + 1, np.int64)
        np.add.at(found, self.cause, self.n)
        return {c: int(found[i + 1]) for i, c in enumerate(self.causes)}

    def by(self, *keys: str) -> LifeTable:
        """Rolled up to `keys`: the other keys are dropped and rows added. KeyError: unknown key."""
        code, levels = picked(self, keys, WHAT)
        return _compressed(code[self.cell], levels, self._rows(), self._what())

    def parts(self, *keys: str) -> list[tuple[tuple[Any, ...], LifeTable]]:
        """One table a combination of levels of `keys`, in their order; each keeps all keys.

        `notes` cannot be told apart by level, so the parts have none.
        """
        found = apart(self, keys, _ROWS, WHAT)
        return [(label, dataclasses.replace(self, notes={}, **part)) for label, part in found]

    def where(self, key: str, level: Any) -> LifeTable:
        """The rows in which `key` is `level`; an empty table where there is none."""
        return next((t for found, t in self.parts(key) if found[0] == level), self.without_rows())

    def without_rows(self) -> LifeTable:
        """The same keys, causes and definition without a row."""
        none: dict[str, Any] = {name: getattr(self, name)[:0] for name in _ROWS}
        none["levels"] = {k: v[:0] for k, v in self.levels.items()}
        return dataclasses.replace(self, notes={}, **none)

    def save(self, path: str | Path) -> None:
        """Write a Parquet file with a row for each row, which `load` reads to the last bit."""
        columns = stored.columns_of(self.keys, self.levels, self.cell)
        columns |= {name: getattr(self, name) for name in _ROWS}
        content = {
            "keys": self.keys,
            "causes": self.causes,
            "definition": self.definition,
            "notes": dict(self.notes),
        }
        stored.write(path, "lifetable", columns, content)

    @classmethod
    def load(cls, path: str | Path) -> LifeTable:
        """Read what `save` wrote; DataError for any other file."""
        table, content = stored.read(path, "lifetable", WHAT)
        with stored.whole(path, WHAT):
            rows = {k: table[k].to_numpy().astype(t) for k, t in _ROWS.items()}
            keys = tuple(content["keys"])
            levels = stored.levels_of(table, keys, rows["cell"])
            causes, notes = tuple(content["causes"]), dict(content["notes"])
            return cls(keys, levels, causes, **rows, definition=content["definition"], notes=notes)

    def _rows(self) -> Spells:
        return Spells(self.start, self.stop, self.cause, self.n)

    def _what(self) -> dict[str, Any]:
        return {"causes": self.causes, "definition": self.definition, "notes": self.notes}

    def __repr__(self) -> str:
        over = f" of {' x '.join(self.keys)}" if self.keys else ""
        events = ", ".join(f"{name} {count:,}" for name, count in self.events.items())
        cells = f"{counted(self.cells, 'cell')}{over}"
        return (
            f"LifeTable({counted(self.size, 'unit')} in {len(self.n):,} rows and {cells}; {events})"
        )

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


_ROWS: dict[str, Any] = {
    "cell": np.intp,
    "start": np.float64,
    "stop": np.float64,
    "cause": np.int8,
    "n": np.int64,
}


def merge(*tables: LifeTable) -> LifeTable:
    """The table of all units behind `tables` together, in any order and grouping.

    Raises DataError where they do not hold the same keys and causes, defined in the same way.
    """
    if not tables:
        raise DataError("there is nothing to merge")
    first = tables[0]
    for other in tables[1:]:
        _check_alike(first, other)
    cell, levels = joined(tables, WHAT)
    rows = Spells(*(np.concatenate([getattr(t, k) for t in tables]) for k in TIMES))
    what = first._what() | {"notes": _added(*(t.notes for t in tables))}
    return _compressed(cell, levels, rows, what)


def _compressed(
    cell: Places, levels: Mapping[str, Levels], rows: Spells, what: Mapping[str, Any]
) -> LifeTable:
    """The table of `rows` in cells `cell`, which has the sorted `levels`."""
    start, starts = times_of(rows.start)
    stop, stops = times_of(rows.stop)
    cells = int(cell.max()) + 1 if len(cell) else 0
    coded = [(cell, cells), (start, len(starts)), (stop, len(stops))]
    coded.append((rows.cause.astype(np.intp), len(what["causes"]) + 1))
    found, n = tally(coded, rows.n)
    return LifeTable(
        keys=tuple(levels),
        levels=levels,
        cell=found[0],
        start=starts[found[1]],
        stop=stops[found[2]],
        cause=found[3].astype(np.int8),
        n=n,
        **what,
    )


def _added(*notes: Mapping[str, int]) -> dict[str, int]:
    codes = sorted({code for some in notes for code in some})
    return {code: sum(some.get(code, 0) for some in notes) for code in codes}


def _check_alike(a: LifeTable, b: LifeTable) -> None:
    if set(a.keys) != set(b.keys):
        raise DataError(f"life tables split by {a.keys} and by {b.keys} cannot be merged")
    if a.keys != b.keys:
        raise DataError(
            f"life tables with keys in the orders {a.keys} and {b.keys}: use `by` first"
        )
    if a.causes != b.causes:
        raise DataError(f"life tables of causes {a.causes} and {b.causes} cannot be merged")
    if a.definition != b.definition:
        raise DataError(f"two life tables differ in definition: {_differences(a, b)}")


def _differences(a: LifeTable, b: LifeTable) -> str:
    try:
        one, two = json.loads(a.definition), json.loads(b.definition)
        keys = sorted(k for k in {*one, *two} if one.get(k) != two.get(k))
    except (AttributeError, TypeError, ValueError):
        return f"{a.definition!r} and {b.definition!r}"
    return "; ".join(f"{k}: {one.get(k)} and {two.get(k)}" for k in keys)
