"""P-values of a family, or its size, in; adjusted p-values, levels and critical values out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.ab.estimate import critical

Floats = npt.NDArray[np.float64]

HIGHEST = 0.98  # correlation up to which the quadrature is exact
LEAST_DF = 3.0  # degrees of freedom from which on it is
NORMAL_FROM = 1e6  # degrees of freedom from which on the error is as good as known


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment; a missing p-value stays missing and is not counted.

    Source: Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))
        adjusted[i] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's step-up adjustment; a missing p-value stays missing, uncounted.

    Calling effects found where it is at most q keeps the expected share of false ones among them at
    most q, for independent or positively dependent tests (arms against one control are such).
    Source: Benjamini and Hochberg (1995), JRSS B 57(1), 289-300.

    >>> benjamini_hochberg([0.01, None, 0.04, 0.03])
    [0.03, None, 0.04, 0.04]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 1.0
    for rank in range(len(known), 0, -1):
        p, i = known[rank - 1]
        running = min(running, p * len(known) / rank)
        adjusted[i] = running
    return adjusted


def simultaneous_alpha(alpha: float, family_size: int) -> float:
    """The alpha of each interval of a family, so that all cover together with 1 - alpha or more.

    Bonferroni's alpha / m. An interval at it that excludes 0 belongs to a test that Holm rejects at
    `alpha`; Holm may reject more. A family of none is one of one. ValueError for an alpha outside
    (0, 1) or a negative size.
    Source: Dunn (1961), "Multiple Comparisons Among Means", JASA 56(293), 52-64.
    """
    if not 0.0 < alpha < 1.0 or family_size < 0:
        raise ValueError(f"alpha {alpha} must be in (0, 1) and family_size {family_size} >= 0")
    return alpha / max(family_size, 1)


def many_to_one_critical(df: float, correlations: npt.ArrayLike, alpha: float) -> float:
    """Dunnett's two-sided critical value: k arms against one control, together at 1 - alpha.

    `correlations` holds, for each of the k comparisons, the size of the correlation of its
    difference with the control's mean: sqrt(v_0 / (v_0 + v_i)), v the variance of a mean. Two
    comparisons then correlate by the product of theirs (1/2 for equal arms). Above 0.98 they count
    as 0.98, which is on the safe side. `df` are the degrees of freedom of the error that they
    share, inf for the normal; where errors are unequal, the smallest of theirs is on the safe side.
    The value c solves P(max |T_i| <= c) = 1 - alpha by quadrature over the control's mean and the
    error, to 1e-4; below 3 degrees of freedom it is Bonferroni's, which is never smaller.
    ValueError for a correlation outside [0, 1], df below 1, or alpha outside (0, 1).
    Source: Dunnett (1955), JASA 50(272), 1096-1121; (1964), Biometrics 20(3), 482-491.
    """
    given = np.asarray(correlations, np.float64).ravel()
    if not 0.0 < alpha < 1.0 or not df >= 1.0 or not np.all((given >= 0.0) & (given <= 1.0)):
        raise ValueError("alpha is in (0, 1), df 1 or more, and each correlation in [0, 1]")
    if len(given) < 2 or df < LEAST_DF:
        return critical(df, simultaneous_alpha(alpha, len(given)))
    from scipy import optimize

    rho, count = np.unique(np.minimum(given, HIGHEST), return_counts=True)
    rest = np.sqrt(1.0 - rho * rho)
    z, z_weight = _nodes(0.0, 8.0, 64)
    z_weight = z_weight * np.exp(-0.5 * z * z) * math.sqrt(2.0 / math.pi)
    size, size_weight = _error_nodes(df)
    shift = np.multiply.outer(rho / rest, z)[:, None, :]

    def beyond(c: float) -> float:
        reach = np.multiply.outer(c / rest, size)[:, :, None]
        inside = special.ndtr(reach - shift) - special.ndtr(-reach - shift)
        all_inside = (inside ** count[:, None, None]).prod(axis=0)
        return float(size_weight @ all_inside @ z_weight) - (1.0 - alpha)

    least, most = critical(df, alpha), critical(df, alpha / len(given))
    return float(optimize.brentq(beyond, 0.999 * least, 1.001 * most, xtol=1e-6))


def _nodes(low: float, high: float, count: int) -> tuple[Floats, Floats]:
    """Gauss and Legendre's nodes and weights on (low, high)."""
    x, weight = np.polynomial.legendre.leggauss(count)
    half = (high - low) / 2.0
    return low + half * (x + 1.0), half * weight


def _error_nodes(df: float) -> tuple[Floats, Floats]:
    """Nodes and weights for s = sqrt(chi-square / df), over its logarithm."""
    if df > NORMAL_FROM:
        return np.ones(1), np.ones(1)
    tails = special.gammaincinv(df / 2.0, [1e-9, 1.0 - 1e-9])
    low, high = np.log(2.0 * tails / df) / 2.0
    log_s, weight = _nodes(low, high, 40)
    density = df * (log_s - 0.5 * np.expm1(2.0 * log_s))
    weight = weight * np.exp(density - density.max())
    return np.exp(log_s), weight / weight.sum()
