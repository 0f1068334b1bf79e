"""A free-shipping limit and a seed in; its table of baskets, and the truth, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retention_lab.twin.files import chosen_seed, write_tables
from retention_lab.twin.limits import FREE_SHIPPING, Limit

Floats = npt.NDArray[np.float64]
CHANNELS = ("search", "social", "marketplace", "affiliate")
BENT = 60.0  # USD over which the share that comes back levels off


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Baskets:
    """The table of a simulated limit.

    baskets  basket_value (USD, whole cents), free_shipping, repurchase_60d (0 or 1), revenue_60d
             and refunded_60d (USD), orders_before, channel, mobile: one row a customer's basket
    """

    scenario: Limit
    seed: int
    tables: Mapping[str, pa.Table]

    def truth(self) -> dict[str, Any]:
        """By metric the true effect of free shipping on a basket at the limit."""
        return truth_of_limit(self.scenario)

    def write(self, folder: str | Path) -> Path:
        """Write one Parquet file a table and ``truth.json`` into `folder`, and return it."""
        return write_tables(folder, self.tables, self.scenario, self.seed, self.truth())


def truth_of_limit(s: Limit) -> dict[str, Any]:
    """By metric the true effect on a basket at the limit; closed forms."""
    worth = s.spend[0] + s.spend[1] * s.cutoff
    return {
        "cutoff": s.cutoff,
        "threshold_effect": {
            "repurchase_60d": s.effect,
            "revenue_60d": s.effect * worth,
            "refunded_60d": s.effect * worth * s.returned,
        },
        "sorted": s.sorters > 0,
    }


def simulate_limit(scenario: Limit = FREE_SHIPPING, seed: int | None = None) -> Baskets:
    """Simulate the baskets of `scenario`; the same seed (default: the scenario's) gives the same.

    Raises ValueError for a seed below 0.
    """
    s = scenario
    seed = chosen_seed(s.seed, seed)
    rng = np.random.default_rng(seed)
    n = s.baskets
    wanted = np.maximum(np.round(rng.gamma(s.shape, s.mean / s.shape, n), 2), 0.01)
    share = s.least + s.rise * (1.0 - np.exp(-wanted / BENT))
    near = (wanted >= s.cutoff - s.within) & (wanted < s.cutoff)
    sorts = near & (rng.random(n) < s.sorters)
    added = s.cutoff + np.round(rng.exponential(2.0, n), 2)
    value = np.where(sorts, added, wanted)
    free = value >= s.cutoff
    share = share + s.keener * sorts
    share = share + np.where(free, s.effect + s.slope * (value - s.cutoff), 0.0)
    again = rng.random(n) < np.clip(share, 0.0, 1.0)
    mean = s.spend[0] + s.spend[1] * value
    spent = np.round(again * mean * rng.gamma(s.evenness, 1.0 / s.evenness, n), 2)
    refunded = np.round(spent * (rng.random(n) < s.returned), 2)
    before = rng.poisson(0.5 + wanted / 40.0)
    channel = rng.choice(len(CHANNELS), n, p=[0.4, 0.3, 0.2, 0.1])
    mobile = rng.random(n) < 0.7 - 0.2 * (1.0 - np.exp(-wanted / BENT))
    table = pa.table({
        "basket_value": value,
        "free_shipping": free,
        "repurchase_60d": again.astype(np.int8),
        "revenue_60d": spent,
        "refunded_60d": refunded,
        "orders_before": before,
        "channel": pa.array(np.asarray(CHANNELS, object)[channel]),
        "mobile": mobile,
    })  # fmt: skip
    return Baskets(s, seed, MappingProxyType({"baskets": table}))
