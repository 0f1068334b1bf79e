"""Rows of units in; their moments by arm (and cluster) out, worked out the plain way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from retention_lab.data.moments import Moments


def moments_of(
    levels: Mapping[str, Sequence], columns: Mapping[str, Sequence[float]], shift: float = 0.0
) -> Moments:
    """Moments of all pairs of `columns` in the cells of `levels`, with `shift` as their origin."""
    keys = tuple(levels)
    names = tuple(columns)
    rows = {k: np.asarray(v) for k, v in levels.items()}
    values = {c: np.asarray(v, float) - shift for c, v in columns.items()}
    pairs = tuple((a, b) for i, a in enumerate(names) for b in names[: i + 1])
    labels = list(zip(*(rows[k].tolist() for k in keys), strict=True))
    cells = tuple(sorted(set(labels)))
    shape = (len(cells), len(pairs))
    n, x, y, both = (np.zeros(shape) for _ in range(4))
    for i, cell in enumerate(cells):
        mine = np.array([label == cell for label in labels])
        for j, (a, b) in enumerate(pairs):
            u, v = values[a][mine], values[b][mine]
            n[i, j], x[i, j], y[i, j] = len(u), u.mean(), v.mean()
            both[i, j] = ((u - u.mean()) * (v - v.mean())).sum()
    size = n[:, 0].astype(np.int64)
    origin = dict.fromkeys(names, shift)
    return Moments(keys, pairs, cells, size, n.astype(np.int64), x, y, both, origin)
