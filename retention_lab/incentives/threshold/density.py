"""Values of a running variable in; whether their density jumps at the cutoff out."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
from scipy import special, stats

from retention_lab.data.moments import Floats

ORDER = 2  # of the polynomial whose bandwidth is chosen; the test is one order higher
LEAST = 20 + ORDER + 1  # units, and different values, of each side within the bandwidth


@dataclasses.dataclass(frozen=True, slots=True)
class Density:
    """The density just left and right of the cutoff, and the test that they are one.

    `difference` is right less left, `error` its jackknife standard error; `widths` are the
    bandwidths and `n` the units within them, left and right.
    """

    left: float
    right: float
    difference: float
    error: float
    statistic: float
    p_value: float
    widths: tuple[float, float]
    n: tuple[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class _Fit:
    """Densities, the covariance of their jackknife, and derivatives of the order asked for."""

    density: Floats  # (2)
    covariance: Floats  # (2, 2)
    derivative: Floats  # (2)


def density_test(running: Floats, cutoff: float) -> Density:
    """Test whether units sort themselves to one side of the cutoff (no jump of their density).

    Cattaneo, Jansson and Ma (2020), "Simple local polynomial density estimators", JASA 115: a
    polynomial is fitted to the empirical distribution function on each side; the test takes the
    order after that for which the bandwidth is best, so that bias does not decide. Unrestricted,
    triangular kernel, jackknife errors; ties count once, at their last rank. `running` (n) may come
    in any order; NaN is left out.

    Raises ValueError where a side is empty or the fit cannot be made.
    """
    x = np.sort(running[np.isfinite(running)]) - cutoff
    rank = _ranks(x)
    n_left = int(np.searchsorted(x, 0.0))
    if n_left == 0 or n_left == len(x):
        raise ValueError("no unit on one side of the cutoff")
    widths = _bandwidths(x, rank)
    found, n = _within(x, rank, widths, ORDER + 1, 1)
    variance = float(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    difference = float(found.density[1] - found.density[0])
    if not variance > 0:
        raise ValueError("the density has no error")
    error = float(np.sqrt(variance))
    statistic = difference / error
    p_value = 2.0 * float(stats.norm.sf(abs(statistic)))
    left, right = (float(d) for d in found.density)
    return Density(left, right, difference, error, statistic, p_value, widths, n)


def few_values(running: Floats, cutoff: float) -> bool:
    """Whether a side has fewer than `LEAST` different values: counts, or multiples of 5 dollars.

    The bandwidth then takes in all of that side, and its bias would be told as sorting.
    """
    values = np.unique(running[np.isfinite(running)])
    below = int((values < cutoff).sum())
    return min(below, len(values) - below) < LEAST


def _ranks(x: Floats) -> Floats:
    """The empirical distribution function of sorted values: for equal ones the last of them."""
    last = np.searchsorted(x, x, side="right") - 1
    ranks: Floats = last / (len(x) - 1)
    return ranks


def _within(
    x: Floats, rank: Floats, widths: tuple[float, float], order: int, derivative: int
) -> tuple[_Fit, tuple[int, int]]:
    inside = (x >= -widths[0]) & (x <= widths[1])
    near = x[inside]
    n_left = int(np.searchsorted(near, 0.0))
    found = _fit(near, rank[inside], n_left, len(x), widths, order, derivative)
    return found, (n_left, len(near) - n_left)


def _fit(
    x: Floats,
    rank: Floats,
    n_left: int,
    n: int,
    widths: tuple[float, float],
    order: int,
    derivative: int,
) -> _Fit:
    """Polynomials of the distribution function, one a side; coefficients of the powers of x.

    A unit enters the rank of all units above it, so its influence is the sum of their weights.
    """
    right = np.arange(len(x)) >= n_left
    h = np.where(right, widths[1], widths[0])
    t = x / h
    kernel = (1.0 - np.abs(t)) / h
    powers = np.vander(t, order + 1, increasing=True)
    design = np.zeros((len(x), 2 * (order + 1)))
    design[~right, : order + 1] = powers[~right]
    design[right, order + 1 :] = powers[right]
    scale = np.r_[widths[0] ** np.arange(order + 1), widths[1] ** np.arange(order + 1)]
    weighted = design * kernel[:, None]
    try:
        inverse = np.linalg.inv(weighted.T @ design)
    except np.linalg.LinAlgError:
        raise ValueError("too few different values for a density") from None
    beta = inverse @ (weighted.T @ rank) / scale
    whole = np.cumsum(weighted, axis=0)
    first = np.searchsorted(x, x, side="left")  # equal values count as the first of them
    above = (whole[-1] - whole[first]) / (n - 1)
    covariance = inverse @ (above.T @ above) @ inverse / np.outer(scale, scale)
    slope = [1, order + 2]
    higher = [derivative, order + 1 + derivative]
    return _Fit(beta[slope], covariance[np.ix_(slope, slope)], beta[higher])


def _bandwidths(x: Floats, rank: Floats) -> tuple[float, float]:
    """For each side the median of three: best for its density, the difference, and the sum."""
    n, p = len(x), ORDER
    left, right = x[x < 0], x[x >= 0]
    values = np.unique(x)
    own = -left[::-1], right  # distances in ascending order
    different = -values[values < 0][::-1], values[values >= 0]
    farthest = float(np.abs(values).max())

    def reach(least: int) -> tuple[float, float]:
        a, z = (
            max(float(of[min(least, len(of)) - 1]) for of in pair)
            for pair in zip(own, different, strict=True)
        )
        return a, z

    for_curve, for_density = _pilots(float(x.mean()), float(x.std(ddof=1)), n)
    for_curve = max(min(for_curve, farthest), *reach(20 + p + 2 + 1))
    for_density = max(min(for_density, farthest), *reach(20 + p + 1))
    curve, _ = _within(x, rank, (for_curve, for_curve), p + 2, p + 1)
    level, _ = _within(x, rank, (for_density, for_density), p, 1)
    variances = np.diag(level.covariance)
    cross = 2 * level.covariance[0, 1]
    biases = curve.derivative * _bias_constant(p) * np.array([(-1.0) ** p, 1.0])
    variance = np.array([*variances, variances.sum() - cross, variances.sum() + cross])
    bias = np.array([*biases, biases[1] - biases[0], biases[1] + biases[0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        best = (for_density * variance / bias**2 / (2 * p)) ** (1.0 / (2 * p + 1))
    best = np.where(np.isfinite(best) & (variance > 0), best, 0.0)
    best = np.minimum(best, [-values[0], values[-1], farthest, farthest])
    a, z = reach(LEAST)
    best = np.maximum(best, [a, z, max(a, z), max(a, z)])
    return float(np.median(best[[0, 2, 3]])), float(np.median(best[[1, 2, 3]]))


def _pilots(mean: float, sd: float, n: int) -> tuple[float, float]:
    """Bandwidths that would be best if the running variable were normal: for curve and density."""
    p = ORDER
    # Constants of the kernel for p = 2, from integrals over the normal density.
    for_curve, for_density = 3430865.4551236177795, 548.57142857155463389
    if not sd > 0.0:
        raise ValueError("the running variable does not vary")
    z = mean / sd

    def reference(order: int) -> float:
        with np.errstate(divide="ignore", over="ignore"):
            return float(1.0 / (special.eval_hermitenorm(order, z) ** 2 * stats.norm.pdf(z)))

    b = (reference(p + 2) * for_curve * (2 * p + 1) / 4 / n) ** (1 / (2 * p + 5))
    c = (reference(p) * for_density / (2 * p) / n) ** (1 / (2 * p + 1))
    return b * sd, c * sd


@cache
def _bias_constant(p: int) -> float:
    """What the kernel, from 0 to 1, makes of x**(p+1) in the slope of a polynomial of order p."""

    def moment(k: int) -> float:
        return 1.0 / ((k + 1) * (k + 2))  # the integral of (1 - x) x**k

    s = np.array([[moment(i + j) for j in range(p + 1)] for i in range(p + 1)])
    c = np.array([moment(i + p + 1) for i in range(p + 1)])
    return float(np.linalg.solve(s, c)[1])
