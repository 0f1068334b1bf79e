"""A solved scenario and a seed in; the shop's events, as numpy arrays, out.

Every column is drawn from a stream of its own, named after it, so that the size or the presence
of one table does not shift another, and the first customers of a large shop are those of a
small one. Everything is drawn in bulk; the only loops run over arms.

Units: times are whole seconds since 1970 (UTC), durations seconds, money USD. `who` is the
position of the customer, 0 to n - 1.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from retention_lab.twin.model import solve
from retention_lab.twin.scenario import Scenario
from retention_lab.twin.truth import UNSUBSCRIBE_DAYS

DAY = 86_400
NEW_WITHIN = 30 * DAY
SILENT_AFTER = 90 * DAY
MATURE_FROM = 6
TIERS = ("new", "growing", "mature", "silent")
NEVER = 2**62  # seconds
OLDEST = 900  # days since the first order of the oldest customer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Number = TypeVar("Number", np.float64, np.int64)


@dataclasses.dataclass(frozen=True, slots=True)
class Customers:
    """One entry a customer. Integer columns are positions in the scenario's lists."""

    region: Ints
    market: Ints  # in the markets of all regions, one after the other
    channel: Ints
    arm: Ints
    acquired: Bools
    exposed: Ints
    first_order: Ints
    rate: Floats  # orders a day at pace 1, before an arm's factor
    taste: Floats  # the customer's own factor on order values, mean 1
    silent: Ints  # seconds from the last order to the exposure; 0 where it may be at any time
    redeemed: Bools  # whether the offer was redeemed
    under: Ints  # the arm whose effect the customer is under: the own one, or the first


@dataclasses.dataclass(frozen=True, slots=True)
class Orders:
    """One entry an order, in no particular order of time."""

    who: Ints
    at: Ints
    revenue: Floats
    discount: Floats
    fee: Floats


class Streams:
    """A numpy Generator for every name; names never share random numbers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, *name.encode()])


def draw_customers(s: Scenario, streams: Streams) -> Customers:
    """Who the `s.customers` customers are, and when each enters which arm."""
    n = s.customers
    markets = [(i, len(r.markets)) for i, r in enumerate(s.regions) for _ in r.markets]
    weights = [s.regions[i].share / count for i, count in markets]
    market = _pick(streams("customers.market"), weights, n)
    region = np.array([i for i, _ in markets])[market]
    acquired = streams("customers.acquired").random(n) < s.promotion_share
    scale = np.empty((len(s.regions), 2))
    positions = {r.name: i for i, r in enumerate(s.regions)}
    for cell in solve(s).cells:
        if not cell.keen:
            scale[positions[cell.region.name], int(cell.acquired)] = cell.scale
    multiplier = streams("customers.rate").standard_gamma(s.evenness, n)
    arm = _pick(streams("assignments.arm"), [a.share for a in s.arms], n)
    kind = streams("customers.keen").random(n) if s.redeems else np.ones(n)
    uptake = np.array([a.uptake or 0.0 for a in s.arms])[arm]
    redeemed = kind < s.always + uptake
    keen = np.where(kind < s.keen_share, s.keen, 1.0)
    by_choice = np.array([a.uptake is not None for a in s.arms])[arm]
    under = np.where(by_choice & ~(redeemed & (kind >= s.always)), 0, arm)
    exposed = _exposure(s, streams("assignments.at"), n)
    tenure = _tenure(streams("customers.tenure"), acquired)
    silent = np.zeros(n, dtype=np.int64)
    if s.silence is not None:
        low, high = s.silence
        days = low + (high - low) * streams("customers.silence").random(n)
        silent = np.floor(days * DAY).astype(np.int64)
        tenure[acquired] = 0
    return Customers(
        region=region,
        market=market,
        channel=_pick(streams("customers.channel"), [1.0] * len(s.channels), n),
        arm=arm,
        acquired=acquired,
        exposed=exposed,
        first_order=exposed - silent - tenure,
        rate=scale[region, acquired.astype(np.int64)] * multiplier * keen,
        taste=_lognormal(streams("customers.taste"), s.spend_between, n),
        silent=silent,
        redeemed=redeemed,
        under=under,
    )


def draw_first(s: Scenario, streams: Streams, c: Customers) -> Orders:
    """Every customer's first order."""
    who = np.arange(len(c.rate))
    revenue = _lognormal(streams("first.value"), s.spend_within, len(who))
    revenue *= c.taste * _order_value(s)[c.region]
    return Orders(who, c.first_order, revenue, np.zeros(len(who)), np.zeros(len(who)))


