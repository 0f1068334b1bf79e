"""Orders of a few customers in; the plan of a study of them, and what its life table holds, out."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import retention_lab as rl

AS_OF = dt.date(2026, 3, 25)
ORDERS = {"table": "orders.parquet", "at": "at"}
REFUNDS = {"table": "refunds.parquet", "at": "at"}
SURVIVAL = {"unit": "who", "origin": "first orders", "event": "next orders"}


def plan_of(folder, tables=None, *, events=None, data=None, survival=None, name="study", **spec):
    """A plan over `tables`, which are written into `folder` as Parquet."""
    folder = Path(folder)
    for table, columns in (tables or {}).items():
        pq.write_table(pa.table(dict(columns)), folder / f"{table}.parquet")
    content = {"schema": 1, "name": name, "title": "A study"}
    content["data"] = {"events": events or {"orders": ORDERS}, "as_of": AS_OF, **(data or {})}
    content["survival"] = {**SURVIVAL, **(survival or {})}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | spec, sort_keys=False), encoding="utf-8")
    return rl.plan(path)


def counter(table):
    """The rows of a life table: levels, start, stop and cause -> units."""
    levels = [table.levels[k][table.cell] for k in table.keys]
    rows = zip(*levels, table.start, table.stop, table.cause, strict=True)
    return {tuple(row): n for row, n in zip(rows, table.n.tolist(), strict=True)}


def at_day(day, hour=12, minute=0):
    return dt.datetime(2026, 3, 1, hour, minute) + dt.timedelta(days=day)


def simple(days, who="a", **columns):
    """Orders of one customer on days counted from 1 March 2026."""
    table = {"who": [who] * len(days), "at": [at_day(d) for d in days]}
    return {"orders": table | {k: list(v) for k, v in columns.items()}}


def one(table):
    """Start, stop and cause of the only unit."""
    assert table.size == 1
    return float(table.start[0]), float(table.stop[0]), int(table.cause[0])
