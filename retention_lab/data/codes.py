"""Columns of levels, times and causes in; dense codes, sorted groups and their sums out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]
Coded = tuple[Places, int]  # codes 0 .. size - 1, and that size
LARGEST = 2**62
DENSE = 4  # slots a row, up to which groups are counted in a table instead of sorted


def kind_of(levels: npt.NDArray[Any]) -> str:
    """ "number" or "text"."""
    return "number" if levels.dtype.kind == "f" else "text"


def column_of(values: Any) -> Any:
    """Levels as `codes_of` takes them: text in Arrow's format as it is, all else as numpy."""
    if str(getattr(values, "type", None)) in ("string", "large_string"):
        return values.combine_chunks() if hasattr(values, "combine_chunks") else values
    return np.asarray(values)


def codes_of(values: Any) -> tuple[Places, npt.NDArray[Any]]:
    """Dense codes of `values` in the order of the sorted levels, and these levels.

    `values` is a numpy array, or text in Arrow's format, which needs no Python object a row.
    Numbers and booleans become float64, everything else text (object); a missing level (nan, None)
    is one level of its own and comes last.
    """
    if not isinstance(values, np.ndarray):
        return _codes_of_text(values)
    if values.dtype.kind in "biuf":
        return _codes_of_numbers(values.astype(np.float64) + 0.0)
    import pyarrow as pa

    try:
        known = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        known = None
    if known is not None and (pa.types.is_floating(known.type) or pa.types.is_integer(known.type)):
        return _codes_of_numbers(known.to_numpy(zero_copy_only=False).astype(np.float64) + 0.0)
    if known is None or not pa.types.is_string(known.type):
        texts = [None if v is None or v != v else str(v) for v in values.tolist()]
        known = pa.array(texts, pa.string())
    return _codes_of_text(known)


def _codes_of_text(known: Any) -> tuple[Places, npt.NDArray[Any]]:
    coded = known.dictionary_encode()
    found: list[str | None] = coded.dictionary.to_pylist()
    order = sorted(range(len(found)), key=lambda i: str(found[i]))
    rank = np.empty(len(found) + 1, np.intp)
    rank[order] = np.arange(len(found))
    rank[-1] = len(found)
    codes = rank[coded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)]
    levels = [found[i] for i in order] + ([None] if known.null_count else [])
    return codes, _objects(levels)


def times_of(values: npt.NDArray[np.float64]) -> tuple[Places, npt.NDArray[np.float64]]:
    """Codes of times and the sorted times; whole ones in a narrow range need no sort.

    A whole time between the least and the largest may have a code that no row has.
    """
    if len(values) == 0:
        return np.zeros(0, np.intp), values
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(len(values), np.intp), np.array([low])
    if math.isfinite(low) and low == math.floor(low) and high - low <= DENSE * len(values) + 1000:
        codes = (values - low).astype(np.intp)
        if np.array_equal(codes + low, values):
            return codes, np.asarray(low + np.arange(int(high - low) + 1), np.float64)
    levels, codes = np.unique(values, return_inverse=True)
    return codes, np.asarray(levels, np.float64)


def distinct(columns: Mapping[str, Any], rows: int) -> tuple[Places, dict[str, npt.NDArray[Any]]]:
    """The cell of each row, and by column the levels of the sorted cells."""
    coded = {name: codes_of(values) for name, values in columns.items()}
    if not coded:
        return np.zeros(rows, np.intp), {}
    key, size = joint([(c, len(levels)) for c, levels in coded.values()])
    first = np.full(size, -1, np.intp) if size <= DENSE * rows + 1000 else None
    if first is None:
        _, found, cell = np.unique(key, return_index=True, return_inverse=True)
    else:
        first[key[::-1]] = np.arange(rows)[::-1]
        seen = first >= 0
        cell, found = (np.cumsum(seen) - 1)[key], first[seen]
    return cell, {name: levels[codes[found]] for name, (codes, levels) in coded.items()}


def tally(
    columns: Sequence[Coded], n: npt.NDArray[np.int64]
) -> tuple[list[Places], npt.NDArray[np.int64]]:
    """The sums of `n` by group: the groups' codes in each column, sorted, and the sums."""
    sizes = tuple(max(size, 1) for _, size in columns)
    rows = len(n)
    if math.prod(sizes) <= DENSE * rows + 1000:
        key, size = joint(columns)
        summed = np.bincount(key, minlength=size) if np.all(n == 1) else _sums(key, n, size)
        groups = np.flatnonzero(summed)
        return list(np.unravel_index(groups, sizes)), summed[groups]
    key, _ = joint(columns)
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    begin = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    first = order[begin]
    return [codes[first] for codes, _ in columns], np.add.reduceat(n[order], begin)


def joint(columns: Sequence[Coded]) -> Coded:
    """One code for all columns together, in the order of the first, then the second ..."""
    key, size = columns[0]
    for codes, more in columns[1:]:
        if size * more > LARGEST:
            found, key = np.unique(key, return_inverse=True)
            size = len(found)
        key, size = key * more + codes, size * more
    return key, size


def _sums(key: Places, n: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    summed = np.zeros(size, np.int64)
    np.add.at(summed, key, n)
    return summed


def _codes_of_numbers(values: npt.NDArray[np.float64]) -> tuple[Places, npt.NDArray[Any]]:
    codes, levels = times_of(values)
    used = np.zeros(len(levels), bool)
    used[codes] = True
    return (np.cumsum(used) - 1)[codes], levels[used]


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(values), object)
    out[:] = values
    return out
