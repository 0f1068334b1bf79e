"""What a simulated shop is like, in; a frozen `Scenario`, with four ready-made ones, out.

Plain values only (no numpy), so that a scenario is cheap to import, compare and hash.
Levels follow what cross-border shops report: 30-day repurchase by region, the fall of traffic
after a promotion peak, the share of returns and of late parcels. They are assumptions of the
simulation, not findings.
"""

from __future__ import annotations

import dataclasses
import datetime as dt


@dataclasses.dataclass(frozen=True, slots=True)
class Region:
    """A part of the world: its `share` of customers (any positive weight) and their habits.

    `repurchase_30d` is the probability that a customer of the control arm orders at least once
    in the 30 days after exposure; `order_value` the mean value of an order in USD before any
    coupon; `delivery_days` what is promised at the order.
    """

    name: str
    share: float
    repurchase_30d: float
    order_value: float
    delivery_days: int
    markets: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its `share` of units (any positive weight) and its true effects.

    lift          absolute change of the 30-day repurchase probability over all customers:
                  0.03 means three percentage points more than in the first arm
    basket        factor on the value of an order while the effect lasts
    unsubscribes  absolute change of the 30-day unsubscribe probability
    coupon        USD taken off the customer's first order after exposure, while the effect
                  lasts, if that order is worth `min_spend` USD and (with probability
                  `redeemed`) the customer remembers the coupon
    fee           USD that every order costs the shop while the effect lasts, such as the
                  insurance that pays for a free return
    """

    name: str
    share: float = 1.0
    lift: float = 0.0
    basket: float = 1.0
    unsubscribes: float = 0.0
    coupon: float = 0.0
    min_spend: float = 60.0
    redeemed: float = 0.5
    fee: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a factorial design: its `levels`, one for each arm in the arms' order."""

    name: str
    levels: tuple[str, ...]


REGIONS = (
    Region("North America", 0.29, 0.305, 78.0, 12, ("US", "CA")),
    Region("Europe", 0.26, 0.258, 74.0, 14, ("DE", "FR", "GB")),
    Region("South-East Asia", 0.20, 0.182, 52.0, 15, ("ID", "SG", "TH")),
    Region("Middle East", 0.09, 0.150, 81.0, 18, ("AE", "SA")),
    Region("Latin America", 0.10, 0.120, 58.0, 24, ("BR", "MX")),
    Region("Africa", 0.06, 0.090, 47.0, 27, ("NG", "ZA")),
)
CHANNELS = ("search", "social", "marketplace", "affiliate")


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """A shop after a promotion peak, and the experiment that runs in it; the first arm is control.

    Customers enter the experiment from the day of the peak, `start`, over `enrol_days` days,
    most of them at once: a day's traffic is ``traffic_floor + (1 - traffic_floor) *
    exp(-day / traffic_fall)`` of the peak's. The tables hold what is known at the end of the
    day `as_of`; a later `as_of` adds rows and changes none.

    A customer orders as a Poisson process. Its rate is the region's level, times
    `promotion_factor` for the `promotion_share` who came for the promotion, times a gamma
    multiplier with mean 1 and shape `evenness` (small: few customers order most), times
    `pace`: (until day, relative rate) since exposure, or `history_pace` before it. An arm's
    effect multiplies the rate during the first `effect_days` days.

    Order values are lognormal: `spend_between` is the standard deviation of the log between
    customers, `spend_within` between a customer's orders. `margin` is what is left of an
    order's value after the goods, before coupon and fee. `unsubscribed` is the control's share
    within 30 days of exposure. `returned` and `late` are shares of orders.

    `factors` say which level of what each arm has, where the design is factorial. With
    `silence`, customers enter when they have been silent for a time: their last order lies so
    many days before the exposure (drawn evenly between the two). Those who came for the
    promotion have ordered once.

    Raises ValueError where the numbers do not make a shop.
    """

    name: str
    arms: tuple[Arm, ...]
    customers: int = 40_000
    seed: int = 20251128
    regions: tuple[Region, ...] = REGIONS
    channels: tuple[str, ...] = CHANNELS
    start: dt.date = dt.date(2025, 11, 28)
    enrol_days: int = 28
    as_of: dt.date = dt.date(2026, 1, 15)
    traffic_floor: float = 0.15
    traffic_fall: float = 2.5
    promotion_share: float = 0.45
    promotion_factor: float = 0.6
    evenness: float = 0.8
    history_pace: float = 0.6
    pace: tuple[tuple[int, float], ...] = ((30, 1.0), (90, 0.5), (180, 0.25))
    effect_days: int = 30
    spend_between: float = 0.6
    spend_within: float = 0.5
    margin: float = 0.4
    unsubscribed: float = 0.01
    returned: float = 0.17
    late: float = 0.12
    factors: tuple[Factor, ...] = ()
    silence: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        faults = tuple(_faults(self))
        if faults:
            raise ValueError(f"scenario {self.name!r}: " + "; ".join(faults))

    @property
    def end(self) -> dt.datetime:
        """The first instant after `as_of`; nothing at or after it is in the tables (UTC)."""
        return dt.datetime.combine(self.as_of + dt.timedelta(days=1), dt.time())

    @property
    def horizon(self) -> int:
        """Days after exposure for which orders are simulated."""
        return self.pace[-1][0]

    def arm(self, name: str) -> Arm:
        """The arm called `name`; KeyError where there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"scenario {self.name!r} has no arm {name!r}")


def _faults(s: Scenario) -> list[str]:
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
        f"as_of must lie at most {until[-1]} days (the end of pace) after start": 0
        <= (s.as_of - s.start).days
        < until[-1],
    }
    return [text for text, holds in checks.items() if not holds]


def _is_null(arm: Arm) -> bool:
    return (
        dataclasses.replace(arm, lift=0.0, basket=1.0, unsubscribes=0.0, coupon=0.0, fee=0.0) == arm
    )


COMEBACK_COUPON = Scenario(
    name="comeback-coupon",
    arms=(
        Arm("none"),
        Arm("c10", lift=0.030, basket=1.01, unsubscribes=0.0005, coupon=10.0),
        Arm("c20", lift=0.033, basket=1.02, unsubscribes=0.0120, coupon=20.0),
    ),
)
"""No coupon against 10 and 20 USD off an order of 60 USD or more.

