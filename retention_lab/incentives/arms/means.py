"""Moments of two arms in; several columns' means, their differences and errors, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from retention_lab.algebra import pseudo_inverse
from retention_lab.clusters import THIN, UNLIKE, thin, unlike
from retention_lab.data.moments import Floats, Moments

LEAST_UNITS, LEAST_CLUSTERS = 30, 6  # of an arm, below which there is no interval
TOO_FEW = (
    f"too_few_units: an arm has fewer than {LEAST_UNITS} units (or {LEAST_CLUSTERS} clusters), too "
    "few for an interval"
)
FLAT = "zero_variance: nothing varies in these arms, so there is no error to compare with"
LEAST = 5  # units for each covariate, and as many more, below which an arm is not adjusted


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Means:
    """The means of k columns in one arm: `mean` (k), `covariance` (k x k, of the means), `n` units.

    `n` counts clusters where clusters were randomised, whose units are `sizes` (n); `units` are
    always units.
    """

    mean: Floats
    covariance: Floats
    n: int
    units: int
    sizes: Floats | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """An arm against a base, for k columns: both, and what their adjusted means share.

    `shared_arm`, `shared_base` and `shared_both` (k x k) are the parts of the covariances of the
    two means, and between them, that come from the covariates' common mean; 0 without covariates.
    """

    arm: Means
    base: Means
    shared_arm: Floats
    shared_base: Floats
    shared_both: Floats
    groups: float | None = None  # clusters, in effect, of both arms' units, where there are any

    @property
    def df(self) -> float:
        """Degrees of freedom of the errors: those of whole clusters; infinite for units."""
        if self.groups is not None:
            return max(self.groups - 1.0, 1.0)
        whole = self.arm.n == self.arm.units and self.base.n == self.base.units
        return math.inf if whole else max(self.arm.n + self.base.n - 2.0, 1.0)

    @property
    def small(self) -> bool:
        """Whether an arm is too small for an interval: under 30 units, or 6 clusters."""
        if self.groups is not None and self.groups < LEAST_CLUSTERS:
            return True
        return any(m.n < (LEAST_UNITS if m.n == m.units else LEAST_CLUSTERS)
                   for m in (self.arm, self.base))  # fmt: skip

    @property
    def doubt(self) -> str | None:
        """Why there is no interval: an arm is small, or its clusters are too few or unlike."""
        if self.small:
            return TOO_FEW
        arm, base = self.arm.sizes, self.base.sizes
        if arm is None or base is None:
            return None
        if thin(arm) or thin(base):
            return THIN
        return UNLIKE if unlike(arm, base) or unlike(base, arm) else None

    @property
    def difference(self) -> Floats:
        """Arm less base, by column (k)."""
        return np.asarray(self.arm.mean - self.base.mean)

    @property
    def covariance(self) -> Floats:
        """Covariance of the differences (k x k)."""
        own = self.arm.covariance + self.base.covariance + self.shared_arm + self.shared_base
        return np.asarray(own - self.shared_both - self.shared_both.T)

    def joint(self) -> tuple[Floats, Floats]:
        """The 2k means, the arm's first, and their covariance (2k x 2k)."""
        top = self.arm.covariance + self.shared_arm
        low = self.base.covariance + self.shared_base
        whole = np.block([[top, self.shared_both], [self.shared_both.T, low]])
        return np.concatenate([self.arm.mean, self.base.mean]), whole


def means_of(m: Moments, cell: int, columns: Sequence[str]) -> Means:
    """Means of `columns` in the cell at position `cell` of `m`; covariance s_xy / n.

    Raises ValueError where a pair was not reduced, or the pairs rest on different units.
    """
    k = len(columns)
    n = _units(m, cell, columns)
    mean = np.array([m.mean(cell, c) for c in columns])
    square = np.full((k, k), math.nan)
    if n > 1:
        for i, x in enumerate(columns):
            for j, y in enumerate(columns[: i + 1]):
                square[i, j] = square[j, i] = m.comoment[cell, _pair(m, x, y)] / (n - 1)
    return Means(mean, square / max(n, 1), n, n)