def draw_history(s: Scenario, streams: Streams, c: Customers) -> Orders:
    """Orders between a customer's first and the exposure, or the silence before it.

    Where silence is asked for, one of them is the last order before it.
    """
    end = c.exposed - c.silent
    tenure = end - c.first_order
    count = streams("history.count").poisson(c.rate * s.history_pace * tenure / DAY)
    last = (c.silent > 0) & (tenure > 0)
    count += last
    who = np.repeat(np.arange(len(count)), count)
    back = np.floor(streams("history.at").random(len(who)) * tenure[who]).astype(np.int64)
    back[(np.cumsum(count) - count)[last]] = 0
    revenue = _lognormal(streams("history.value"), s.spend_within, len(who))
    revenue *= c.taste[who] * _order_value(s)[c.region[who]]
    return Orders(who, end[who] - back, revenue, np.zeros(len(who)), np.zeros(len(who)))


def draw_orders(s: Scenario, streams: Streams, c: Customers) -> Orders:
    """Orders after the exposure, up to the scenario's horizon, with the arms' effects."""
    model = solve(s)
    total = np.array([model.paths[a.name][1][-1] for a in s.arms])
    count = streams("orders.count").poisson(c.rate * total[c.under])
    who = np.repeat(np.arange(len(count)), count)
    arm = c.under[who]
    height = streams("orders.at").random(len(who)) * total[arm]
    after = np.empty(len(who))
    for i, a in enumerate(s.arms):
        days, heights = model.paths[a.name]
        mine = arm == i
        after[mine] = np.interp(height[mine], heights, days)
    # Whole seconds, rounded up: an order stays within (exposure, exposure + window].
    elapsed = np.maximum(np.ceil(after * DAY).astype(np.int64), 1)
    in_effect = elapsed <= s.effect_days * DAY
    basket = np.where(in_effect, np.array([a.basket for a in s.arms])[arm], 1.0)
    revenue = _lognormal(streams("orders.value"), s.spend_within, len(who))
    revenue *= c.taste[who] * _order_value(s)[c.region[who]] * basket
    first = after == np.repeat(_smallest(after, count), count[count > 0])
    remembers = streams("orders.coupon").random(len(who))
    used = first & in_effect
    used &= remembers < np.array([a.redeemed for a in s.arms])[arm]
    used &= revenue >= np.array([a.min_spend for a in s.arms])[arm]
    discount = np.where(used, np.array([a.coupon for a in s.arms])[arm], 0.0)
    fee = np.where(in_effect, np.array([a.fee for a in s.arms])[arm], 0.0)
    return Orders(who, c.exposed[who] + elapsed, revenue, discount, fee)


def draw_parcels(
    s: Scenario, streams: Streams, part: str, region: Ints, at: Ints
) -> tuple[Ints, Ints]:
    """When the parcels of orders placed `at` are promised, and when they are delivered."""
    rng = streams(f"{part}.delivery").random((len(at), 2))
    promised = np.array([r.delivery_days for r in s.regions], dtype=np.float64)[region]
    late = rng[:, 0] < s.late
    days = np.where(late, promised - 4 * np.log1p(-rng[:, 1]), promised * (1 - 0.4 * rng[:, 1]))
    return at + (promised * DAY).astype(np.int64), at + np.ceil(days * DAY).astype(np.int64)


def draw_refunds(
    s: Scenario, streams: Streams, part: str, delivered: Ints, revenue: Floats
) -> tuple[Ints, Floats]:
    """When each order is refunded (NEVER for those that are kept), and how much: all, or half."""
    rng = streams(f"{part}.refund").random((len(delivered), 3))
    at = delivered + np.ceil((1 + 13 * rng[:, 1]) * DAY).astype(np.int64)
    amount = np.where(rng[:, 2] < 0.25, revenue / 2, revenue)
    return np.where(rng[:, 0] < s.returned, at, NEVER), amount


