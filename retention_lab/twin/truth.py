"""A `Scenario` in; the expected value of every metric, exactly, out.

Every truth is a sum over the cells of the model (region x came for the promotion), weighted by
their share of customers; see model.py for the formulas. Order values are lognormal and
independent of the counts, so revenue is E(orders) times the mean value. The moment of exposure
is independent of everything else, so the truth holds for the mature units alone, too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from retention_lab.twin.model import WINDOW, Cell, coupon_share, interpolate, solve, some
from retention_lab.twin.scenario import Arm, Scenario

UNSUBSCRIBE_DAYS = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """Expected values by metric, arm and, where asked, one level of a segment.

    Metrics: repurchase, orders, revenue, margin, coupons and unsubscribed, each with the
    window in its name (``orders_30d``), and order_value (revenue per order). Segments: region
    and promotion_acquired (``true``, ``false``). Tiers depend on each customer's history and
    have no closed form.
    """

    control: str
    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    means: Mapping[tuple[str | None, str | None, str], Mapping[str, float]]

    def mean(self, metric: str, arm: str, **segment: object) -> float:
        """The expected value in `arm`; ``region="Europe"`` or ``promotion_acquired=True``."""
        name, level = next(((k, _text(v)) for k, v in segment.items()), (None, None))
        return self.means[name, level, arm][metric]

    def difference(self, metric: str, arm: str, **segment: object) -> float:
        """`arm` minus control: the absolute effect."""
        return self.mean(metric, arm, **segment) - self.mean(metric, self.control, **segment)

    def relative_lift(self, metric: str, arm: str, **segment: object) -> float | None:
        """The effect relative to control: 0.12 means +12%; None where control's value is 0."""
        base = abs(self.mean(metric, self.control, **segment))
        return self.difference(metric, arm, **segment) / base if base else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``truth.json``: means, differences and lifts, overall and by level."""
        out: dict[str, Any] = {"control": self.control, "overall": {}, "segments": {}}
        for name, level in dict.fromkeys((name, level) for name, level, _ in self.means):
            segment = {} if name is None else {name: level}
            part = {
                arm: {
                    metric: {
                        "mean": self.mean(metric, arm, **segment),
                        "difference": self.difference(metric, arm, **segment),
                        "relative_lift": self.relative_lift(metric, arm, **segment),
                    }
                    for metric in self.metrics
                }
                for arm in self.arms
            }
            if name is None:
                out["overall"] = part
            else:
                out["segments"].setdefault(name, {})[level] = part
        return out


def truth_of(scenario: Scenario, within: int = WINDOW) -> Truth:
    """The truth of `scenario` for windows of `within` days after exposure."""
    everyone = solve(scenario).cells
    groups: list[tuple[str | None, str | None, list[Cell]]] = [(None, None, list(everyone))]
    for region in scenario.regions:
        groups.append(("region", region.name, [c for c in everyone if c.region == region]))
    for acquired in (False, True):
        some_of = [c for c in everyone if c.acquired is acquired and c.weight > 0]
        if some_of:
            groups.append(("promotion_acquired", _text(acquired), some_of))
    means = {
        (name, level, arm.name): MappingProxyType(_expected(scenario, arm, within, members))
        for name, level, members in groups
        for arm in scenario.arms
    }
    arms = tuple(arm.name for arm in scenario.arms)
    metrics = tuple(means[None, None, arms[0]])
    return Truth(arms[0], arms, metrics, MappingProxyType(means))


def _expected(
    scenario: Scenario, arm: Arm, within: int, members: Sequence[Cell]
) -> dict[str, float]:
    model, i = solve(scenario), scenario.arms.index(arm)
    total = sum(c.weight for c in members)
    buyers = orders = in_effect = revenue = coupons = 0.0
    # Those whom the arm's effect is on, and those who go on as in the first arm.
    for moved, on in ((True, arm), (False, scenario.arms[0])):
        days, heights = model.paths[on.name]
        x_all = interpolate(within, days, heights)
        x_effect = interpolate(min(within, scenario.effect_days), days, heights)
        for c in members:
            w = c.weight / total * (c.moved[i] if moved else 1.0 - c.moved[i])
            if w == 0.0:
                continue
            buyers += w * some(scenario, c.scale * x_all)
            orders += w * scenario.evenness * c.scale * x_all
            in_effect += w * scenario.evenness * c.scale * x_effect * (on.fee > 0)
            worth = on.basket * x_effect + (x_all - x_effect)
            revenue += w * scenario.evenness * c.scale * worth * c.region.order_value
            coupons += w * some(scenario, c.scale * x_effect) * coupon_share(scenario, on, c.region)
    redeemed = scenario.always + (arm.uptake or 0.0)
    gone = math.sqrt(min(within, UNSUBSCRIBE_DAYS) / UNSUBSCRIBE_DAYS)
    costs = arm.coupon * coupons + arm.fee * in_effect
    found = {
        f"repurchase_{within}d": buyers,
        f"orders_{within}d": orders,
        f"revenue_{within}d": revenue,
        f"margin_{within}d": scenario.margin * revenue - costs,
        f"coupons_{within}d": coupons,
        f"unsubscribed_{within}d": (scenario.unsubscribed + arm.unsubscribes) * gone,
        "order_value": revenue / orders,
    }
    return found | ({"redeemed": redeemed} if scenario.redeems else {})


def _text(level: object) -> str:
    return str(level).lower() if isinstance(level, bool) else str(level)
