"""Covariates and the information about them in; which columns have to go, and why, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import linalg

Floats = npt.NDArray[np.float64]
ALMOST = 1e-10  # the share of a column's information that is left when others have explained it

CONSTANT = "constant: every row has the same value"
NOT_AT_RISK = "constant_at_risk: it does not differ among those at risk at any event time"
COLLINEAR = "collinear: it is a combination of {}"


def constants(x: Floats) -> list[int]:
    """The positions of the columns of `x` [R, K] with one value only."""
    if not len(x):
        return list(range(x.shape[1]))
    return np.flatnonzero(x.min(axis=0) == x.max(axis=0)).tolist()


def redundant(information: Floats, total: Floats, names: Sequence[str]) -> dict[int, str]:
    """Columns that nothing can be said about given those before them, with the reason.

    `information` is [K, K] at coefficients 0, `total` [K] the same diagonal if nothing were
    explained by risk sets: the number of events for columns of variance 1. A column goes where less
    than `ALMOST` of its information is left by the columns before it, as in a Cholesky
    decomposition in the order given.
    """
    found: dict[int, str] = {}
    kept: list[int] = []
    root = np.zeros((len(information), len(information)))  # of those kept, with diagonal 1
    for i in range(len(information)):
        own = information[i, i]
        if not own > ALMOST * total[i]:
            found[i] = NOT_AT_RISK
            continue
        k = len(kept)
        scale = np.sqrt(np.diag(information)[kept])
        cross = information[kept, i] / scale / np.sqrt(own)
        row = linalg.solve_triangular(root[:k, :k], cross, lower=True)
        left = 1.0 - float(row @ row)
        if not left > ALMOST:
            share = linalg.solve_triangular(root[:k, :k], row, lower=True, trans="T")
            others = [names[j] for j, s in zip(kept, share, strict=True) if abs(s) > 1e-5]
            found[i] = COLLINEAR.format(", ".join(map(repr, others)))
            continue
        root[k, :k], root[k, k] = row, np.sqrt(left)
        kept.append(i)
    return found
