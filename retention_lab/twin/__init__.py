"""A scenario and a seed in; the tables of a simulated shop with known truth out.

>>> from retention_lab.twin import AA, simulate
>>> simulate(AA, seed=1).tables["assignments"].num_rows
40000

Where new things go: a new habit of customers or a new kind of effect is a field of `Scenario`
or `Arm` (scenario.py), its closed form in model.py and truth.py (of redeemers, doses and weeks in
incentive.py), its draws in draw.py with a stream of their own, its columns in shop.py. A new
ready-made shop is a `Scenario` in scenario.py, a line of `MADE` there, and an entry in
data/registry.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retention_lab.twin.scenario import (
    AA,
    COMEBACK_COUPON,
    COUPON_AND_RETURNS,
    COUPON_DOSE,
    FORWARD_COUPON,
    MADE,
    REDEEMED_COUPON,
    REGIONS,
    WINBACK_EMAIL,
    Arm,
    Factor,
    Region,
    Scenario,
    scenario_of,
)

if TYPE_CHECKING:
    from retention_lab.twin.factorial import effects_of
    from retention_lab.twin.shop import Shop, simulate
    from retention_lab.twin.truth import Truth, truth_of

__all__ = [
    "AA",
    "COMEBACK_COUPON",
    "COUPON_AND_RETURNS",
    "COUPON_DOSE",
    "FORWARD_COUPON",
    "MADE",
    "REDEEMED_COUPON",
    "REGIONS",
    "WINBACK_EMAIL",
    "Arm",
    "Factor",
    "Region",
    "Scenario",
    "Shop",
    "Truth",
    "effects_of",
    "scenario_of",
    "simulate",
    "truth_of",
]


def __getattr__(name: str) -> Any:
    # numpy and pyarrow are imported when a shop is made, not when a scenario is read.
    if name in ("Shop", "simulate"):
        from retention_lab.twin import shop

        return getattr(shop, name)
    if name in ("Truth", "truth_of"):
        from retention_lab.twin import truth

        return getattr(truth, name)
    if name == "effects_of":
        from retention_lab.twin import factorial

        return factorial.effects_of
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
