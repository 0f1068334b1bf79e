"""A plan and its Moments in; how many units and days the next test of this kind needs out."""

from __future__ import annotations

import dataclasses
import html
import math

import numpy as np

from retention_lab.ab.duration import Curve, Duration, curve, duration
from retention_lab.ab.metric import MetricRows, pairs
from retention_lab.ab.power import (
    Clusters,
    Design,
    Effect,
    Kind,
    Outcome,
    Sequential,
    Size,
    detectable_effect,
    sample_size,
)
from retention_lab.ab.rolled import Rolled
from retention_lab.data.moments import Floats, Moments
from retention_lab.data.units import DAY
from retention_lab.experiment.plan import Plan

LEAST = 100  # units of the control that a plan may rest on
TOO_LITTLE_HISTORY = f"too_little_history: the control has fewer than {LEAST} units to plan from"
NO_QUANTILE = "quantile: the size of a test on a quantile is not planned"
NO_TRAFFIC = "no_traffic: say planning.traffic, new units a day, to have days"


@dataclasses.dataclass(frozen=True, slots=True)
class MetricPlan:
    """What one metric needs.

    `effect` is what is to be found, in the unit of `design` (relative or absolute; 0 for a
    guardrail with a margin). `size` is what that takes, `duration` how long at `traffic` units a
    day; `detectable` is the smallest effect seen when all of `days` have entered, `curve` that for
    each day. `note` says why something is missing.
    """

    metric: str
    outcome: Outcome | None
    design: Design | None
    effect: float | None
    window: float
    size: Size | None = None
    duration: Duration | None = None
    detectable: Effect | None = None
    curve: Curve | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Planning:
    """The plan of the next test: a metric a row, and the units that may enter each day (or None).

    `units` and `read_out` are what all primary metrics together need: the largest.
    """

    metrics: tuple[MetricPlan, ...]
    traffic: float | None
    primary: tuple[str, ...]

    @property
    def units(self) -> int | None:
        """Units in all arms that the primary metrics need."""
        sizes = [m.size.total if m.size else None for m in self._deciding]
        known = [s for s in sizes if s is not None]
        return max(known) if known and len(known) == len(sizes) else None

    @property
    def read_out(self) -> int | None:
        """The day, counted from the first, at whose end the primary metrics can be read."""
        days = [m.duration.read_out if m.duration else None for m in self._deciding]
        known = [d for d in days if d is not None]
        return max(known) if known and len(known) == len(days) else None

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Heads and rows of text: what each metric needs."""
        heads = ("metric", "baseline", "explained", "find", "units", "entry days", "read-out day",
                 "smallest seen", "note")  # fmt: skip
        return heads, [_texts(m) for m in self.metrics]

    def _repr_html_(self) -> str:
        heads, rows = self.table()
        head = "".join(f"<th>{h}</th>" for h in heads)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    @property
    def _deciding(self) -> list[MetricPlan]:
        return [m for m in self.metrics if m.metric in self.primary]


def _texts(m: MetricPlan) -> tuple[str, ...]:
    design, days, seen = m.design, m.duration, m.detectable
    if design is None or m.outcome is None:
        return (m.metric, *("",) * 7, _plain(m.note))
    unit = abs(m.outcome.mean) if design.relative and not design.margin else 1.0
    found = f"{m.effect:.1%}" if design.relative else f"{m.effect:.4g}"
    if design.margin is not None:
        found = (
            f"no harm beyond {design.margin:.1%}"
            if design.relative
            else f"no harm beyond {design.margin:.4g}"
        )
    least = ""
    if seen is not None and seen.absolute is not None and design.margin is None:
        least = f"{seen.absolute / unit:.1%}" if design.relative else f"{seen.absolute:.4g}"
    return (
        m.metric,
        f"{m.outcome.mean:.4g}",
        f"{design.r2:.0%}" if design.r2 else "",
        found,
        f"{m.size.total:,}" if m.size and m.size.total else "",
        str(days.last_entry) if days and days.last_entry else "",
        str(days.read_out) if days and days.read_out else "",
        least,
        _plain(m.note or (days.note if days else None)),
    )


def _plain(note: str | None) -> str:
    """The sentence of a note, without its code."""
    return note.partition(": ")[2] or note if note else ""


def size_next(plan: Plan, moments: Moments) -> Planning:
    """Size the next test from the control arm of this one, by the file's `planning`.

    The baseline's mean and variance, what adjustment takes away, the spread between clusters and
    the units a day are those of the control here, or of the file; alpha, split, comparisons and
    looks are the file's. The same tests are planned as `analyse` makes.
    """
    rolled = Rolled(moments)
    traffic = _traffic(plan, rolled)
    rows = tuple(_of(plan, MetricRows(plan, rolled, m), traffic) for m in plan.spec.metrics)
    return Planning(rows, traffic, plan.spec.primary)


def _of(plan: Plan, found: MetricRows, traffic: float | None) -> MetricPlan:
    metric, asked, base = found.metric, plan.spec.planning, plan.arms[0]
    window = (found.need.numerator.matures or 0) / 24
    level = found.everyone.level(base)
    n = found.everyone.n(base)
    if found.quantile:
        return MetricPlan(metric.name, None, None, None, window, note=NO_QUANTILE)
    if found.fault or n < LEAST or level.doubt or not level.variance > 0:
        note = found.fault or level.doubt or TOO_LITTLE_HISTORY
        return MetricPlan(metric.name, None, None, None, window, note=note)
    outcome = _outcome(found, base)
    design = _design(plan, found, base)
    effect = 0.0 if design.margin is not None else asked.effect
    size = sample_size(effect, outcome, design)
    made = MetricPlan(metric.name, outcome, design, effect, window, size, note=size.note)
    if traffic is None:
        return dataclasses.replace(made, note=size.note or NO_TRAFFIC)
    daily = np.full(asked.days, traffic)
    return dataclasses.replace(
        made,
        duration=duration(size.exact, daily, window) if size.exact is not None else None,
        detectable=detectable_effect(float(daily.sum()), outcome, design),
        curve=curve(outcome, design, daily, window),
    )


def _outcome(found: MetricRows, base: str) -> Outcome:
    level = found.everyone.level(base)
    if found.share:
        return Outcome.of_share(min(max(level.estimate, 0.0), 1.0))
    unit = found.alone().level(base)
    return Outcome(level.estimate, unit.variance * unit.n)


def _design(plan: Plan, found: MetricRows, base: str) -> Design:
    metric, inference, asked = found.metric, plan.spec.inference, plan.spec.planning
    weights = plan.spec.design.expected_split if plan.spec.design is not None else None
    shares = tuple((weights or dict.fromkeys(plan.arms, 1.0))[a] for a in plan.arms)
    family = len(pairs(plan)) * (len(plan.spec.primary) if metric.name in plan.spec.primary else 1)
    guard = metric.role == "guardrail"
    margin = (metric.margin or metric.relative_margin) if guard else None
    return Design(
        shares=shares,
        alpha=inference.alpha,
        power=asked.power,
        comparisons=1 if guard or inference.correction == "none" else family,
        pairs=inference.comparisons == "pairs" and not guard,
        r2=_explained(found, base),
        clusters=_clusters(found, base),
        sequential=_sequential(inference.sequential, asked.looks, asked.days),
        margin=margin,
        relative=metric.relative_margin is not None if margin else asked.relative,
        increase=metric.direction == "increase",
    )


def _sequential(kind: object, looks: int, days: int) -> Sequential | None:
    if not kind:
        return None
    known: dict[object, Kind] = {"obrien_fleming": "obrien_fleming", "pocock": "pocock"}
    if kind in known:
        return Sequential(known[kind], looks)
    return Sequential("confidence_sequence", days)


def _explained(found: MetricRows, base: str) -> float:
    """Share of the control's variance that its covariates explain; 0 where it has none."""
    if not found.need.covariates:
        return 0.0
    adjusted = found.everyone.adjusted((base,))
    if isinstance(adjusted, str):
        return 0.0
    before = found.everyone.level(base).variance
    return min(max(1.0 - adjusted.levels[0].variance / before, 0.0), 0.999)


