"""Units about a cutoff and two bandwidths in; the jump of their outcome at it, with errors, out."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats

from retention_lab.data.moments import Floats

ORDER, BIAS_ORDER = 1, 2  # of the polynomial that estimates, and of the one that corrects it
NEIGHBOURS = 3
_SAME = float(np.sqrt(np.finfo(float).eps))  # relative difference of two equal distances


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The units on one side of the cutoff, in ascending order.

    `u` (n) is the running variable less the cutoff (all below 0, or all 0 and above), `y` (n) the
    outcome.
    """

    u: Floats
    y: Floats

    def __len__(self) -> int:
        return len(self.u)

    def within(self, h: float) -> Side:
        """The units that a triangular kernel of bandwidth `h` gives weight."""
        inside = np.abs(self.u / h) < 1.0
        return Side(self.u[inside], self.y[inside])

    @property
    def distinct(self) -> int:
        """How many different values of the running variable there are."""
        return int(len(self.u) > 0) + int(np.count_nonzero(np.diff(self.u)))


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """One estimate with its standard error, normal interval and p-value (of no jump)."""

    value: float
    error: float
    low: float
    high: float
    p_value: float


@dataclasses.dataclass(frozen=True, slots=True)
class Jump:
    """The right limit less the left one, in three forms of inference; who was used.

    `robust` is what to report: corrected for the bias of the straight lines, with an error that
    knows of the correction. `bias_corrected` has the same value without that, `conventional` has
    neither. `n` are the units within `h`, left and right; `limits` the outcome's corrected limits
    at the cutoff from the two sides, `errors` their robust standard errors.
    """

    conventional: Estimate
    bias_corrected: Estimate
    robust: Estimate
    h: float
    b: float
    n: tuple[int, int]
    limits: tuple[float, float]
    errors: tuple[float, float]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A fitted straight line at the distances `u` from the cutoff: value and standard error."""

    u: Floats
    value: Floats
    error: Floats


def sides(running: Floats, outcome: Floats, cutoff: float) -> tuple[Side, Side]:
    """Split units at the cutoff (at it: right), where running variable and outcome are known.

    Both are arrays (n) in any order; it does not change a digit.
    """
    known = np.isfinite(running) & np.isfinite(outcome)
    u, y = running[known] - cutoff, outcome[known]
    order = np.lexsort((y, u))
    u, y = u[order], y[order]
    at = int(np.searchsorted(u, 0.0))
    return Side(u[:at], y[:at]), Side(u[at:], y[at:])


def coefficient(u: Floats, h: float, order: int, which: int) -> Floats:
    """Weights a (n) with which sum(a y) is a coefficient of a local polynomial of `order`.

    It is the one of (u/h)**`which`; the kernel is triangular with bandwidth `h`. Units without
    weight are 0. Raises LinAlgError where there are fewer different values than coefficients.
    """
    powers, kernel, gram = _weighted(u, h, order)
    wanted = np.zeros(order + 1)
    wanted[which] = 1.0
    return np.asarray(powers @ np.linalg.solve(gram, wanted) * kernel)


def _weighted(u: Floats, h: float, order: int) -> tuple[Floats, Floats, Floats]:
    """Powers of u/h (n, order + 1), the kernel's weights (n), and the powers' weighted products."""
    t = u / h
    kernel = np.maximum(1.0 - np.abs(t), 0.0)
    powers = np.vander(t, order + 1, increasing=True)
    return powers, kernel, powers.T @ (powers * kernel[:, None])


def neighbour_residuals(side: Side, neighbours: int = NEIGHBOURS) -> Floats:
    """Residuals (n) against the nearest units of the same side, whose squares are variances.

    Units with the same value are neighbours, and come in together; so do those as far to the left
    as to the right. With J neighbours the residual is sqrt(J/(J+1)) (y - their mean), as in
    Calonico, Cattaneo and Titiunik (2014), section 5.
    """
    u, y = side.u, side.y
    n = len(u)
    if n < 2:
        return np.zeros(n)
    new = np.flatnonzero(np.r_[True, np.diff(u) != 0.0])  # the first unit of each value
    count, value = np.diff(np.r_[new, n]), u[new]
    last = len(value) - 1
    low = np.arange(len(value))
    high = low.copy()
    total = np.r_[0, np.cumsum(count)]
    enough = min(neighbours, n - 1)
    while True:
        short = np.flatnonzero(total[high + 1] - total[low] - 1 < enough)
        if not len(short):
            break
        a, b = low[short], high[short]
        left = np.where(a > 0, value[short] - value[np.maximum(a - 1, 0)], np.inf)
        right = np.where(b < last, value[np.minimum(b + 1, last)] - value[short], np.inf)
        both = np.isfinite(left) & np.isfinite(right)
        room = np.where(both, np.maximum(left, right), 0.0) * _SAME
        low[short] -= left <= right + room
        high[short] += right <= left + room
    start, end = total[low], total[high + 1]
    padded = np.r_[y, 0.0]
    sums = np.add.reduceat(padded, np.column_stack([start, end]).ravel())[::2]
    j = np.repeat(end - start - 1.0, count)
    return np.asarray(np.sqrt(j / (j + 1.0)) * (y - (np.repeat(sums, count) - y) / j))


@dataclasses.dataclass(frozen=True, slots=True)
class _Limit:
    plain: float
    corrected: float
    plain_variance: float
    corrected_variance: float
    n: int


def _limit(side: Side, h: float, b: float) -> _Limit:
    """The limit of the outcome at the cutoff from one side, and its variances."""
    near = side.within(max(h, b))
    t = near.u / h
    plain = coefficient(near.u, h, ORDER, 0)
    curve = coefficient(near.u, b, BIAS_ORDER, ORDER + 1)
    bias = float(plain @ t ** (ORDER + 1)) * (h / b) ** (ORDER + 1)
    corrected = plain - bias * curve
    residuals = neighbour_residuals(near)
    return _Limit(
        float(plain @ near.y),
        float(corrected @ near.y),
        float(((plain * residuals) ** 2).sum()),
        float(((corrected * residuals) ** 2).sum()),
        int((np.abs(t) < 1.0).sum()),
    )


def fits(left: Side, right: Side, h: float, b: float) -> bool:
    """Whether both polynomials have as many different values as coefficients, on both sides."""
    return all(
        s.within(h).distinct > ORDER and s.within(b).distinct > BIAS_ORDER for s in (left, right)
    )


def jump(left: Side, right: Side, h: float, b: float, alpha: float = 0.05) -> Jump:
    """The jump of the outcome at the cutoff, right less left, by local straight lines.

    Calonico, Cattaneo and Titiunik (2014), "Robust nonparametric confidence intervals for
    regression-discontinuity designs", Econometrica 82: lines within `h`, their bias estimated by
    parabolas within `b`, triangular kernel, nearest-neighbour variance.
    Raises ValueError where a side has too few different values within the bandwidths.
    """
    if not fits(left, right, h, b):
        raise ValueError("too few different values of the running variable within the bandwidth")
    a, z = _limit(left, h, b), _limit(right, h, b)
    quantile = float(stats.norm.isf(alpha / 2))

    def estimate(value: float, variance: float) -> Estimate:
        error = float(np.sqrt(variance))
        p = 2.0 * float(stats.norm.sf(abs(value) / error)) if error > 0 else float(value == 0)
        return Estimate(value, error, value - quantile * error, value + quantile * error, p)

    plain_variance = a.plain_variance + z.plain_variance
    corrected = z.corrected - a.corrected
    return Jump(
        estimate(z.plain - a.plain, plain_variance),
        estimate(corrected, plain_variance),
        estimate(corrected, a.corrected_variance + z.corrected_variance),
        h,
        b,
        (a.n, z.n),
        (a.corrected, z.corrected),
        (float(np.sqrt(a.corrected_variance)), float(np.sqrt(z.corrected_variance))),
    )


def line(side: Side, h: float, at: Floats) -> Line:
    """The straight line within `h` of one side at the distances `at` (m) from the cutoff."""
    near = side.within(h)
    both = np.column_stack([coefficient(near.u, h, ORDER, k) for k in range(ORDER + 1)])
    residuals = neighbour_residuals(near)
    design = np.column_stack([np.ones(len(at)), at / h])
    covariance = (both * (residuals**2)[:, None]).T @ both
    variance = np.einsum("ij,jk,ik->i", design, covariance, design)
    return Line(at, design @ (both.T @ near.y), np.sqrt(np.maximum(variance, 0.0)))
