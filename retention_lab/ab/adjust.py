"""Moments of two arms with their covariates in; their levels, adjusted to the same covariates, out.

Source: Lin (2013), "Agnostic notes on regression adjustments to experimental data", Annals of
Applied Statistics 7(1), 295-318: a regression in each arm, both read at the mean of the covariates
over the two arms. A ratio is adjusted through its linearisation (Y - R D) / mean(D).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from retention_lab.ab.estimate import EPS, Level, Shared
from retention_lab.algebra import pseudo_inverse
from retention_lab.data.moments import Floats, Moments

LEAST = 5  # units for each covariate, and as many more, below which an arm is not adjusted
TOO_MANY = f"not_adjusted: an arm has fewer than {LEAST} units for each covariate"
NOTHING_EXPLAINED = "not_adjusted: no covariate varies"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """One arm's regression on k covariates, from its moments.

    `slope` (k) and `centre` (k, the covariates' means); `covariance` (k x k, of the covariates);
    `residual` is the variance of a unit about the line, with `df` degrees of freedom.
    """

    n: int
    slope: Floats
    centre: Floats
    covariance: Floats
    inverse: Floats
    residual: float
    df: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """Arms' levels at the same covariates.

    `slopes` (k each) and `spread` (k x k, the covariance of the covariates' common mean) say what
    the arms share: that mean is one of a sample.
    """

    levels: tuple[Level, ...]
    slopes: tuple[Floats, ...]
    spread: Floats

    def shared(self, arm: int, base: int) -> Shared:
        """What the levels at positions `arm` and `base` share."""
        a, b = self.slopes[arm], self.slopes[base]
        apart = a - b
        return Shared(
            *(float(x @ self.spread @ y) for x, y in ((a, a), (b, b), (a, b), (apart, apart)))
        )

    def variance(self, weights: Sequence[float]) -> float:
        """What the common mean adds to the variance of a contrast of the levels."""
        slope = np.asarray(weights) @ np.stack(self.slopes)
        return float(slope @ self.spread @ slope)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is left out below
def adjust(
    m: Moments,
    cells: Sequence[int],
    levels: Sequence[Level],
    numerator: str,
    denominator: str | None,
    covariates: Sequence[str],
) -> Adjusted | str:
    """The `levels` of the cells at positions `cells`, moved to their common covariates.

    A text where there is nothing to adjust with, or too few units. The covariates' means are those
    of a sample, which matters where slopes differ: Negi and Wooldridge (2021), "Revisiting
    regression adjustment in experiments with heterogeneous treatment effects", Econometric
    Reviews 40(5), 504-534.
    """
    if any(level.n < LEAST * (len(covariates) + 1) for level in levels):
        return TOO_MANY
    found = [
        _regression(m, cell, level, numerator, denominator, covariates)
        for cell, level in zip(cells, levels, strict=True)
    ]
    if not any(r.slope.any() for r in found):
        return NOTHING_EXPLAINED
    total = sum(r.n for r in found)
    centre = found[-1].centre + sum(r.n / total * (r.centre - found[-1].centre) for r in found)
    pooled = sum(
        r.n / total * (r.covariance + np.outer(r.centre - centre, r.centre - centre)) for r in found
    )
    moved = tuple(
        _moved(level, r, r.centre - centre) for level, r in zip(levels, found, strict=True)
    )
    if not all(math.isfinite(level.variance) for level in moved):
        return NOTHING_EXPLAINED
    spread = np.where(np.isfinite(pooled), pooled / total, 0.0)  # else the slope is 0
    return Adjusted(moved, tuple(r.slope for r in found), spread)


def _moved(level: Level, found: Regression, distance: Floats) -> Level:
    """The level at covariates that lie `distance` below the arm's own mean."""
    step = float(found.slope @ distance)
    about = float(distance @ found.inverse @ distance) / (found.n - 1)
    variance = found.residual * (1.0 / found.n + about)
    offset = None if level.offset is None else level.offset - step
    at = level.estimate - step
    return dataclasses.replace(level, estimate=at, variance=variance, offset=offset, df=found.df)


def _regression(
    m: Moments,
    cell: int,
    level: Level,
    numerator: str,
    denominator: str | None,
    covariates: Sequence[str],
) -> Regression:
    n = level.n
    k = len(covariates)
    square = np.empty((k, k))
    for i, x in enumerate(covariates):
        for j, y in enumerate(covariates[: i + 1]):
            square[i, j] = square[j, i] = float(m.comoment[cell, m.pair(x, y)]) / (n - 1)
    centre = np.array([m.mean_x[cell, m.pair(x)] for x in covariates])
    cross = _cross(m, cell, level, numerator, denominator, covariates) / (n - 1)
    inverse, rank = pseudo_inverse(square, [abs(m.mean(cell, x)) for x in covariates])
    slope = inverse @ cross
    explained = float(cross @ slope)
    left = max(level.variance * n - explained, 0.0)
    if left <= 16 * EPS * level.variance * n:  # a metric that is its covariate, to the last digits
        left = 0.0
    free = max(n - 1 - rank, 1)
    df = max(level.freedom - rank, 1.0)
    return Regression(n, slope, centre, square, inverse, left * (n - 1) / free, df)


def _cross(
    m: Moments,
    cell: int,
    level: Level,
    numerator: str,
    denominator: str | None,
    covariates: Sequence[str],
) -> Floats:
    """Co-moments of the (linearised) outcome with each covariate."""
    with_y = np.array([m.comoment[cell, m.pair(numerator, x)] for x in covariates])
    if denominator is None:
        return with_y
    with_d = np.array([m.comoment[cell, m.pair(denominator, x)] for x in covariates])
    return np.asarray((with_y - level.estimate * with_d) / m.mean(cell, denominator))
