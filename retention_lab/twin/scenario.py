"""What a simulated shop is like, in; a frozen `Scenario`, with four ready-made ones, out.

Plain values only (no numpy), so that a scenario is cheap to import, compare and hash.
Levels follow what cross-border shops report: 30-day repurchase by region, the fall of traffic
after a promotion peak, the share of returns and of late parcels. They are assumptions of the
simulation, not findings.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math

from retention_lab.twin.faults import faults_of


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
    uptake        share of customers who redeem the offer and would not without it: the effect is
                  on them alone, and `lift` is still that of all customers. None: nobody redeems
                  beforehand, and the effect is on everyone
    credit        USD that a redemption costs the shop
    forward       share of the orders that the effect brings which are taken from the
                  `forward_days` days after it: 1 if the arm only moves orders forward
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
    uptake: float | None = None
    credit: float = 0.0
    forward: float = 0.0
    forward_days: int = 28


@dataclasses.dataclass(frozen=True, slots=True)
class Factor:
    """One factor of a factorial design: its `levels`, one for each arm in the arms' order."""

    name: str
    levels: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """How the lift grows with a coupon of d USD: `most` (1 - exp(-d / `scale`)), ever slower.

    `redeemed` is the share of those who may use it that do.
    """

    most: float
    scale: float
    redeemed: float = 0.5

    def lift(self, dollars: float) -> float:
        return -self.most * math.expm1(-dollars / self.scale)

    def arm(self, dollars: float) -> Arm:
        """The arm of a coupon of `dollars`."""
        return Arm(f"c{dollars:g}", lift=self.lift(dollars), coupon=dollars, redeemed=self.redeemed)


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
    always: float = 0.0
    keen: float = 1.0
    response: Response | None = None

    def __post_init__(self) -> None:
        faults = tuple(faults_of(self))
        if faults:
            raise ValueError(f"scenario {self.name!r}: " + "; ".join(faults))

    @property
    def end(self) -> dt.datetime:
        """The first instant after `as_of`; nothing at or after it is in the tables (UTC)."""
        return dt.datetime.combine(self.as_of + dt.timedelta(days=1), dt.time())

    @property
    def redeems(self) -> bool:
        """Whether an arm's offer is redeemed beforehand, so that redemption is in the tables."""
        return any(a.uptake is not None for a in self.arms)

    @property
    def keen_share(self) -> float:
        """The share of customers who redeem in some arm."""
        return self.always + max((a.uptake or 0.0 for a in self.arms), default=0.0)

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

REDEEMED_COUPON = Scenario(
    name="redeemed-coupon",
    arms=(
        Arm("none"),
        Arm("offer", lift=0.040, uptake=0.35, credit=8.0, forward=0.3, forward_days=28),
    ),
    seed=20251111,
    start=dt.date(2025, 11, 11),
    enrol_days=28,
    as_of=dt.date(2026, 3, 5),
    promotion_share=0.3,
    keen=1.6,
)
"""An offer of 8 USD of store credit, after Singles' Day (11 November), that one in three redeems.

Who redeems orders more anyway (1.6 times), so redeemers against the others says little. Three in
ten of the orders that it brings would have come in the four weeks after it. All have been followed
for twelve weeks.
"""

DOSE = Response(most=0.075, scale=9.0, redeemed=0.9)
COUPON_DOSE = Scenario(
    name="coupon-dose",
    arms=(Arm("none"), *(DOSE.arm(d) for d in (4.0, 8.0, 12.0, 16.0, 24.0))),
    customers=60_000,
    seed=20260206,
    start=dt.date(2026, 2, 6),
    enrol_days=21,
    as_of=dt.date(2026, 3, 31),
    traffic_floor=0.4,
    traffic_fall=6.0,
    promotion_share=0.2,
    response=DOSE,
)
"""No coupon against 4, 8, 12, 16 and 24 USD, before Chinese New Year; each dollar does less.

A coupon costs its value whenever it is used, also by those who would have bought anyway, so that
profit rises, then falls. All have had their 30 days.
"""

FORWARD_COUPON = Scenario(
    name="forward-coupon",
    arms=(Arm("none"), Arm("c10", lift=0.060, coupon=10.0, forward=1.0, forward_days=28)),
    seed=20250901,
    start=dt.date(2025, 9, 1),
    enrol_days=28,
    as_of=dt.date(2025, 12, 24),
    promotion_share=0.2,
)
"""A coupon of 10 USD that only moves orders forward: all it brings lacks in the four weeks after.

After 30 days it looks like a success; after twelve weeks it has brought nothing and cost money.
"""

MADE = {
    "twin": "COMEBACK_COUPON",
    "twin-returns": "COUPON_AND_RETURNS",
    "twin-winback": "WINBACK_EMAIL",
    "twin-redeemed": "REDEEMED_COUPON",
    "twin-dose": "COUPON_DOSE",
    "twin-forward": "FORWARD_COUPON",
}
"""The simulated datasets of data/registry.yaml, and the name here of the scenario of each."""


def scenario_of(dataset: str) -> Scenario:
    """The scenario of a simulated dataset; KeyError for a name that is none.

    >>> scenario_of("twin").name
    'comeback-coupon'
    """
    scenario: Scenario = globals()[MADE[dataset]]
    return scenario