def draw_unsubscribes(s: Scenario, streams: Streams, c: Customers) -> tuple[Ints, Ints]:
    """Who unsubscribes within 30 days of the exposure, and when: sooner rather than later."""
    share = np.array([s.unsubscribed + a.unsubscribes for a in s.arms])[c.arm]
    rng = streams("unsubscribes").random((len(share), 2))
    who = np.flatnonzero(rng[:, 0] < share)
    elapsed = np.ceil(UNSUBSCRIBE_DAYS * DAY * rng[who, 1] ** 2).astype(np.int64)
    return who, c.exposed[who] + np.maximum(elapsed, 1)


def tier_of(c: Customers, history: Orders) -> Ints:
    """Positions in TIERS at the exposure, from the first order and the `history` after it.

    Where several apply, the first wins: new (first order within 30 days), silent (no order for
    90 days), mature (6 orders or more), growing (the others).
    """
    count = np.bincount(history.who, minlength=len(c.exposed))
    last = c.first_order.copy()
    last[count > 0] = -_smallest(-history.at, count)
    return np.select(
        [
            c.exposed - c.first_order <= NEW_WITHIN,
            c.exposed - last > SILENT_AFTER,
            1 + count >= MATURE_FROM,
        ],
        [TIERS.index("new"), TIERS.index("silent"), TIERS.index("mature")],
        TIERS.index("growing"),
    )


def opaque(streams: Streams, table: str, position: Ints) -> npt.NDArray[np.uint8]:
    """Ids of 13 bytes for the `position`s, as an array of bytes of shape (len(position), 13).

    The table's first letter, then 12 hexadecimal digits: the position through a bijection of 48
    bits (xor-shifts and odd factors), so ids never collide and say nothing about sequence.
    """
    mask = np.uint64((1 << 48) - 1)
    half = np.uint64(24)
    salt, *odd = streams(f"{table}.id").integers(0, 1 << 48, 3, dtype=np.uint64)
    x = (position.astype(np.uint64) + salt) & mask
    for factor in odd:
        x = ((x ^ (x >> half)) * (factor | np.uint64(1))) & mask
    x ^= x >> half
    pairs = np.frombuffer("".join(f"{i:02x}" for i in range(256)).encode(), dtype=np.uint16)
    octets = x.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    text = np.empty((len(position), 13), dtype=np.uint8)
    text[:, 0] = ord(table[0])
    text[:, 1:] = pairs[octets].view(np.uint8)
    return text


def seconds(moment: dt.datetime) -> int:
    """Whole seconds from 1970 to the (UTC) `moment`."""
    return int((moment - dt.datetime(1970, 1, 1)).total_seconds())


def _exposure(s: Scenario, rng: np.random.Generator, n: int) -> Ints:
    days = np.arange(s.enrol_days)
    traffic = s.traffic_floor + (1 - s.traffic_floor) * np.exp(-days / s.traffic_fall)
    start = seconds(dt.datetime.combine(s.start, dt.time()))
    knots = np.concatenate([[0.0], np.cumsum(traffic)])
    after = np.interp(rng.random(n) * knots[-1], knots, np.arange(s.enrol_days + 1))
    exposed: Ints = start + np.floor(after * DAY).astype(np.int64)
    return exposed


def _tenure(rng: np.random.Generator, acquired: Bools) -> Ints:
    u = rng.random(len(acquired))
    days = np.where(acquired, 3 * u, 3 + (OLDEST - 3) * u)
    tenure: Ints = 3_600 + np.floor(days * DAY).astype(np.int64)
    return tenure


def _pick(rng: np.random.Generator, weights: list[float], n: int) -> Ints:
    edges = np.cumsum(weights)[:-1] / sum(weights)
    picked: Ints = np.searchsorted(edges, rng.random(n), side="right")
    return picked


def _lognormal(rng: np.random.Generator, spread: float, n: int) -> Floats:
    return np.exp(spread * rng.standard_normal(n) - spread**2 / 2)


def _order_value(s: Scenario) -> Floats:
    return np.array([r.order_value for r in s.regions])


def _smallest(values: npt.NDArray[Number], count: Ints) -> npt.NDArray[Number]:
    """The smallest of each customer's consecutive `values`, for those who have any."""
    some = count[count > 0]
    if not len(some):
        return values[:0]
    starts = np.concatenate([[0], np.cumsum(some)[:-1]])
    smallest: npt.NDArray[Number] = np.minimum.reduceat(values, starts)
    return smallest
