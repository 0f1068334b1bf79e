"""A covariance matrix, perhaps singular, in; its pseudo-inverse and rank out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FLAT = 1e-10  # eigenvalue of a correlation matrix below which a direction counts as constant
EPS = float(np.finfo(np.float64).eps)


def pseudo_inverse(square: Floats, size: Sequence[float]) -> tuple[Floats, int]:
    """The pseudo-inverse of the covariance matrix `square` (k x k), and its rank.

    `size` (k) holds the variables' magnitudes: what varies less than doubles of that size can hold
    apart counts as constant. The cut is on the correlation matrix, so that units do not matter.
    """
    spread = np.sqrt(np.diag(square))
    varies = np.isfinite(spread) & (spread > 4 * EPS * np.asarray(size))
    scale = np.where(varies, spread, 1.0)
    inside = np.outer(varies, varies) & np.isfinite(square)
    correlation = np.where(inside, square / np.outer(scale, scale), 0.0)
    values, vectors = np.linalg.eigh(correlation)
    kept = values > FLAT * max(len(spread), 1)
    parts = vectors[:, kept] / values[kept] @ vectors[:, kept].T
    return np.asarray(parts / np.outer(scale, scale)), int(kept.sum())
