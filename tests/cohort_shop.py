"""A few hundred customers in; a plan on files of theirs, and their raw rows, out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import retention_lab as rl
from retention_lab.experiment.plan import Plan

AS_OF = dt.date(2026, 6, 30)
FIRST = dt.date(2026, 1, 1)
NOON = dt.datetime.combine(FIRST, dt.time(12))
HORIZON = 60
ORDERS = {"table": "orders.parquet", "at": "at"}
REFUNDS = {"table": "refunds.parquet", "at": "at"}
STUDY = {"unit": "who", "origin": "first orders", "event": "next orders", "horizon": f"{HORIZON}d"}
EXPOSED = {"origin": "exposure", "event": "next orders", "horizon": f"{HORIZON}d"}


@dataclasses.dataclass
class Shop:
    """Customers by position: the day (since 1 January 2026) of their origin, and what followed.

    `orders` and `refunds` are days of age, by customer; an order on the origin's day itself is the
    origin. `columns` are levels of the customers, on each of their orders, and `value` is what one
    of their orders is worth.
    """

    origin: Sequence[int]
    orders: Sequence[Sequence[int]]
    refunds: Sequence[Sequence[int]] = ()
    columns: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    value: Sequence[float] = tuple(10.0 + i % 7 for i in range(1000))

    def tables(self) -> dict[str, pa.Table]:
        """The tables of orders and refunds; a refund is later on its day than an order."""
        rows = [(i, age) for i, ages in enumerate(self.orders) for age in (0, *ages)]
        who, at = self._rows(rows, hours=0)
        columns = {"who": who, "at": at, "value": [self.value[i] for i, _ in rows]}
        for name, levels in self.columns.items():
            none = all(v is None for v in levels)
            columns[name] = pa.array([levels[i] for i, _ in rows], pa.float64() if none else None)
        found = {"orders": pa.table(columns)}
        if self.refunds:
            rows = [(i, age) for i, ages in enumerate(self.refunds) for age in ages]
            found["refunds"] = pa.table(dict(zip(("who", "at"), self._rows(rows, 1), strict=True)))
        return found

    def _rows(self, rows: Sequence[tuple[int, int]], hours: int) -> tuple[pa.Array, pa.Array]:
        at = [NOON + dt.timedelta(days=self.origin[i] + age, hours=hours) for i, age in rows]
        return pa.array([f"c{i}" for i, _ in rows], pa.string()), pa.array(at, pa.timestamp("us"))

    def people(self, horizon: int = HORIZON) -> pd.DataFrame:
        """One row a customer, by a plain loop: last, stop, cause (1: order, 2: refund), levels."""
        found = []
        for i, origin in enumerate(self.origin):
            day = FIRST + dt.timedelta(days=int(origin))
            last = min((AS_OF - day).days, horizon)
            ends = [(age, 1) for age in self.orders[i] if age > 0]
            ends += [(age, 2) for age in (self.refunds[i] if self.refunds else ())]
            stop, cause = min([e for e in ends if e[0] <= last], default=(last, 0))
            levels = {name: values[i] for name, values in self.columns.items()}
            ages = [age for age in self.orders[i] if age > 0]
            row = {"last": (AS_OF - day).days, "stop": stop, "cause": cause, "ages": ages}
            found.append({**row, "cohort": f"{day:%Y-%m}", **levels})
        return pd.DataFrame(found)

    def part(self, kept: Sequence[int]) -> Shop:
        """The shop of some customers only."""
        columns = {k: [v[i] for i in kept] for k, v in self.columns.items()}
        refunds = [self.refunds[i] for i in kept] if self.refunds else ()
        pick = [self.origin[i] for i in kept], [self.orders[i] for i in kept]
        return Shop(*pick, refunds, columns, [self.value[i] for i in kept])


def random_shop(seed: int, customers: int = 400) -> Shop:
    """Customers of four markets, one of them small, over six months; they differ by market."""
    rng = np.random.default_rng(seed)
    market = np.array(["DE", "FR", "ES", "IS"])[rng.choice(4, customers, p=[0.5, 0.3, 0.19, 0.01])]
    rate = np.where(market == "DE", 0.03, 0.015) * rng.gamma(1.0, 1.0, customers)
    orders = [np.unique(rng.integers(1, 181, rng.poisson(180 * r))).tolist() for r in rate]
    back = [rng.integers(0, 60, 1).tolist() if rng.random() < 0.2 else [] for _ in range(customers)]
    age = rng.integers(18, 70, customers).astype(float).tolist()
    columns = {"market": market.tolist(), "age": age}
    return Shop(rng.integers(0, 170, customers).tolist(), orders, back, columns)


def study(
    folder: Path, shop: Shop, *, name: str = "study", min_cell: int = 5, **survival: Any
) -> Plan:
    """The plan of a cohort study on `shop`, whose tables are written into `folder`."""
    write(folder, shop.tables())
    events = {"orders": ORDERS} | ({"refunds": REFUNDS} if shop.refunds else {})
    data = {"events": events, "as_of": AS_OF}
    return planned(folder, name, data, min_cell, {**STUDY, **survival})


def planned(
    folder: Path,
    name: str,
    data: Mapping[str, Any],
    min_cell: int,
    survival: Mapping[str, Any],
    **spec: Any,
) -> Plan:
    """The plan of an experiment file with these sections, which is written into `folder`."""
    content = {"schema": 1, "name": name, "title": "A study", "data": dict(data)}
    content |= {"survival": dict(survival), "privacy": {"min_cell": min_cell}, **spec}
    path = Path(folder) / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return rl.plan(path)


def write(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    for name, table in tables.items():
        pq.write_table(table, Path(folder) / f"{name}.parquet")


def analysed(plan: Plan) -> rl.Results:
    """All rows, as the notebook makes them."""
    cohorts = rl.reduce_cohorts(plan)
    return rl.analyse_cohorts(plan, cohorts, rl.fit_model(plan, cohorts))
