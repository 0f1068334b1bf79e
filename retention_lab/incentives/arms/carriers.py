"""Means and spreads of an outcome in two arms in; whether a few units carry one of them, out.

An interval of means takes them for normal. They are not where a handful of buyers makes the sum; of
two arms that are alike the skewness cancels, of one that makes all the error it does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEW = 5.0  # units in effect, below which an arm's mean is far from normal
ALONE, FEW_ALONE = 0.75, 25.0  # share of the variance of the difference, and as few units


def effective(n: float, mean: float, variance: float) -> float:
    """Units that carry a mean: n mean^2 / mean of squares; of shares, how many it happened to."""
    square = mean * mean + variance
    return n * mean * mean / square if square > 0.0 else 0.0


def few_carry(units: Sequence[float], error: Sequence[float]) -> bool:
    """Whether one of two arms with so many `units` in effect, and squared `error`s, has too few."""
    total = sum(error)
    return any(
        n < FEW or (n < FEW_ALONE and v > ALONE * total) for n, v in zip(units, error, strict=True)
    )


def few_carry_values(arms: Sequence[Floats]) -> bool:
    """The same of the values of two arms; False where values may be negative.

    Of what happened to most (0 or 1), those count to whom it did not happen.
    """
    both = np.concatenate(arms)
    if not len(both) or not min(map(len, arms)) or both.min() < 0.0:
        return False
    often = bool(np.isin(both, (0.0, 1.0)).all()) and both.mean() > 0.5
    values = [1.0 - y if often else y for y in arms]
    units = [effective(len(y), float(y.mean()), float(y.var())) for y in values]
    return few_carry(units, [float(y.var()) / len(y) for y in values])