Ten dollars bring back three customers in a hundred and earn more than they cost; twenty bring
hardly more, cost twice as much and make readers unsubscribe. The seed is the day of the peak: of
each ready-made scenario it is `start`, a rule fixed before any result was seen.
"""

AA = Scenario(name="aa", arms=(Arm("control"), Arm("variant")))
"""Two arms that differ in name only: every difference that a test finds is chance."""

COUPON_AND_RETURNS = Scenario(
    name="coupon-and-returns",
    arms=(
        Arm("none"),
        Arm("c10", lift=0.024, basket=1.01, unsubscribes=0.0005, coupon=10.0),
        Arm("free", lift=0.020, basket=1.02, fee=2.0),
        Arm("c10_free", lift=0.027, basket=1.03, unsubscribes=0.0005, coupon=10.0, fee=2.0),
    ),
    factors=(
        Factor("coupon", ("no coupon", "$10 off", "no coupon", "$10 off")),
        Factor("returns", ("paid returns", "paid returns", "free returns", "free returns")),
    ),
    seed=20251212,
    start=dt.date(2025, 12, 12),
    enrol_days=21,
    as_of=dt.date(2026, 1, 31),
    promotion_share=0.2,
    evenness=0.5,
    history_pace=1.0,
)
"""A coupon of 10 USD, free returns, both or neither, after Double 12 (12 December).

Either brings back customers, but largely the same ones: together they bring 1.7 in 100 fewer than
their effects added up, while the costs do add up. A return costs 12 USD to send, and 17 orders in
100 come back: 2 USD an order. Few customers order most, and most have ordered before, so that
what customers did before says much about what they do. All have had their 30 days.
"""

WINBACK_EMAIL = Scenario(
    name="winback-email",
    arms=(Arm("none"), Arm("email", lift=0.020, unsubscribes=0.004)),
    regions=tuple(
        dataclasses.replace(r, repurchase_30d=round(0.6 * r.repurchase_30d, 4)) for r in REGIONS
    ),
    seed=20251228,
    start=dt.date(2025, 12, 28),
    enrol_days=42,
    as_of=dt.date(2026, 2, 20),
    traffic_floor=0.3,
    traffic_fall=10.0,
    promotion_share=0.3,
    evenness=0.4,
    history_pace=1.6,
    silence=(30, 45),
)
"""An e-mail, or none, to customers 30 to 45 days after their last order.

They enter from 30 days after Black Friday on, and come back at 0.6 times the usual rate. The
tables hold what is known before the test ends: some have not had their 30 days.
"""

MADE = {
    "twin": "COMEBACK_COUPON",
    "twin-returns": "COUPON_AND_RETURNS",
    "twin-winback": "WINBACK_EMAIL",
}
"""The simulated datasets of data/registry.yaml, and the name here of the scenario of each."""


def scenario_of(dataset: str) -> Scenario:
    """The scenario of a simulated dataset; KeyError for a name that is none.

    >>> scenario_of("twin").name
    'comeback-coupon'
    """
    scenario: Scenario = globals()[MADE[dataset]]
    return scenario
