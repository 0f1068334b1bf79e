"""Means of an outcome at several doses in; the response to the dose, and the best dose, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from retention_lab.data.moments import Floats
from retention_lab.incentives.arms.fieller import critical

DRAWS = 4_000
GRID = 101
Basis = Callable[[Floats], Floats]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Units that share a dose (and a cluster): `dose`, `n`, `mean` of the outcome, and `spread`.

    All have shape (C); `spread` is the sum of squares about the cell's mean. `cluster` (C) says
    which cells belong together where units are not independent.
    """

    dose: Floats
    n: Floats
    mean: Floats
    spread: Floats
    cluster: Floats | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A regression on a basis of the dose: `coefficients` (k) and their `covariance` (k x k)."""

    basis: Basis
    coefficients: Floats
    covariance: Floats

    def at(self, dose: Sequence[float] | Floats, alpha: float = 0.05) -> Floats:
        """Fitted values at doses, as rows (value, standard error, low, high)."""
        return self._read(self.basis(np.asarray(dose, dtype=np.float64)), alpha)

    def effect(self, dose: Sequence[float] | Floats, base: float, alpha: float = 0.05) -> Floats:
        """Fitted value at doses less that at `base`, as rows (value, error, low, high)."""
        moved = self.basis(np.asarray(dose, dtype=np.float64)) - self.basis(np.array([base]))
        return self._read(moved, alpha)

    def slope(self, dose: Sequence[float] | Floats, alpha: float = 0.05) -> Floats:
        """Change of the fitted value per unit of the dose, as rows (value, error, low, high)."""
        x = np.asarray(dose, dtype=np.float64)
        # Of the doses' own size, whatever they are counted in.
        step = 1e-5 * (float(np.ptp(x)) or float(np.abs(x).max(initial=0.0)) or 1.0)
        return self._read((self.basis(x + step) - self.basis(x - step)) / (2.0 * step), alpha)

    def _read(self, x: Floats, alpha: float) -> Floats:
        value = x @ self.coefficients
        error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", x, self.covariance, x), 0.0))
        half = critical(alpha) * error
        return np.column_stack([value, error, value - half, value + half])


def linear(dose: Floats) -> Floats:
    """Basis 1, dose."""
    return np.column_stack([np.ones_like(dose), dose])


def spline(knots: Sequence[float]) -> Basis:
    """Basis of the natural cubic spline with `knots` (three or more), linear beyond the outer ones.

    Source: Harrell (2015), Regression Modeling Strategies, 2nd edition, section 2.4.5.
    """
    t = np.asarray(sorted(knots), dtype=np.float64)
    if len(t) < 3:
        raise ValueError("a natural cubic spline needs three knots")

    def basis(dose: Floats) -> Floats:
        def cube(x: Floats) -> Floats:
            return np.asarray(np.maximum(x, 0.0) ** 3)

        scale = (t[-1] - t[0]) ** 2
        width = t[-1] - t[-2]
        columns = [np.ones_like(dose), dose]
        for j in range(len(t) - 2):
            part = cube(dose - t[j])
            part = part - cube(dose - t[-2]) * (t[-1] - t[j]) / width
            part = part + cube(dose - t[-1]) * (t[-2] - t[j]) / width
            columns.append(part / scale)
        return np.column_stack(columns)

    return basis


def fit(cells: Cells, basis: Basis) -> Fit:
    """Least squares over units, from cells: every unit of a cell has the same dose.

    The covariance is robust to unequal variances (HC2: every squared residual over 1 - leverage;
    with a parameter for each dose it is that of the means), or clustered where the cells say so
    (CR1, G / (G - 1) (n - 1) / (n - k)). The squared residuals of a cell add up to its `spread`
    and n times the square of what its mean lies off the line.
    Source: MacKinnon and White (1985), Journal of Econometrics 29(3), 305-325; Wooldridge (2010),
    Econometric Analysis of Cross Section and Panel Data, section 20.3.
    Raises ValueError where there are fewer doses than columns of the basis.
    """
    x = basis(cells.dose)
    k, n = x.shape[1], float(cells.n.sum())
    if len(np.unique(cells.dose[cells.n > 0])) < k:
        raise ValueError("there are fewer doses than the response has parameters")
    bread = np.linalg.inv((x * cells.n[:, None]).T @ x)
    coefficients = bread @ (x.T @ (cells.n * cells.mean))
    off = cells.mean - x @ coefficients
    if cells.cluster is None:
        leverage = np.minimum(np.einsum("ij,jk,ik->i", x, bread, x), 1.0 - 1e-9)
        squares = (cells.spread + cells.n * off * off) / (1.0 - leverage)
        middle, scale = (x * squares[:, None]).T @ x, 1.0
    else:
        which, place = np.unique(cells.cluster, return_inverse=True)
        score = np.zeros((len(which), k))
        np.add.at(score, place, x * (cells.n * off)[:, None])
        middle = score.T @ score
        groups = len(which)
        scale = groups / (groups - 1) * (n - 1) / (n - k)
    return Fit(basis, np.asarray(coefficients), np.asarray(scale * bread @ middle @ bread))


def lack_of_fit(cells: Cells, basis: Basis) -> float | None:
    """p-value of: the means at the doses lie on the curve, but for chance.

    Sum of squared distances of the means from the curve, over their variances, with weights that
    make it least: chi-square with doses less coefficients degrees of freedom. `cells` are one a
    dose. None where every curve of this kind goes through all means, or a mean has no variance.
    """
    from scipy import special

    x = basis(cells.dose)
    free = len(x) - int(np.linalg.matrix_rank(x))
    variance = cells.spread / cells.n / np.maximum(cells.n - 1.0, 1.0)
    if free < 1 or (variance <= 0.0).any():
        return None
    root = 1.0 / np.sqrt(variance)
    fitted = np.linalg.lstsq(x * root[:, None], cells.mean * root, rcond=None)[0]
    apart = (cells.mean - x @ fitted) * root
    return float(special.chdtrc(free, apart @ apart))


def isotonic(n: Floats, mean: Floats, rising: bool = True) -> Floats:
    """The means (C, at ascending doses) made monotone by least squares with weights `n`.

    Source: pool adjacent violators, Barlow et al. (1972), Statistical Inference under Order
    Restrictions.
    """
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(mean, weights=n, increasing=rising).x)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The dose that brings most: `dose` (low to high) and `value`, and how sure `chance` makes it.

    `chance` holds, by dose that was tried, the share of draws in which it is the best one of them.
    """

    dose: float
    low: float
    high: float
    value: float
    chance: Floats


