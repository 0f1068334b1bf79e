"""A rollout of warehouses and a seed in; its panel of markets and months, and the truth, out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retention_lab.twin.files import chosen_seed, write_tables
from retention_lab.twin.warehouses import WAREHOUSES, Warehouses

Floats = npt.NDArray[np.float64]
SIZES = 0.6  # standard deviation of the log of a market's size


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Panels:
    """The tables of a simulated rollout, and what every market-month would have been without it.

    panel  market, month, opened (month in which the warehouse opened; null: none did), customers,
           repurchase_30d (share of them), delivery_days (mean), revenue_30d (USD a customer)

    `effects` (markets, months) by metric is what the warehouse added, 0 before it opened.
    """

    scenario: Warehouses
    seed: int
    tables: Mapping[str, pa.Table]
    opened: Floats
    weight: Floats
    effects: Mapping[str, Floats]

    def truth(self) -> dict[str, Any]:
        """By metric the true average effect, over all and by months since the opening.

        `weighted` counts a market by its customers before the first opening, `plain` once.
        """
        months = np.arange(self.scenario.months)
        since = months[None, :] - self.opened[:, None]
        out: dict[str, Any] = {}
        for how, w in (("weighted", self.weight), ("plain", np.ones(len(self.weight)))):
            cells = np.where(since >= 0, w[:, None], 0.0)
            out[how] = {
                metric: {
                    "average_effect": float((cells * e).sum() / cells.sum()),
                    "event_time_effect": {
                        str(int(s)): float((cells * e)[since == s].sum() / cells[since == s].sum())
                        for s in np.unique(since[since >= 0])
                    },
                }
                for metric, e in self.effects.items()
            }
        return out

    def write(self, folder: str | Path) -> Path:
        """Write one Parquet file a table and ``truth.json`` into `folder`, and return it."""
        return write_tables(folder, self.tables, self.scenario, self.seed, self.truth())


def simulate_rollout(scenario: Warehouses = WAREHOUSES, seed: int | None = None) -> Panels:
    """Simulate the panel of `scenario`; the same seed (default: the scenario's) gives the same.

    Raises ValueError for a seed below 0.
    """
    seed = chosen_seed(scenario.seed, seed)
    s, rng = scenario, np.random.default_rng(seed)
    places = [o for o in s.openings for _ in o.markets]
    names = [m for o in s.openings for m in o.markets]
    n, months = len(names), _months(s)
    opened = np.array([_position(o.month, months) for o in places])
    level = np.array([o.repurchase for o in places]) + s.spread[0] * rng.standard_normal(n)
    saved = np.maximum(s.far - s.near + s.spread[1] * rng.standard_normal(n), 0.0)
    size = s.customers * np.exp(SIZES * rng.standard_normal(n) - SIZES**2 / 2.0)
    since = np.arange(s.months)[None, :] - opened[:, None]
    here = since >= 0
    ramp = np.array([*s.ramp, 1.0])
    known = np.where(here, ramp[np.clip(since, 0, len(ramp) - 1).astype(int)], 0.0)
    season = np.array([s.season[m.month - 1] for m in months])
    base = level[:, None] + season[None, :] + _shocks(s, rng, n)
    base = np.clip(base, 0.01, 0.95)
    share = np.clip(base + s.per_day * saved[:, None] * known, 0.01, 0.98)
    customers = np.maximum(rng.poisson(size[:, None] * (1.0 + 4.0 * season[None, :])), 20)
    buyers = rng.binomial(customers, share)
    value = np.array([o.order_value for o in places])[:, None]
    worth = value * np.exp(0.03 * rng.standard_normal((n, s.months)))
    days = s.far - saved[:, None] * here + 0.4 * rng.standard_normal((n, s.months))
    weight = np.asarray(customers[:, : int(opened.min())].mean(axis=1), np.float64)
    dates = [None if not np.isfinite(o) else months[int(o)] for o in opened]
    panel = pa.table({
        "market": pa.array([m for m in names for _ in months]),
        "month": pa.array([m for _ in names for m in months], pa.date32()),
        "opened": pa.array([d for d in dates for _ in months], pa.date32()),
        "customers": customers.ravel().astype(np.int64),
        "repurchase_30d": (buyers / customers).ravel(),
        "delivery_days": np.round(days, 2).ravel(),
        "revenue_30d": np.round(worth * buyers / customers, 4).ravel(),
    })  # fmt: skip
    effects = {
        "repurchase_30d": share - base,
        "delivery_days": -saved[:, None] * here,
        "revenue_30d": (share - base) * value * np.exp(0.03**2 / 2.0),
    }
    tables = MappingProxyType({"panel": panel})
    return Panels(s, seed, tables, opened, weight, MappingProxyType(effects))


def _months(s: Warehouses) -> list[dt.date]:
    """The first days of the panel's months."""
    first = s.start.year * 12 + s.start.month - 1
    return [dt.date(m // 12, m % 12 + 1, 1) for m in range(first, first + s.months)]


def _position(month: dt.date | None, months: list[dt.date]) -> float:
    """The position of the month of an opening; inf: there is none within the panel."""
    return float(months.index(month)) if month in months else np.inf


def _shocks(s: Warehouses, rng: np.random.Generator, n: int) -> Floats:
    """(n, months) of shocks that wear off: their variance is the same in every month."""
    fresh = s.shock * rng.standard_normal((n, s.months))
    out = np.empty_like(fresh)
    out[:, 0] = fresh[:, 0]
    for t in range(1, s.months):
        out[:, t] = s.lasting * out[:, t - 1] + np.sqrt(1.0 - s.lasting**2) * fresh[:, t]
    return out
