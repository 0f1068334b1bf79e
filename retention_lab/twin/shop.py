"""A scenario and a seed in; a `Shop` with its tables in memory, and its folder of files, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retention_lab.twin import draw
from retention_lab.twin.factorial import effects_of
from retention_lab.twin.files import chosen_seed, write_tables
from retention_lab.twin.incentive import incentive_of
from retention_lab.twin.model import WINDOW
from retention_lab.twin.scenario import COMEBACK_COUPON, Scenario
from retention_lab.twin.truth import Truth, truth_of

TABLES = ("customers", "assignments", "orders", "refunds", "unsubscribes")
Columns = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Shop:
    """The tables of a simulated shop as known at the end of the scenario's `as_of` day.

    customers     customer_id, region, market, channel, promotion_acquired, tier (at the
                  exposure), first_order_at
    assignments   customer_id, arm, assigned_at, region, market, channel, promotion_acquired,
                  tier: one row a customer; with redeemed (0 or 1) where offers are redeemed
    orders        order_id, customer_id, ordered_at, revenue (before the coupon), discount,
                  margin (after goods, coupon and fee), coupon_used (0 or 1), promised_at,
                  delivered_at (null: not yet)
    refunds       order_id, customer_id, at, amount
    unsubscribes  customer_id, at

    Money is USD, times are UTC without a zone, at whole seconds. Orders, refunds and
    unsubscribes stand in the order of time.
    """

    scenario: Scenario
    seed: int
    tables: Mapping[str, pa.Table]

    @property
    def truth(self) -> Truth:
        """The expected value of every 30-day metric; for other windows use `truth_of`."""
        return truth_of(self.scenario)

    def write(self, folder: str | Path) -> Path:
        """Write one Parquet file a table and ``truth.json`` into `folder`, and return it."""
        truth: dict[str, Any] = {"within_days": WINDOW, **self.truth.as_dict()}
        if self.scenario.factors:
            truth["factors"] = effects_of(self.scenario)
        truth |= incentive_of(self.scenario)
        return write_tables(folder, self.tables, self.scenario, self.seed, truth)


def simulate(scenario: Scenario = COMEBACK_COUPON, seed: int | None = None) -> Shop:
    """Simulate the shop of `scenario`; the same seed (default: the scenario's) gives the same.

    Raises ValueError for a seed below 0.
    """
    seed = chosen_seed(scenario.seed, seed)
    streams = draw.Streams(seed)
    c = draw.draw_customers(scenario, streams)
    history = draw.draw_history(scenario, streams, c)
    ids = _ids(draw.opaque(streams, "customers", np.arange(scenario.customers)))
    traits = _traits(scenario, c, draw.tier_of(c, history))
    customers = pa.table({"customer_id": ids, **traits, "first_order_at": _times(c.first_order)})
    arms = _words([a.name for a in scenario.arms], c.arm)
    assigned = {"customer_id": ids, "arm": arms, "assigned_at": _times(c.exposed), **traits}
    if scenario.redeems:
        assigned["redeemed"] = c.redeemed.astype(np.int8)
    orders, refunds = _sales(scenario, streams, c, history)
    tables = (customers, pa.table(assigned), orders, refunds, _unsubscribes(scenario, streams, c))
    return Shop(scenario, seed, MappingProxyType(dict(zip(TABLES, tables, strict=True))))


def _traits(s: Scenario, c: draw.Customers, tier: draw.Ints) -> dict[str, pa.Array]:
    return {
        "region": _words([r.name for r in s.regions], c.region),
        "market": _words([m for r in s.regions for m in r.markets], c.market),
        "channel": _words(s.channels, c.channel),
        "promotion_acquired": pa.array(c.acquired),
        "tier": _words(draw.TIERS, tier),
    }


def _unsubscribes(s: Scenario, streams: draw.Streams, c: draw.Customers) -> pa.Table:
    who, at = draw.draw_unsubscribes(s, streams, c)
    gone = _in_order(_known(s, {"who": who, "at": at}, "at"), "at")
    ids = _ids(draw.opaque(streams, "customers", gone["who"]))
    return pa.table({"customer_id": ids, "at": _times(gone["at"])})


def _sales(
    s: Scenario, streams: draw.Streams, c: draw.Customers, history: draw.Orders
) -> tuple[pa.Table, pa.Table]:
    """The tables of orders and refunds, from the orders before and after the exposure."""
    parts = {
        "first": draw.draw_first(s, streams, c),
        "history": history,
        "orders": draw.draw_orders(s, streams, c),
    }
    known = [
        _part(s, streams, c, name, o, len(parts) * np.arange(len(o.who)) + i)
        for i, (name, o) in enumerate(parts.items())
    ]
    sold = {name: np.concatenate([part[name] for part in known]) for name in known[0]}
    sold = _in_order(sold, "at")
    delivered = _times(sold["delivered"], sold["delivered"] >= draw.seconds(s.end))
    orders = {
        "order_id": _ids(draw.opaque(streams, "orders", sold["number"])),
        "customer_id": _ids(draw.opaque(streams, "customers", sold["who"])),
        "ordered_at": _times(sold["at"]),
        "revenue": sold["revenue"],
        "discount": sold["discount"],
        "margin": np.round(s.margin * sold["revenue"] - sold["discount"] - sold["fee"], 2),
        "coupon_used": (sold["discount"] > 0).astype(np.int8),
        "promised_at": _times(sold["promised"]),
        "delivered_at": delivered,
    }
    back = {name: sold[name] for name in ("number", "who", "refunded", "amount")}
    back = _in_order(_known(s, back, "refunded"), "refunded")
    refunds = {
        "order_id": _ids(draw.opaque(streams, "orders", back["number"])),
        "customer_id": _ids(draw.opaque(streams, "customers", back["who"])),
        "at": _times(back["refunded"]),
        "amount": np.round(back["amount"], 2),
    }
    return pa.table(orders), pa.table(refunds)


def _part(
    s: Scenario,
    streams: draw.Streams,
    c: draw.Customers,
    name: str,
    o: draw.Orders,
    number: draw.Ints,
) -> Columns:
    """The columns of those orders of a part that are known; no two parts share a number."""
    revenue = np.round(o.revenue, 2)
    promised, delivered = draw.draw_parcels(s, streams, name, c.region[o.who], o.at)
    refunded, amount = draw.draw_refunds(s, streams, name, delivered, revenue)
    columns = {
        "number": number,
        "who": o.who,
        "at": o.at,
        "revenue": revenue,
        "discount": o.discount,
        "fee": o.fee,
        "promised": promised,
        "delivered": delivered,
        "refunded": refunded,
        "amount": amount,
    }
    return _known(s, columns, "at")


def _known(s: Scenario, columns: Columns, at: str) -> Columns:
    """What has happened by the end of as_of."""
    known = np.flatnonzero(columns[at] < draw.seconds(s.end))
    return {name: column[known] for name, column in columns.items()}


def _in_order(columns: Columns, at: str) -> Columns:
    """The rows in the order of time."""
    order = np.argsort(columns[at], kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _words(words: Sequence[str], position: draw.Ints) -> pa.Array:
    codes = pa.array(position.astype(np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(words))).dictionary_decode()


def _ids(text: npt.NDArray[np.uint8]) -> pa.Array:
    n, width = text.shape
    ends = pa.py_buffer(np.arange(0, (n + 1) * width, width, dtype=np.int32))
    return pa.StringArray.from_buffers(n, ends, pa.py_buffer(np.ascontiguousarray(text)))


def _times(second: draw.Ints, unknown: npt.NDArray[Any] | None = None) -> pa.Array:
    return pa.array(second * 1_000_000, mask=unknown).cast(pa.timestamp("us"))
