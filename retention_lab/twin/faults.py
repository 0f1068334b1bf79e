"""A scenario in; what is wrong with its numbers, as sentences, out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retention_lab.twin.scenario import Arm, Scenario


def faults_of(s: Scenario) -> list[str]:
    """Why the numbers of `s` do not make a shop; empty where they do."""
    if not (s.arms and s.regions and all(r.markets for r in s.regions) and s.channels and s.pace):
        return ["arms, regions, their markets, channels and pace need one entry or more"]
    names = [a.name for a in s.arms]
    until = [day for day, _ in s.pace]
    level = sum(r.share * r.repurchase_30d for r in s.regions) / sum(r.share for r in s.regions)
    checks = {
        "customers must be 1 or more": s.customers >= 1,
        "seed must be 0 or more": s.seed >= 0,
        "arms need different names": len(names) == len(set(names)),
        "regions need different names": len(s.regions) == len({r.name for r in s.regions}),
        "shares must be above 0": all(a.share > 0 for a in s.arms)
        and all(r.share > 0 for r in s.regions),
        "the first arm is control and has no effect": _is_null(s.arms[0]),
        "a lift must leave a probability": all(0 < level + a.lift < 1 for a in s.arms),
        "unsubscribes must leave a probability": all(
            0 <= s.unsubscribed + a.unsubscribes <= 1 for a in s.arms
        ),
        "repurchase_30d lies between 0 and 1": all(0 < r.repurchase_30d < 1 for r in s.regions),
        "pace goes on from day to day": until == sorted(set(until)) and until[0] > 0,
        "effect_days must lie within pace": 1 <= s.effect_days <= until[-1],
        "pace must reach day 30": until[-1] >= 30,
        "pace needs rates above 0": min(rate for _, rate in s.pace) > 0,
        "evenness, factors and values must be above 0": min(
            s.evenness,
            s.promotion_factor,
            s.traffic_fall,
            *(r.order_value for r in s.regions),
            *(a.basket for a in s.arms),
        )
        > 0,
        "shares of customers and orders lie between 0 and 1": all(
            0 <= share <= 1 for share in (s.promotion_share, s.returned, s.late, s.traffic_floor)
        ),
        "enrol_days must be 1 or more": s.enrol_days >= 1,
        "a factor needs a level for every arm": all(
            len(f.levels) == len(s.arms) for f in s.factors
        ),
        "factors need different names": len(s.factors) == len({f.name for f in s.factors}),
        "silence goes from 1 day or more to as many or more": s.silence is None
        or 1 <= s.silence[0] <= s.silence[1],
        "uptake and always must leave a share": all(
            a.uptake is None or a.uptake > 0 for a in s.arms
        )
        and s.always >= 0
        and s.keen_share <= 1
        and (s.redeems or s.always == 0),
        "forward lies between 0 and 1": all(0 <= a.forward <= 1 for a in s.arms),
        "forward_days must lie within pace": all(
            a.forward == 0 or (a.forward_days >= 1 and s.effect_days + a.forward_days <= until[-1])
            for a in s.arms
        ),
        "keen must be above 0": s.keen > 0,
        f"as_of must lie at most {until[-1]} days (the end of pace) after start": 0
        <= (s.as_of - s.start).days
        < until[-1],
    }
    return [text for text, holds in checks.items() if not holds]


def _is_null(arm: Arm) -> bool:
    return (
        dataclasses.replace(
            arm,
            lift=0.0,
            basket=1.0,
            unsubscribes=0.0,
            coupon=0.0,
            fee=0.0,
            uptake=None,
            credit=0.0,
            forward=0.0,
        )
        == arm
    )
