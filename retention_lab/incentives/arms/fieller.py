"""Two estimates with their covariance in; the confidence set of their ratio out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

from scipy import special

Shape = Literal["interval", "outside", "everything", "nothing"]


@dataclasses.dataclass(frozen=True, slots=True)
class Region:
    """The values that a test does not reject, the solutions of a quadratic inequality.

    `interval`: from `low` to `high`. `outside`: everything up to `low` and from `high` on (two
    rays; one end is infinite where it is a single ray). `everything`: no value is rejected.
    `nothing`: every value is.
    """

    shape: Shape
    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether `value` is in the region."""
        if self.shape == "interval":
            return self.low <= value <= self.high
        if self.shape == "outside":
            return value <= self.low or value >= self.high
        return self.shape == "everything"

    def mapped(self, change: Callable[[float], float]) -> Region:
        """The region of a rising function of the value."""
        return dataclasses.replace(self, low=change(self.low), high=change(self.high))


def critical(alpha: float, df: float = math.inf) -> float:
    """Two-sided critical value of Student's t; the normal one where `df` is infinite."""
    if math.isinf(df):
        return float(special.ndtri(1.0 - alpha / 2.0))
    return float(special.stdtrit(df, 1.0 - alpha / 2.0))


def tail(t: float, df: float = math.inf) -> float:
    """The chance of a value below `t`, of the same distribution."""
    return float(special.ndtr(t) if math.isinf(df) else special.stdtr(df, t))


def fieller(
    x: float,
    y: float,
    var_x: float,
    var_y: float,
    cov: float,
    alpha: float = 0.05,
    df: float = math.inf,
) -> Region:
    """The ratios r for which x - r y is not clearly different from 0: Fieller's set for x / y.

    (x - r y)^2 <= z^2 (var_x - 2 r cov + r^2 var_y), z the critical value with `df`. Where y itself
    is clearly different from 0 the set is an interval; else it is everything, or all but an
    interval. Source: Fieller (1954), "Some problems in interval estimation", JRSS B 16(2), 175-185.
    The same set is Anderson and Rubin's for an instrumental variable (see late.py).
    """
    z2 = critical(alpha, df) ** 2
    # In units of their own size, for squares of huge or tiny numbers have no digits.
    size_x, size_y = _size(x, var_x), _size(y, var_y)
    x, y = x / size_x, y / size_y
    var_x, var_y, cov = var_x / size_x / size_x, var_y / size_y / size_y, cov / size_x / size_y
    found = solve(y * y - z2 * var_y, -(x * y - z2 * cov), x * x - z2 * var_x)
    return found.mapped(lambda ratio: ratio * size_x / size_y)


def _size(value: float, variance: float) -> float:
    """The power of two next to a number or its error, whichever is larger; dividing is exact."""
    size = max(abs(value), math.sqrt(max(variance, 0.0)))
    return math.ldexp(1.0, math.frexp(size)[1]) if 0.0 < size < math.inf else 1.0


def solve(a: float, b: float, c: float) -> Region:
    """The r with a r^2 + 2 b r + c <= 0."""
    if not all(map(math.isfinite, (a, b, c))):
        return Region("everything")
    if a == 0.0:
        if b == 0.0:
            return Region("everything" if c <= 0.0 else "nothing")
        end = -c / (2.0 * b)
        return Region("interval", high=end) if b > 0 else Region("interval", low=end)
    inner = b * b - a * c
    if inner < 0.0:
        return Region("nothing" if a > 0.0 else "everything")
    # The root away from cancellation first; the other from the product of both.
    first = -(b + math.copysign(math.sqrt(inner), b))
    ends = (first / a, c / first if first != 0.0 else 0.0)
    low, high = min(ends), max(ends)
    return Region("interval" if a > 0.0 else "outside", low, high)