def clustered_means(m: Moments, cells: Sequence[int], columns: Sequence[str]) -> Means:
    """The same where whole clusters were randomised; `cells` are the arm's clusters.

    Each mean is a ratio of sums over clusters, with the jackknife's covariance over clusters:
    pseudo-values -(Y_g - R N_g) / (N - N_g), MacKinnon, Nielsen and Webb (2023), "Fast and reliable
    jackknife and bootstrap methods for cluster-robust inference", Journal of Applied Econometrics
    38(5), 671-694 (CV3).
    """
    size = np.array([_units(m, c, columns) for c in cells], dtype=np.float64)
    kept = [c for c, n in zip(cells, size, strict=True) if n > 0]
    size = size[size > 0]
    groups, total = len(kept), float(size.sum())
    k = len(columns)
    if groups == 0:
        return Means(np.full(k, math.nan), np.full((k, k), math.nan), 0, 0)
    local = np.array([[m.mean_x[c, m.pair(x)] for x in columns] for c in kept])
    mean = size @ local / total
    origin = np.array([m.origin.get(c, 0.0) for c in columns])
    if groups < 2:
        return Means(mean + origin, np.full((k, k), math.nan), groups, int(total))
    error = (size[:, None] * (local - mean)) / (total - size)[:, None]
    covariance = (groups - 1) / groups * (error.T @ error)
    return Means(mean + origin, covariance, groups, int(total), size)


def contrast(
    m: Moments, arm: int, base: int, columns: Sequence[str], covariates: Sequence[str] = ()
) -> Contrast:
    """The cell at position `arm` against that at `base`, adjusted where `covariates` are given.

    The adjustment is a regression of every column in each arm, both read at the covariates' mean
    over the two (Lin 2013, Annals of Applied Statistics 7(1), 295-318; that this mean is one of a
    sample: Negi and Wooldridge 2021, Econometric Reviews 40(5), 504-534). With fewer than five
    units for each covariate, and as many more, there is no adjustment.
    """
    pair = means_of(m, arm, columns), means_of(m, base, columns)
    zero = np.zeros((len(columns), len(columns)))
    if not covariates or any(p.n < LEAST * (len(covariates) + 1) for p in pair):
        return Contrast(*pair, zero, zero, zero)
    cells = (arm, base)
    centres = [np.array([m.mean_x[c, m.pair(x)] for x in covariates]) for c in cells]
    squares = [_square(m, c, covariates, p.n) for c, p in zip(cells, pair, strict=True)]
    total = pair[0].n + pair[1].n
    share = [p.n / total for p in pair]
    centre = share[0] * centres[0] + share[1] * centres[1]
    spread = sum(
        (
            w * (s + np.outer(c - centre, c - centre))
            for w, s, c in zip(share, squares, centres, strict=True)
        ),
        start=np.zeros_like(squares[0]),
    )
    moved, slopes = [], []
    for cell, p, own, square in zip(cells, pair, centres, squares, strict=True):
        inverse, rank = pseudo_inverse(square, [abs(m.mean(cell, x)) for x in covariates])
        cross = np.array(
            [[m.comoment[cell, _pair(m, y, x)] for y in columns] for x in covariates]
        ) / (p.n - 1)
        slope = inverse @ cross
        left = (p.covariance * p.n - cross.T @ slope) * (p.n - 1) / max(p.n - 1 - rank, 1)
        step = own - centre
        about = float(step @ inverse @ step) / (p.n - 1)
        moved.append(Means(p.mean - step @ slope, left * (1 / p.n + about), p.n, p.units))
        slopes.append(slope)
    a, b = slopes
    own, theirs, both = (np.asarray(x.T @ spread @ y / total) for x, y in ((a, a), (b, b), (a, b)))
    return Contrast(moved[0], moved[1], own, theirs, both)


def _units(m: Moments, cell: int, columns: Sequence[str]) -> int:
    counts = {int(m.n[cell, _pair(m, x, y)]) for x in columns for y in columns}
    if len(counts) > 1:
        raise ValueError(f"{', '.join(columns)} are not known for the same units")
    return counts.pop()


def _pair(m: Moments, x: str, y: str) -> int:
    """The position of the pair in either order."""
    if (x, y) in m.pairs:
        return m.pairs.index((x, y))
    if (y, x) in m.pairs:
        return m.pairs.index((y, x))
    raise ValueError(f"the reduction does not hold the pair ({x}, {y})")


def _square(m: Moments, cell: int, covariates: Sequence[str], n: int) -> Floats:
    found = [[m.comoment[cell, _pair(m, x, z)] for z in covariates] for x in covariates]
    return np.asarray(found) / (n - 1)