def _clusters(found: MetricRows, base: str) -> Clusters | None:
    """Sizes of the control's clusters, and the correlation within them that its error implies."""
    if not found.cluster:
        return None
    sizes = _sizes(found, base)
    mean, cv = float(sizes.mean()), float(sizes.std() / sizes.mean())
    whole, unit = found.everyone.level(base), found.alone().level(base)
    inflation = whole.variance / unit.variance if unit.variance > 0 else 1.0
    reach = (1 + cv * cv) * mean - 1
    icc = (inflation - 1) / reach if reach > 0 and math.isfinite(inflation) else 0.0
    return Clusters(mean, min(max(icc, 0.0), 1.0), cv)


def _sizes(found: MetricRows, base: str) -> Floats:
    m = found.moments.roll_up(found.arm_key, str(found.cluster))
    rows = [i for i, c in enumerate(m.cells) if c[0] == base]
    return m.size[rows].astype(np.float64)


def _traffic(plan: Plan, rolled: Rolled) -> float | None:
    """New units a day: the file's, or those of this test in the mean."""
    if plan.spec.planning.traffic is not None:
        return plan.spec.planning.traffic
    if DAY not in rolled.keys:
        return None
    days = rolled.roll_up(DAY)
    first, last = (np.datetime64(d) for d in (days.cells[0][0], days.cells[-1][0]))
    return days.units / (int((last - first).astype(int)) + 1)
