"""Units about a cutoff in; the two bandwidths with the least mean squared error out."""

from __future__ import annotations

import dataclasses

import numpy as np

from retention_lab.data.moments import Floats
from retention_lab.incentives.threshold.local import (
    BIAS_ORDER,
    ORDER,
    Side,
    coefficient,
    neighbour_residuals,
)

KERNEL = 2.576  # of a pilot bandwidth with the triangular kernel
LEAST_VALUES = 10  # different values of each side that a pilot takes in, where many units share one
SHARED = 0.2  # a share of units with another's value from which that is many
_WIDER = 1.0 + float(np.sqrt(np.finfo(float).eps))  # so that the last unit has weight


@dataclasses.dataclass(frozen=True, slots=True)
class Bandwidths:
    """`h` for the lines, `b` for the parabolas that correct them; whether many units tie."""

    h: float
    b: float
    mass_points: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """What one step knows of one side: variance, bias and the bias's own variance."""

    variance: float
    bias: float
    doubt: float


def mse_optimal(left: Side, right: Side) -> Bandwidths:
    """One h and one b for both sides, with the least mean squared error of the jump.

    The selector `mserd` of Calonico, Cattaneo, Farrell and Titiunik (2017), "rdrobust: Software for
    regression-discontinuity designs", Stata Journal 17: three steps, each with the bandwidth that
    the step before found best for the bias, regularised by three times the variance of that bias.
    Where a fifth of a side or more share their value, pilots hold `LEAST_VALUES` different ones.

    Raises ValueError where a step has too few different values, or the outcome does not vary.
    """
    farthest = max(-left.u[0], right.u[-1])
    values = left.distinct, right.distinct
    mass = any(1 - v / len(s) >= SHARED for v, s in zip(values, (left, right), strict=True))
    pilot = KERNEL * _spread(np.r_[left.u, right.u]) * sum(values) ** -0.2
    pilot = min(pilot, farthest)
    least = max(_reach(s) for s in (left, right)) if mass else 0.0
    pilot = max(pilot, least)
    steps = _Steps(left, right, pilot)
    d = min(steps.first(), farthest)
    b = min(steps.best(BIAS_ORDER, ORDER + 1, max(d, least)), farthest)
    h = min(steps.best(ORDER, 0, b), farthest)
    return Bandwidths(h, b, mass)


class _Steps:
    """The three steps; the variance of each is found within the same pilot bandwidth."""

    def __init__(self, left: Side, right: Side, pilot: float) -> None:
        self.both = (left, right)
        self.pilot = pilot
        self.near = tuple(s.within(pilot) for s in self.both)
        self.residuals = tuple(neighbour_residuals(s) for s in self.near)

    def first(self) -> float:
        """The bandwidth for the bias of the second step, from the whole range of each side."""
        order = BIAS_ORDER + 1
        ranges = (-self.both[0].u[0] * _WIDER, self.both[1].u[-1] * _WIDER)
        found = [self._step(i, order, order, r, False) for i, r in enumerate(ranges)]
        return _optimum(found[0], found[1], order)

    def best(self, order: int, derivative: int, width: float) -> float:
        """The best bandwidth for `derivative` by a polynomial, its bias found within `width`."""
        found = [self._step(i, order, derivative, width, True) for i in (0, 1)]
        return _optimum(found[0], found[1], order)

    def _step(self, i: int, order: int, derivative: int, width: float, regular: bool) -> _Step:
        near, side = self.near[i], self.both[i].within(width)
        if near.distinct <= order or side.distinct <= order + 1:
            raise ValueError("too few different values of the running variable for a bandwidth")
        weights = coefficient(near.u, self.pilot, order, derivative)
        variance = float(((weights * self.residuals[i]) ** 2).sum())
        constant = float(weights @ (near.u / self.pilot) ** (order + 1))
        curve = coefficient(side.u, width, order + 1, order + 1)
        scale = width ** (order + 1)
        slope = float(curve @ side.y) / scale
        doubt = 0.0
        if regular:
            spread = float(((curve * neighbour_residuals(side)) ** 2).sum()) / scale**2
            doubt = 2 * (order + 1 - derivative) * 3 * constant**2 * spread
        return _Step(
            (2 * derivative + 1) * self.pilot * variance,
            float(np.sqrt(2 * (order + 1 - derivative))) * constant * slope,
            doubt,
        )


def _optimum(left: _Step, right: _Step, order: int) -> float:
    """The bandwidth at which squared bias and variance of the difference are least."""
    bias = (right.bias - left.bias) ** 2 + right.doubt + left.doubt
    variance = left.variance + right.variance
    if not (bias > 0 and variance > 0):
        raise ValueError("the outcome does not vary about the cutoff")
    return float((variance / bias) ** (1.0 / (2 * order + 3)))


def _spread(u: Floats) -> float:
    """The standard deviation, or the interquartile range's, whichever is less."""
    ordered = np.sort(u)
    low, high = (_quantile(ordered, q) for q in (0.25, 0.75))
    both = [float(np.std(u, ddof=1)), (high - low) / 1.349]
    # With half of all units at one value, quartiles say nothing of the rest.
    return min(b for b in both if b > 0)


def _quantile(ordered: Floats, q: float) -> float:
    """The sample's quantile, averaged where it lies between two units."""
    at = len(ordered) * q
    j = int(np.floor(at))
    if at == j:
        return float(ordered[j - 1] + ordered[j]) / 2
    return float(ordered[j])


def _reach(side: Side) -> float:
    """The distance within which `LEAST_VALUES` different values of one side lie."""
    distances = np.sort(np.unique(np.abs(side.u)))
    return float(distances[min(LEAST_VALUES, len(distances)) - 1]) * _WIDER
