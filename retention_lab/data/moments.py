"""Counts, means and co-moments per cell in; the same, merged, rolled up, saved or loaded, out."""

from __future__ import annotations

import dataclasses
import glob
import json
from collections.abc import Mapping, Sequence
from functools import reduce as fold
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retention_lab.data import stored
from retention_lab.errors import DataError, did_you_mean
from retention_lab.experiment.needs import Column
from retention_lab.experiment.spec import Cap

if TYPE_CHECKING:
    from retention_lab.data.values import ValueCounts

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The first reduction: for C cells and P pairs of columns, enough to compare means.

    ======== ======= ==================================================================
    cells    C       levels, one for each of `keys` (arm first)
    size     C       units in the cell, missing values or not
    n        C x P   units in which both columns of the pair are known
    mean_x   C x P   mean of the pair's first column over those units, less the column's origin
    mean_y   C x P   mean of its second column over the same units, less that column's origin
    comoment C x P   sum of (x - mean_x) (y - mean_y) over the same units
    ======== ======= ==================================================================

    `origin` is a constant near each column's mean (0 where it is not named), so that means of 1e12
    keep the digits in which arms differ; `mean` adds it.
    `definition` says what the columns are (windows, caps, as_of ...): reductions merge only where
    it is the same. `faults` says which metrics cannot be had from them, and why; `without_arm`
    how many units were left out for want of an arm. `buckets` is the same by buckets of a hash
    of the unit's id in place of `keys`, where units have an id; `values` holds, by
    column, the counts of values that quantiles need; `ages` the primary metrics by arm and day
    since exposure, see ages.py. Cells are combined by the pairwise
    update of Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", The
    American Statistician 37(3), 242-247.
    """

    keys: tuple[str, ...]
    pairs: tuple[Pair, ...]
    cells: tuple[tuple[str, ...], ...]
    size: Counts
    n: Counts
    mean_x: Floats
    mean_y: Floats
    comoment: Floats
    origin: Mapping[str, float] = dataclasses.field(default_factory=dict)
    definition: str = ""
    faults: Mapping[str, str] = dataclasses.field(default_factory=dict)
    without_arm: int = 0
    buckets: Moments | None = None
    values: Mapping[str, ValueCounts] = dataclasses.field(default_factory=dict)
    ages: Moments | None = None

    def __post_init__(self) -> None:
        shape = (len(self.cells), len(self.pairs))
        for name in ("n", "mean_x", "mean_y", "comoment"):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        for name in ("size", "n", "mean_x", "mean_y", "comoment"):
            getattr(self, name).flags.writeable = False

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for p in self.pairs for c in p))

    @property
    def units(self) -> int:
        """Units in all cells together."""
        return int(self.size.sum())

    def defined_columns(self) -> dict[str, Column]:
        """The columns as `definition` says them, by name."""
        said = json.loads(self.definition or "{}")
        found = {c: dict(said[c]) for c in self.columns if isinstance(said.get(c), dict)}
        caps = {c: Cap(**what.pop("cap")) for c, what in found.items() if "cap" in what}
        return {c: Column(name=c, cap=caps.get(c), **what) for c, what in found.items()}

    def levels(self, key: str) -> tuple[str, ...]:
        """The levels that `key` takes, sorted."""
        position = self._position(key)
        return tuple(sorted({cell[position] for cell in self.cells}))

    def pair(self, x: str, y: str | None = None) -> int:
        """The position of the pair (x, y), or of (x, x); KeyError where it was not reduced."""
        wanted = (x, x if y is None else y)
        if wanted not in self.pairs:
            raise KeyError(f"the reduction does not hold the pair {wanted}")
        return self.pairs.index(wanted)

    def mean(self, cell: int, column: str) -> float:
        """The mean of `column` over the units of the cell at position `cell` that have it."""
        return self.origin.get(column, 0.0) + float(self.mean_x[cell, self.pair(column)])

    def roll_up(self, *keys: str) -> Moments:
        """The margins over `keys`: cells that agree in all of them are combined."""
        positions = [self._position(k) for k in keys]
        labels = [tuple(cell[i] for i in positions) for cell in self.cells]
        alone: dict[str, Any] = {"buckets": None, "values": {}, "ages": None}
        return _combine(dataclasses.replace(self, keys=keys, cells=tuple(labels), **alone))

    def where(self, key: str, level: str) -> Moments:
        """The cells in which `key` is `level`."""
        position = self._position(key)
        kept = [i for i, cell in enumerate(self.cells) if cell[position] == level]
        return self._rows(kept)

    def until(self, key: str, level: str) -> Moments:
        """The cells in which `key` is at most `level`, in the order of text."""
        position = self._position(key)
        return self._rows([i for i, cell in enumerate(self.cells) if cell[position] <= level])

    def of_size(self, least: int) -> Moments:
        """The cells of `least` units or more, without the parts of the others."""
        alone: dict[str, Any] = {"buckets": None, "values": {}, "ages": None}
        kept = np.flatnonzero(self.size >= least).tolist()
        return dataclasses.replace(self._rows(kept), **alone)

    def cell(self, *levels: str) -> int | None:
        """The position of the cell with these levels, or None."""
        return self.cells.index(levels) if levels in self.cells else None

    def save(self, path: str | Path) -> None:
        """Write a Parquet file, and one for each part; `load` reads all back to the last bit."""
        import pyarrow as pa

        columns: dict[str, Any] = {
            f"key {k}": pa.array([c[i] for c in self.cells], pa.string())
            for i, k in enumerate(self.keys)
        }
        columns["size"] = self.size
        for name in ("n", "mean_x", "mean_y", "comoment"):
            flat = pa.array(np.ascontiguousarray(getattr(self, name)).ravel())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, max(len(self.pairs), 1))
        content = {
            "keys": self.keys,
            "pairs": self.pairs,
            "origin": dict(self.origin),
            "definition": self.definition,
            "faults": dict(self.faults),
            "without_arm": self.without_arm,
        }
        stored.write(path, "moments", columns, content)
        for part, held in (("buckets", self.buckets), ("ages", self.ages)):
            if held is not None:
                held.save(_beside(path, part))
        for name, counts in self.values.items():
            counts.save(_beside(path, f"values.{name}"))

    @classmethod
    def load(cls, path: str | Path) -> Moments:
        """Read what `save` wrote; DataError for any other file."""
        table, content = stored.read(path, "moments", "reduction")
        with stored.whole(path, "reduction"):
            found = cls._from(table, content)
            return dataclasses.replace(found, **cls._companions(path))

    @classmethod
    def _companions(cls, path: str | Path) -> dict[str, Any]:
        """The parts and the counts of values saved beside the reduction in `path`."""
        found: dict[str, Any] = {}
        for part in ("buckets", "ages"):
            if _beside(path, part).is_file():
                found[part] = cls.load(_beside(path, part))
        start, end = f"{Path(path).stem}.values.", Path(path).suffix
        files = sorted(Path(path).parent.glob(f"{glob.escape(start)}*{end}"))
        if files:
            from retention_lab.data.values import ValueCounts

            names = [f.name.removeprefix(start).removesuffix(end) for f in files]
            found["values"] = {n: ValueCounts.load(f) for n, f in zip(names, files, strict=True)}
        return found

    @classmethod
    def _from(cls, table: Any, content: Mapping[str, Any]) -> Moments:
        keys = tuple(content["keys"])
        pairs = tuple((x, y) for x, y in content["pairs"])

        def matrix(name: str) -> Any:
            flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return flat.reshape(table.num_rows, len(pairs)).copy()

        return cls(
            keys=keys,
            pairs=pairs,
            cells=tuple(zip(*(table[f"key {k}"].to_pylist() for k in keys), strict=True)),
            size=table["size"].to_numpy().copy(),
            n=matrix("n"),
            mean_x=matrix("mean_x"),
            mean_y=matrix("mean_y"),
            comoment=matrix("comoment"),
            origin=content["origin"],
            definition=content["definition"],
            faults=content["faults"],
            without_arm=content["without_arm"],
        )

    def _position(self, key: str) -> int:
        if key not in self.keys:
            hint = did_you_mean(key, self.keys)
            raise KeyError(f"the reduction is not split by {key!r}{hint}")
        return self.keys.index(key)

    def _rows(self, rows: Sequence[int]) -> Moments:
        index = np.asarray(rows, dtype=np.intp)
        arrays: dict[str, Any] = {k: getattr(self, k)[index] for k in _ARRAYS}
        return dataclasses.replace(self, cells=tuple(self.cells[i] for i in rows), **arrays)

    def __repr__(self) -> str:
        return (
            f"Moments({self.units:,} units in {len(self.cells):,} cells of "
            f"{' x '.join(self.keys)}; {len(self.pairs)} pairs of {len(self.columns)} columns)"
        )


def _beside(path: str | Path, what: str) -> Path:
    """The file beside the reduction in `path` that holds a part of it."""
    path = Path(path)
    return path.with_name(f"{path.stem}.{what}{path.suffix}")


_ARRAYS = ("size", "n", "mean_x", "mean_y", "comoment")


def merge(*parts: Moments) -> Moments:
    """The reduction of all rows behind `parts` together, in any order and grouping.

    Raises DataError where the parts do not hold the same columns, defined in the same way.
    """
    if not parts:
        raise DataError("there is nothing to merge")
    return fold(_merge_two, parts)


def differing_covariates(a: Moments, b: Moments) -> str | None:
    """What differs in the covariates of two reductions, and how to mend it; None if nothing."""
    try:
        one, two = a.defined_columns(), b.defined_columns()
    except ValueError:  # a definition that is no JSON
        return None
    differ = {
        c.of
        for name in one | two
        for c in (one.get(name), two.get(name))
        if c is not None and c.of is not None and not c.before and one.get(name) != two.get(name)
    }
    if not differ or a.keys != b.keys:
        return None
    names = ", ".join(repr(name) for name in sorted(differ))
    return (
        f"the levels, or missing values, of covariate {names} differ between the parts: write them "
        "in the section covariates of the file from which each part is reduced (levels, or fill)"
    )


def _merge_two(a: Moments, b: Moments) -> Moments:
    uneven = differing_covariates(a, b)
    if uneven:
        raise DataError(f"two reductions cannot be merged: {uneven}")
    if a.keys != b.keys or a.pairs != b.pairs:
        raise DataError("two reductions of different columns or splits cannot be merged")
    if a.definition != b.definition:
        raise DataError(f"two reductions differ in definition: {_differences(a, b)}")
    b = _moved(b, a.origin)
    joined: dict[str, Any] = {k: np.concatenate([getattr(a, k), getattr(b, k)]) for k in _ARRAYS}
    joined["faults"] = {**a.faults, **b.faults}
    joined["without_arm"] = a.without_arm + b.without_arm
    if a.values:
        from retention_lab.data.values import merge as merge_values

        if set(a.values) != set(b.values):
            raise DataError("two reductions of different quantiles cannot be merged")
        joined["values"] = {c: merge_values(a.values[c], b.values[c]) for c in a.values}
    joined["buckets"] = merge(a.buckets, b.buckets) if a.buckets and b.buckets else None
    joined["ages"] = None
    if a.ages and b.ages and (a.ages.pairs, a.ages.definition) == (b.ages.pairs, b.ages.definition):
        joined["ages"] = merge(a.ages, b.ages)
    return _combine(dataclasses.replace(a, cells=a.cells + b.cells, **joined))


def _moved(m: Moments, origin: Mapping[str, float]) -> Moments:
    """The same moments with means counted from `origin`."""
    by = {c: m.origin.get(c, 0.0) - origin.get(c, 0.0) for c in m.columns}
    some = m.n > 0
    return dataclasses.replace(
        m,
        mean_x=m.mean_x + some * np.array([by[x] for x, _ in m.pairs]),
        mean_y=m.mean_y + some * np.array([by[y] for _, y in m.pairs]),
        origin=origin,
    )


def _differences(a: Moments, b: Moments) -> str:
    try:
        one, two = json.loads(a.definition), json.loads(b.definition)
    except ValueError:
        return f"{a.definition!r} and {b.definition!r}"
    keys = sorted(k for k in {*one, *two} if one.get(k) != two.get(k))
    return "; ".join(f"{k}: {one.get(k)} and {two.get(k)}" for k in keys)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite stays so, and is seen later
def _combine(m: Moments) -> Moments:
    """Combine cells of the same levels; the result's cells are sorted."""
    cells = tuple(sorted(set(m.cells)))
    place: Mapping[tuple[str, ...], int] = {c: i for i, c in enumerate(cells)}
    to = np.fromiter((place[c] for c in m.cells), dtype=np.intp, count=len(m.cells))

    def added(values: Any, dtype: Any) -> Any:
        out = np.zeros((len(cells), *values.shape[1:]), dtype=dtype)
        np.add.at(out, to, values)
        return out

    n = added(m.n, np.int64)
    weight = m.n / np.where(n == 0, 1, n)[to]
    means, offs = {}, {}
    rows, pairs = (at[::-1] for at in np.nonzero(m.n))  # backwards: the first is written last
    for name in ("mean_x", "mean_y"):
        # Around the first mean of each new cell: differences of means keep more digits.
        first = np.zeros(n.shape)
        first[to[rows], pairs] = getattr(m, name)[rows, pairs]
        values = (getattr(m, name) - first[to]) * (m.n > 0)
        beyond = added(weight * values, np.float64)
        means[name] = first + beyond
        offs[name] = (values - beyond[to]) * (m.n > 0)
    between = added(m.n * offs["mean_x"] * offs["mean_y"], np.float64)
    return dataclasses.replace(
        m,
        cells=cells,
        size=added(m.size, np.int64),
        n=n,
        mean_x=means["mean_x"],
        mean_y=means["mean_y"],
        comoment=added(m.comoment, np.float64) + between,
    )
