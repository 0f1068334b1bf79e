"""What a rollout of warehouses is like, in; a frozen `Warehouses`, with a ready-made one, out.

Plain values only, as in scenario.py. Levels are assumptions of the simulation, not findings.
"""

from __future__ import annotations

import dataclasses
import datetime as dt


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """A warehouse that serves `markets` from the first day of `month` on; None: there is none.

    `repurchase` is the share of customers who order again within 30 days while parcels come from
    far away, `order_value` the mean of an order in USD.
    """

    place: str
    month: dt.date | None
    markets: tuple[str, ...]
    repurchase: float
    order_value: float


@dataclasses.dataclass(frozen=True, slots=True)
class Warehouses:
    """Markets over months, and the warehouses that open near some of them.

    months          of the panel, from the month `start` on
    far, near       mean delivery time in days without and with a warehouse
    per_day         what a day less adds to the share that orders again, once people know it
    ramp            part of that in the first months after the opening; then all of it
    spread          standard deviation between markets: of the level, and of the days saved
    shock, lasting  standard deviation of a market's own month, and how much of it is left a
                    month later
    season          added to the share by calendar month, January first
    customers       mean customers of a market and month
    """

    name: str
    seed: int
    openings: tuple[Opening, ...]
    start: dt.date
    months: int
    far: float = 15.0
    near: float = 7.0
    per_day: float = 0.004
    ramp: tuple[float, ...] = (0.4, 0.7)
    spread: tuple[float, float] = (0.02, 1.5)
    shock: float = 0.006
    lasting: float = 0.5
    season: tuple[float, ...] = (0, 0, 0, 0, 0, 0.002, 0.002, 0, 0, 0.004, 0.016, 0.012)
    customers: int = 2000


WAREHOUSES = Warehouses(
    name="warehouse-rollout",
    seed=20240101,
    start=dt.date(2024, 1, 1),
    months=24,
    openings=(
        Opening("Poland", dt.date(2024, 8, 1),
                ("PL", "CZ", "SK", "HU", "RO", "BG", "AT", "LT"), 0.24, 70.0),
        Opening("Spain", dt.date(2025, 1, 1), ("ES", "PT", "IT", "GR", "FR"), 0.25, 74.0),
        Opening("Mexico", dt.date(2025, 4, 1), ("MX", "CO", "PE", "CL"), 0.13, 58.0),
        Opening("Emirates", dt.date(2025, 8, 1), ("AE", "SA", "KW", "QA", "OM"), 0.16, 81.0),
        Opening("none", None,
                ("NG", "ZA", "KE", "EG", "MA", "GH", "ID", "TH", "PH", "VN", "MY", "SG", "AU",
                 "NZ", "JP", "KR", "BR", "AR"), 0.15, 55.0),
    ),
)  # fmt: skip
"""Four warehouses open one after another for 22 of 40 markets; delivery falls from 15 to 7 days.

They open where more customers come back anyway, and at the end of a year rates rise everywhere: a
comparison of markets, or of before and after, would be wrong.
"""

ROLLOUTS = {"twin-rollout": WAREHOUSES}
"""The simulated panels of data/registry.yaml."""
