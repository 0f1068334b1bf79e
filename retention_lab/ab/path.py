"""A metric's Moments by day of entry in; its effect day by day, and as it grew, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np
from scipy import special

from retention_lab.ab import estimate as est
from retention_lab.ab.margin import Margin
from retention_lab.ab.metric import MetricRows, Place, pairs, row, too_small
from retention_lab.ab.sequential import (
    KINDS,
    MIN_UNITS,
    Bounds,
    confidence_sequence,
    repeated_intervals,
)
from retention_lab.ab.shrink import heterogeneity
from retention_lab.ab.suppress import suppressed
from retention_lab.data.moments import Floats
from retention_lab.data.units import DAY
from retention_lab.results import Row

TARGET = 10_000  # units of all arms at which a sequence is tightest, where the file plans none
UNEVEN_UNITS = 10 * MIN_UNITS  # where an arm has less than a quarter of the units


@dataclasses.dataclass(frozen=True, slots=True)
class Path:
    """The cumulative effect of one arm at the end of every day of entry, and its bounds."""

    days: tuple[str, ...]
    bounds: Bounds
    sizes: tuple[tuple[int, int], ...]

    @property
    def at(self) -> int:
        """The position of the last look that has bounds; of the last look where none has."""
        known = np.flatnonzero(np.isfinite(self.bounds.low))
        return int(known[-1]) if known.size else len(self.days) - 1

    def last(self) -> est.Estimate:
        """The bounds and p-value of that look."""
        return self.bounds.looks(so_far=False)[self.at]

    def alpha(self) -> float | None:
        """The two-sided level of an ordinary test that has that look's bounds."""
        critical = float(self.bounds.critical[self.at])
        return 2.0 * float(special.ndtr(-critical)) if math.isfinite(critical) else None


def path_of(metric: MetricRows, arm: str, base: str) -> Path | None:
    """The path of `arm` against `base`; None where no day of entry is known."""
    if DAY not in metric.moments.keys or metric.fault is not None:
        return None
    by_day = metric.moments.roll_up(metric.arm_key, DAY)
    days: list[str] = []
    found: list[tuple[float | None, float | None]] = []
    sizes: list[tuple[int, int]] = []
    for day in by_day.levels(DAY):
        m = up_to(metric, day, metric.alpha)
        n = m.n(arm), m.n(base)
        new = [now - before for now, before in zip(n, sizes[-1] if sizes else (0, 0), strict=True)]
        if min(new) < metric.least:  # nor may a day be worked out from two looks
            continue
        difference = m.difference((arm,), (base,))
        days.append(day)
        found.append((difference.estimate, difference.std_error))
        sizes.append(n)
    if not found:
        return None
    estimate, error = np.array(found, float).T
    units = np.array(sizes, float).sum(axis=1)
    planned = _planned(metric, arm, base)
    if metric.plan.spec.inference.sequential in KINDS:
        end = int(np.searchsorted(units, planned)) + 1  # the first look with all of them
        days, sizes = days[:end], sizes[:end]
        estimate, error, units = estimate[:end], error[:end], units[:end]
    even = min(sizes[-1]) * 4 >= sum(sizes[-1])
    bounds = _bounds(metric, estimate, error, units, even, planned)
    return Path(tuple(days), bounds, tuple(sizes))


def up_to(metric: MetricRows, day: str, alpha: float) -> Margin:
    """The metric by arm, of the units that entered until the end of `day`."""
    so_far = metric.moments.until(DAY, day, metric.arm_key)
    return Margin(so_far, metric.need, None, (metric.arm_key,), alpha)


def _planned(metric: MetricRows, arm: str, base: str) -> float:
    """Units of one comparison: the share of two arms in those that the file plans for."""
    assert metric.plan.spec.design is not None
    units = metric.plan.spec.inference.planned_units or TARGET
    weights = metric.plan.spec.design.expected_split or dict.fromkeys(metric.arms, 1.0)
    return units * (weights[arm] + weights[base]) / sum(weights.values())


def _bounds(
    metric: MetricRows, estimate: Floats, error: Floats, n: Floats, even: bool, planned: float
) -> Bounds:
    kind, alpha = metric.plan.spec.inference.sequential, metric.alpha
    if kind == "obrien_fleming" or kind == "pocock":
        return repeated_intervals(estimate, error, n / planned, alpha, kind, n=n, last_p_only=True)
    least = MIN_UNITS if even else UNEVEN_UNITS
    return confidence_sequence(estimate, error, n, alpha, planned, min_units=least)


def path_rows(metric: MetricRows, paths: Mapping[tuple[str, str], Path]) -> Iterator[Row]:
    """The cumulative effect with bounds that hold on all days together."""
    for (arm, base), path in paths.items():
        for i, look in enumerate(path.bounds.looks(so_far=False)):
            yield row(
                look,
                analysis="ab",
                metric=metric.metric.name,
                estimand="sequential_difference",
                arm=arm,
                baseline=base,
                at=path.days[i],
                n=path.sizes[i][0],
                n_baseline=path.sizes[i][1],
                method=str(metric.plan.spec.inference.sequential),
            )


def daily_rows(metric: MetricRows) -> Iterator[Row]:
    """The effect among the units of each day of entry, and whether the days differ."""
    if DAY not in metric.moments.keys or metric.fault is not None:
        return
    m = metric.margin(DAY)
    counts = {day: {a: m.n(a, day) for a in metric.arms} for day in m.units.levels(DAY)}
    hidden = suppressed([{DAY: counts}], metric.least)[DAY]
    for arm, base in pairs(metric.plan):
        known = []
        for day in m.units.levels(DAY):
            n = [m.n(a, day) for a in (arm, base)]
            if max(n) == 0:
                continue
            small = day in hidden
            place = Place(levels=(day,), hidden=frozenset((arm, base)) if small else frozenset())
            no = too_small(metric.least) if small else None
            found = est.Estimate(note=no)
            if no is None:
                found = est.difference(m.level(arm, day), m.level(base, day), metric.alpha)
            if found.std_error:
                known.append((found.estimate, found.std_error))
            yield row(
                found,
                analysis="ab",
                metric=metric.metric.name,
                estimand="daily_difference",
                at=day,
                method=metric.test,
                **metric.sizes(m, place, arm, base),
            )
        if len(known) > 1:
            test = heterogeneity(*np.array(known, float).T)
            yield Row(
                analysis="ab",
                metric=metric.metric.name,
                estimand="heterogeneity",
                arm=arm,
                baseline=base,
                estimate=None if test.tau2 is None else math.sqrt(test.tau2),
                p_value=test.p_value,
                term=f"standard deviation between {len(known)} days of entry; "
                f"chi-square, {test.df} df",
                note=test.note,
                method="Cochran's Q; Paule-Mandel",
            )
