"""A `Scenario` in; its solved numbers (rates, effect factors, paths), a frozen `Model`, out.

With x the relative exposure to ordering (the integral of pace times the arm's factor over a
window) and a customer's rate gamma distributed (shape k, scale s), the number of orders is
negative binomial:

    P(at least one order) = 1 - (1 + s x)^-k        E(orders) = k s x

The scale s of each region is solved from the region's 30-day level, and an arm's factor from
the lift that it states, by bisection to the last digit.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from retention_lab.twin.scenario import Arm, Region, Scenario

WINDOW = 30
Path = tuple[tuple[float, ...], tuple[float, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Customers of one region who came for the promotion, or did not.

    `weight` is their share of all customers; `scale` the scale of their gamma-distributed
    daily order rate at pace 1.
    """

    region: Region
    acquired: bool
    weight: float
    scale: float


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """The solved numbers: the cells, and by arm's name its factor on the order rate and path.

    A path is a pair of knots: days since exposure, and the cumulative relative rate there;
    straight lines run between them.
    """

    cells: tuple[Cell, ...]
    factors: Mapping[str, float]
    paths: Mapping[str, Path]


@functools.lru_cache(maxsize=64)
def solve(scenario: Scenario) -> Model:
    """Solve `scenario`; the same scenario is solved once in a process."""
    plain = _path(scenario, 1.0)
    x = interpolate(WINDOW, *plain)
    total = sum(region.share for region in scenario.regions)
    parts = [
        (False, 1 - scenario.promotion_share, 1.0),
        (True, scenario.promotion_share, scenario.promotion_factor),
    ]
    cells = []
    for region in scenario.regions:

        def gap(s: float, region: Region = region) -> float:
            level = sum(w * some(scenario, s * f * x) for _, w, f in parts)
            return level - region.repurchase_30d

        s = root(gap)
        cells += [Cell(region, a, region.share / total * w, s * f) for a, w, f in parts]

    def level(multiplier: float) -> float:
        y = interpolate(WINDOW, *_path(scenario, multiplier))
        return sum(c.weight * some(scenario, c.scale * y) for c in cells)

    base = level(1.0)

    def effect(lift: float) -> float:
        return root(lambda multiplier: level(multiplier) - base - lift) if lift else 1.0

    factors = {arm.name: effect(arm.lift) for arm in scenario.arms}
    paths = {name: _path(scenario, multiplier) for name, multiplier in factors.items()}
    return Model(tuple(cells), MappingProxyType(factors), MappingProxyType(paths))


def some(scenario: Scenario, mean_scale: float) -> float:
    """P(count > 0) of a Poisson whose mean is gamma (shape `evenness`, scale `mean_scale`)."""
    return -math.expm1(-scenario.evenness * math.log1p(mean_scale))


def coupon_share(scenario: Scenario, arm: Arm, region: Region) -> float:
    """Share of first orders while the effect lasts on which the coupon of `arm` is used."""
    if arm.coupon == 0:
        return 0.0
    spread = math.hypot(scenario.spend_between, scenario.spend_within)
    middle = math.log(region.order_value * arm.basket) - spread**2 / 2
    z = (middle - math.log(arm.min_spend)) / spread
    return arm.redeemed * math.erfc(-z / math.sqrt(2)) / 2


def interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The value at `x` on the straight lines through (`xs`, `ys`); ValueError outside."""
    if not xs[0] <= x <= xs[-1]:
        raise ValueError(f"a window of {x} days; the scenario simulates {xs[-1]:g} days")
    i = next(i for i in range(1, len(xs)) if x <= xs[i])
    return ys[i - 1] + (ys[i] - ys[i - 1]) * (x - xs[i - 1]) / (xs[i] - xs[i - 1])


def root(increasing: Callable[[float], float]) -> float:
    """The positive root of an increasing function, by bisection of the logarithm."""
    low, high = -60.0, 60.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return math.exp(middle)
        if increasing(math.exp(middle)) < 0:
            low = middle
        else:
            high = middle


def _path(scenario: Scenario, multiplier: float) -> Path:
    knots = sorted({0, scenario.effect_days, *(day for day, _ in scenario.pace)})
    heights = [0.0]
    for before, after in itertools.pairwise(knots):
        rate = next(r for until, r in scenario.pace if after <= until)
        boost = multiplier if after <= scenario.effect_days else 1.0
        heights.append(heights[-1] + (after - before) * rate * boost)
    return tuple(float(k) for k in knots), tuple(heights)
