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
    daily order rate at pace 1. `moved` is, by arm's position, the share of the cell that an arm's
    effect is on: all of it, or of the keen those who redeem because of the arm.
    """

    region: Region
    acquired: bool
    weight: float
    scale: float
    moved: tuple[float, ...]
    keen: bool = False


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
    kinds = _kinds(scenario)
    for region in scenario.regions:

        def gap(s: float, region: Region = region) -> float:
            level = sum(
                w * share * some(scenario, s * f * factor * x)
                for _, w, f in parts
                for _, share, factor, _ in kinds
            )
            return level - region.repurchase_30d

        s = root(gap)
        cells += [
            Cell(region, a, region.share / total * w * share, s * f * factor, moved, keen)
            for a, w, f in parts
            for keen, share, factor, moved in kinds
        ]

    def level(i: int, multiplier: float) -> float:
        y = interpolate(WINDOW, *_path(scenario, multiplier, scenario.arms[i]))
        return sum(
            c.weight
            * (
                c.moved[i] * some(scenario, c.scale * y)
                + (1.0 - c.moved[i]) * some(scenario, c.scale * x)
            )
            for c in cells
        )

    def effect(i: int) -> float:
        lift, base = scenario.arms[i].lift, level(i, 1.0)
        return root(lambda multiplier: level(i, multiplier) - base - lift) if lift else 1.0

    factors = {arm.name: effect(i) for i, arm in enumerate(scenario.arms)}
    paths = {a.name: _path(scenario, factors[a.name], a) for a in scenario.arms}
    for arm in scenario.arms:
        if any(a > b for a, b in itertools.pairwise(paths[arm.name][1])):
            raise ValueError(
                f"scenario {scenario.name!r}: {arm.name!r} pulls more orders forward than there "
                f"are in the {arm.forward_days} days after its effect"
            )
    return Model(tuple(cells), MappingProxyType(factors), MappingProxyType(paths))


def _kinds(s: Scenario) -> list[tuple[bool, float, float, tuple[float, ...]]]:
    """The kinds of customers: whether keen, their share, their factor, and what `Cell.moved` is."""
    keen = s.keen_share
    everyone = tuple(0.0 if a.uptake is not None else 1.0 for a in s.arms)
    if keen == 0.0:
        return [(False, 1.0, 1.0, everyone)]
    some_of = tuple(1.0 if a.uptake is None else a.uptake / keen for a in s.arms)
    return [(True, keen, s.keen, some_of), (False, 1.0 - keen, 1.0, everyone)]


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


def _path(scenario: Scenario, multiplier: float, arm: Arm | None = None) -> Path:
    """The path of a factor on the rate while the effect lasts; what is pulled forward lacks after.

    The lack is spread over the arm's `forward_days` in proportion to the pace.
    """
    ends = scenario.effect_days
    again = ends + arm.forward_days if arm is not None and arm.forward else ends
    knots = sorted({0, ends, again, *(day for day, _ in scenario.pace)})
    lack = 0.0
    if arm is not None and again > ends:
        plain = _path(scenario, 1.0)
        early = interpolate(ends, *plain)
        lack = arm.forward * (multiplier - 1.0) * early / (interpolate(again, *plain) - early)
    heights = [0.0]
    for before, after in itertools.pairwise(knots):
        rate = next(r for until, r in scenario.pace if after <= until)
        boost = multiplier if after <= ends else 1.0 - lack if after <= again else 1.0
        heights.append(heights[-1] + (after - before) * rate * boost)
    return tuple(float(k) for k in knots), tuple(heights)
