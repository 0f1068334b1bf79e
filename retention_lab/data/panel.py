"""A plan of a rollout in; its markets and periods as arrays, with gaps as they are, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retention_lab.data.sql import quoted

if TYPE_CHECKING:
    from retention_lab.data.source import Source
    from retention_lab.experiment.plan import Plan
    from retention_lab.experiment.sections import Incentive
    from retention_lab.experiment.spec import Metric, Spec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """n entries, each a market in a period, sorted by market and period; none twice.

    `market` (n) and `period` (n) are positions in `markets` and `periods`, which are labels in
    order. `outcomes` (n each) by metric, NaN: not known; `weight` (n). By market: `adopted` (M),
    the position of the first treated period, inf: never; `covariates` (M each), as they were in the
    market's first period. Markets that were treated from the first period on are not in here.
    """

    market: Ints
    period: Ints
    outcomes: Mapping[str, Floats]
    weight: Floats
    adopted: Floats
    markets: tuple[str, ...]
    periods: tuple[str, ...]
    covariates: Mapping[str, Floats] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.market)

    def square(self, metric: str) -> Floats:
        """(M, T) of an outcome; NaN where a market has no such period or no value in it."""
        out = np.full((len(self.markets), len(self.periods)), np.nan)
        out[self.market, self.period] = self.outcomes[metric]
        return out

    def market_weight(self) -> Floats:
        """(M) the mean weight of a market over the periods before the first market began.

        So the rollout cannot move it. Of a market without such a period: over those before it
        began itself, or 0.
        """
        first = self.adopted.min() if len(self.adopted) else np.inf
        out = self._mean_weight(self.period < first)
        own = self._mean_weight(self.period < self.adopted[self.market])
        return np.asarray(np.where(np.isnan(out), np.nan_to_num(own), out))

    def _mean_weight(self, kept: npt.NDArray[np.bool_]) -> Floats:
        size = len(self.markets)
        n = np.bincount(self.market[kept], minlength=size)
        total = np.bincount(self.market[kept], self.weight[kept], minlength=size)
        return np.asarray(np.divide(total, n, out=np.full(size, np.nan), where=n > 0))


def read_panel(plan: Plan) -> Panel:
    """The panel of the plan's table: one row a market and period.

    Rows without a market or a period are left out, and so are markets that were treated from the
    first period on; the plan's checks say how many. A metric whose missing values count as 0
    (`missing: zero`) has zeros, any other NaN.
    """
    spec = plan.spec
    assert spec.incentive is not None
    metrics = [m for m in spec.metrics if m.name not in plan.faults]
    return panel_of(plan.source, spec, spec.incentive, metrics)


def panel_of(source: Source, spec: Spec, said: Incentive, metrics: Sequence[Metric]) -> Panel:
    """The panel with the outcomes of `metrics`; see `read_panel`."""
    ref = str(spec.data.units)
    kinds = source.columns(ref)
    market, period = quoted(str(said.market)), quoted(str(said.period))
    wanted = {
        "market": f"{market}::varchar",
        "period": as_number(source, ref, kinds, str(said.period)),
        "label": f"{period}::varchar",
        "adopted": as_number(source, ref, kinds, str(said.adopted)),
        "weight": f"{quoted(said.weight)}::double" if said.weight else "1.0::double",
        **{f"y{i}": f"{quoted(m.column)}::double" for i, m in enumerate(metrics)},
        **{f"x{i}": f"{quoted(c)}::double" for i, c in enumerate(said.columns)},
    }
    frame = source.table(ref, {}, derived=wanted)
    found = {k: np.ma.asarray(v) for k, v in source.arrays(frame).items()}
    kept = np.flatnonzero(
        ~np.ma.getmaskarray(found["market"]) & np.isfinite(_floats(found["period"]))
    )
    names = np.asarray(found["market"].data[kept], dtype=object).astype(str)
    times = _floats(found["period"])[kept]
    labels = np.asarray(found["label"].data[kept], dtype=object).astype(str)
    markets, market_at = np.unique(names, return_inverse=True)
    periods, first, period_at = np.unique(times, return_index=True, return_inverse=True)
    adopted = np.full(len(markets), np.nan)
    adopted[market_at] = _floats(found["adopted"])[kept]
    start = first_treated(adopted, periods)
    stay = start > 0
    order = np.lexsort((period_at, market_at))
    order = order[stay[market_at[order]]]
    place = np.cumsum(stay) - 1
    rows = kept[order]
    outcomes = {}
    for i, m in enumerate(metrics):
        values = _floats(found[f"y{i}"])[rows]
        outcomes[m.name] = np.nan_to_num(values) if m.missing == "zero" else values
    of_market = place[market_at[order]]
    _, begins = np.unique(of_market, return_index=True)
    covariates = {c: _floats(found[f"x{i}"])[rows[begins]] for i, c in enumerate(said.columns)}
    return Panel(
        market=of_market.astype(np.int64),
        period=period_at[order].astype(np.int64),
        outcomes=outcomes,
        weight=_floats(found["weight"])[rows],
        adopted=start[stay],
        markets=tuple(markets[stay].tolist()),
        periods=tuple(_short(labels[first])),
        covariates=covariates,
    )


def as_number(source: Source, ref: str, kinds: Mapping[str, str], column: str) -> str:
    """SQL for a period as a number: itself, or of a date or time its microseconds."""
    if kinds[column] == "number":
        return f"{quoted(column)}::double"
    return f"({source.instant(ref, column)})::double"


def first_treated(adopted: Floats, periods: Floats) -> Floats:
    """Positions of the first treated periods: of that which holds the time; inf: never.

    `periods` are the beginnings of the periods, rising. A start after the last period's beginning
    by a usual period or more is one that the panel does not hold: inf. Before the first: 0.
    """
    step = float(np.median(np.diff(periods))) if len(periods) > 1 else np.inf
    place = np.maximum(np.searchsorted(periods, adopted, side="right") - 1.0, 0.0)
    late = adopted >= periods[-1] + step if len(periods) else adopted > 0
    return np.where(np.isnan(adopted) | late, np.inf, place)


def _short(labels: npt.NDArray[np.str_]) -> list[str]:
    """Labels without a midnight or decimals that all of them have."""
    texts = [str(t) for t in labels]
    for end in (" 00:00:00", ".0"):
        if texts and all(t.endswith(end) for t in texts):
            texts = [t.removesuffix(end) for t in texts]
    return texts


def _floats(values: Any) -> Floats:
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