def isotonic_band(
    mean: Floats, variance: Floats, rising: bool = True, alpha: float = 0.05
) -> tuple[Floats, Floats] | None:
    """Low and high ends (C each) between which the whole monotone response lies.

    Every mean gets its interval at 1 - alpha / C (Bonferroni), and what one dose rules out it rules
    out for those below (or above) it too: a rising response is at least the highest low end so far.
    All of them hold together in 1 - alpha of samples, if the response is monotone. Draws of the
    fit itself would not do: no bootstrap is right where doses do equally well (Kosorok 2008,
    "Bootstrapping the Grenander estimator"). None where no monotone response fits all intervals.
    """
    half = critical(alpha / len(mean)) * np.sqrt(variance)
    low, high = mean - half, mean + half
    if not rising:
        low, high = low[::-1], high[::-1]
    low = np.maximum.accumulate(low)
    high = np.minimum.accumulate(high[::-1])[::-1]
    if (low > high).any():
        return None
    return (low, high) if rising else (low[::-1], high[::-1])


def best(
    found: Fit,
    low: float,
    high: float,
    tried: Floats,
    alpha: float = 0.05,
    seed: int = 1,
    fixed: float = 0.0,
    free: float | None = None,
    cells: Cells | None = None,
) -> Best:
    """The dose from `low` to `high` at which the fitted response, less `fixed`, is greatest.

    `fixed` is taken off at every dose but `free`: what it costs to reach a customer at all, which
    no smooth curve holds. The interval has the doses that are greatest in 1 - alpha of draws of the
    coefficients from their normal distribution; it is right as far as the curve is (see `around`).
    `tried` are the doses of the test, whose chances to be the best one are counted in the same
    draws; with `cells`, the units at these doses, in draws of their means, which no curve bends: a
    spline with fewer knots than doses may miss the best of them.
    """
    grid = np.unique(np.concatenate([np.linspace(low, high, GRID), tried]))
    values, off = found.basis(grid), _fixed(grid, fixed, free)
    rng = np.random.default_rng(seed)
    root = _root(found.covariance)
    draws = found.coefficients + rng.standard_normal((DRAWS, len(root))) @ root.T
    tops = grid[np.argmax(draws @ values.T - off, axis=1)]
    ends = np.quantile(tops, [alpha / 2.0, 1.0 - alpha / 2.0])
    fitted = values @ found.coefficients - off
    at = int(np.argmax(fitted))
    if cells is None:
        at_tried = draws @ found.basis(tried).T
    else:
        mean, variance = _of_doses(cells, tried)
        at_tried = mean + rng.standard_normal((DRAWS, len(tried))) * np.sqrt(variance)
    wins = np.argmax(at_tried - _fixed(tried, fixed, free), axis=1)
    chance = np.bincount(wins, minlength=len(tried)) / DRAWS
    return Best(float(grid[at]), float(ends[0]), float(ends[1]), float(fitted[at]), chance)


def _of_doses(cells: Cells, tried: Floats) -> tuple[Floats, Floats]:
    """Mean and its variance at every dose that was tried, of all cells with it."""
    place = np.searchsorted(tried, cells.dose)
    n = np.bincount(place, cells.n, minlength=len(tried))
    mean = np.bincount(place, cells.n * cells.mean, minlength=len(tried)) / n
    own = cells.n * cells.spread / np.maximum(cells.n - 1.0, 1.0)
    return mean, np.bincount(place, own, minlength=len(tried)) / n**2


def around(tried: Floats, chance: Floats, alpha: float = 0.05) -> tuple[float, float]:
    """Between which doses the best lies, whatever the curve between those that were tried.

    From the dose before the first that may be the best one of them to the one after the last (with
    at most alpha / 2 of `chance` beyond them on either side): of a response with a single top, the
    top lies between the neighbours of the best dose that was tried. `tried` is ascending.
    """
    below, above = np.cumsum(chance), np.cumsum(chance[::-1])[::-1]
    first = int(np.argmax(below > alpha / 2.0))
    last = len(tried) - 1 - int(np.argmax(above[::-1] > alpha / 2.0))
    return float(tried[max(first - 1, 0)]), float(tried[min(last + 1, len(tried) - 1)])


def _fixed(dose: Floats, fixed: float, free: float | None) -> Floats:
    return np.where(dose == free, 0.0, fixed) if free is not None else np.full(len(dose), fixed)


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
