"""The units of one side in; means of their outcome in bins, for the eye, out."""

from __future__ import annotations

import dataclasses

import numpy as np

from retention_lab.incentives.threshold.local import Side

MOST = 20  # bins a side


@dataclasses.dataclass(frozen=True, slots=True)
class Bin:
    """The mean outcome of `n` units, its standard error, and their mean distance `u`."""

    u: float
    mean: float
    error: float
    n: int


def binned(side: Side, least: int, most: int = MOST) -> list[Bin]:
    """Bins of about as many units each (quantile-spaced), none with fewer than `least`.

    Units with one value of the running variable stay in one bin. At most `most` bins; none where
    the side has fewer than `least` units.
    """
    n = len(side)
    least = max(least, 2)
    if n < least:
        return []
    count = max(min(most, n // least), 1)
    first = np.searchsorted(side.u, side.u, side="left")
    label = first * count // n
    starts = np.flatnonzero(np.r_[True, np.diff(label) != 0])
    kept = [0]
    for start in starts[1:]:
        if start - kept[-1] >= least:
            kept.append(int(start))
    if len(kept) > 1 and n - kept[-1] < least:
        kept.pop()
    ends = [*kept[1:], n]
    return [_bin(side, a, z) for a, z in zip(kept, ends, strict=True)]


def _bin(side: Side, a: int, z: int) -> Bin:
    y = side.y[a:z]
    error = float(np.std(y, ddof=1) / np.sqrt(len(y)))
    return Bin(float(side.u[a:z].mean()), float(y.mean()), error, len(y))
