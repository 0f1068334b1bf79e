"""A metric by day since exposure in; its effect day by day, added up, and its trend, out.

The days are each unit's own, so that old and new entrants stand side by side: an effect that wears
off falls from the first days to the last. (The effect by day of entry, in path.py, is another one.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from retention_lab.ab import estimate as est
from retention_lab.ab.metric import FEW_EVENTS, MetricRows, noted, pairs, row, too_small
from retention_lab.data.ages import Bins, aged, day, slope, some, through
from retention_lab.data.moments import Moments
from retention_lab.results import Row

NO_AGES = "no_ages: the saved reduction does not hold this metric by day since exposure"
NOT_BY_UNIT = (
    "not_by_unit: clusters or blocks of time were randomised, whose customers are not independent; "
    "the effect by day since exposure is not made for them"
)
NOT_YET = "no_mature_units: this day has not ended yet for any unit of an arm"
FEW = f"few_events: fewer than {FEW_EVENTS} units of an arm did anything on that day"
EVENTS = "days with an event"


def novelty_rows(metric: MetricRows, ages: Moments | None) -> Iterator[Row]:
    """The effect of a primary metric by day since exposure; nothing where it has no such days.

    ``day_difference``: the difference of means of what happened on day k, of all units of which day
    k has wholly elapsed. ``cumulative_difference``: the same of days 1 to k. Both are Welch's t
    test of one number a unit, so that days of the same unit may be as dependent as they like.

    ``novelty_slope``: the slope of the daily differences over days, per day, of the units whose
    whole window has elapsed. Least squares with fixed weights w_k (`Bins.scale`) is linear:
    sum w_k (mean of arm on day k - mean of base) is the difference of the means of sum w_k y_ik.
    So that the test is Welch's, of one summary number a unit, exact in the covariance between days.
    Source: Matthews, Altman, Campbell and Royston (1990), "Analysis of serial measurements in
    medical research", BMJ 300, 230-235 (summary measures).

    Intervals hold for one day each; no covariate and no cap is applied; no look is corrected for.
    """
    found = aged(metric.plan.spec, metric.plan.needed).get(metric.metric.name)
    if found is None or metric.fault is not None:
        return
    _, bins = found
    name = metric.metric.name
    for arm, base in pairs(metric.plan):
        where: dict[str, Any] = {"analysis": "ab", "metric": name, "arm": arm, "baseline": base}
        gone = NOT_BY_UNIT if metric.cluster else None
        if ages is None or (slope(name), slope(name)) not in ages.pairs:
            gone = gone or NO_AGES
        if gone is not None or ages is None:
            yield Row(**where, estimand="novelty_slope", note=gone)
            continue
        yield from _pair(metric, ages, bins, where)


def _pair(metric: MetricRows, ages: Moments, bins: Bins, where: dict[str, Any]) -> Iterator[Row]:
    name = metric.metric.name
    cells = [ages.cell(where[k]) for k in ("arm", "baseline")]
    method = "Welch t, unadjusted" if metric.need.covariates else "Welch t"
    method += ", without the cap" if metric.need.uncapped else ""

    def compared(column: str, shown: bool) -> tuple[est.Estimate, dict[str, Any]]:
        levels = [est.mean_level(ages, c, column) for c in cells]
        if min(a.n for a in levels) == 0:
            return est.Estimate(note=NOT_YET), {"n": levels[0].n, "n_baseline": levels[1].n}
        if not shown:
            return est.Estimate(note=too_small(metric.least)), {}
        sizes = {"n": levels[0].n, "n_baseline": levels[1].n}
        return est.difference(levels[0], levels[1], metric.alpha), sizes

    sizes = [_sizes(ages, cells, day(name, k)) for k in range(1, bins.count + 1)]
    shown = _shown(sizes, metric.least)
    for k, label in enumerate(bins.labels, 1):
        one, n = compared(day(name, k), shown[k - 1])
        if min(_events(ages, cells, some(name, k))) < FEW_EVENTS:
            one = noted(one, FEW)
        yield row(one, **where, **n, estimand="day_difference", at=label, method=method)
    for k, label in enumerate(bins.labels, 1):
        one, n = compared(through(name, k), shown[k - 1])
        last = label.rpartition("-")[2]
        yield row(one, **where, **n, estimand="cumulative_difference", at=last, method=method)
    trend, n = compared(slope(name), shown[-1])
    of = f"per day, of {EVENTS}" if metric.metric.kind == "retention" else "per day"
    way = f"least squares over days 1 to {bins.labels[-1].rpartition('-')[2]}, {method}"
    yield row(trend, **where, **n, estimand="novelty_slope", term=of, method=way)


def _sizes(ages: Moments, cells: Sequence[int | None], column: str) -> list[int]:
    at = ages.pair(column)
    return [0 if c is None else int(ages.n[c, at]) for c in cells]


def _events(ages: Moments, cells: Sequence[int | None], column: str) -> list[float]:
    """Units of each arm to which something happened."""
    sizes = _sizes(ages, cells, column)
    at = ages.pair(column)
    return [
        0.0 if c is None else round(n * float(ages.mean_x[c, at]))
        for c, n in zip(cells, sizes, strict=True)
    ]


def _shown(sizes: Sequence[Sequence[int]], least: int) -> list[bool]:
    """Which days may be shown: those with `least` units an arm, and as many more than the next.

    Of two days with nearly the same units, the few others could be worked out.

    >>> _shown([[100, 100], [95, 90], [80, 60], [5, 60]], 20)
    [True, False, True, False]
    """
    found = []
    after: Sequence[int] = [0] * len(sizes[0])
    for n in reversed(sizes):
        more = [a - b for a, b in zip(n, after, strict=True)]
        fits = min(n) >= least and all(m == 0 or m >= least for m in more)
        after = n if fits else after
        found.append(fits)
    return found[::-1]
