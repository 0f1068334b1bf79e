"""A plan and its Moments in; the tidy rows of an A/B test out."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from retention_lab.ab.further import Further
from retention_lab.ab.metric import MetricRows, pairs
from retention_lab.ab.novelty import novelty_rows
from retention_lab.ab.path import Path, daily_rows, path_of, path_rows, up_to
from retention_lab.ab.rolled import Rolled
from retention_lab.ab.suppress import suppressed
from retention_lab.ab.trust import balance_rows, gate_rows, split_rows
from retention_lab.data.moments import Moments
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.spec import CROSS
from retention_lab.multiplicity import benjamini_hochberg, holm, simultaneous_alpha
from retention_lab.results import Results, Row

Paths = Mapping[tuple[str, str], Path]
AFTER = "after_the_look: units that entered after the last look with bounds are left out"
DIFFERENCES = ("mean_difference", "ratio_difference", "quantile_difference")


def analyse(plan: Plan, moments: Moments) -> Results:
    """Every estimate of an A/B test, from the reduction alone.

    Rows, in this order: how the units were split and whether the test can be trusted; then for
    every metric and arm its level, its difference from the control and its relative lift, first
    for everyone, then by segment; then further views of the same effects, and their course in
    time. A number that cannot be had is None, with the reason in `note`; no metric stops another.
    """
    assert plan.spec.design is not None
    rolled = Rolled(moments)
    rolled.roll_up(plan.spec.design.arm, *plan.spec.segments)
    metrics = [MetricRows(plan, rolled, metric) for metric in plan.spec.metrics]
    combinations = rolled.roll_up(*plan.spec.segments)
    cells = [
        _levels(plan, dict(zip(combinations.keys, c, strict=True))) for c in combinations.cells
    ]
    hide = suppressed([m.counts() for m in metrics], plan.spec.privacy.min_cell, cells)
    metrics = [MetricRows(plan, rolled, metric, hide) for metric in plan.spec.metrics]
    rows = [*split_rows(plan, rolled), *gate_rows(plan, rolled, metrics)]
    for metric in metrics:
        rows += metric.rows(hide)
    paths = {m.metric.name: _paths(plan, m) for m in metrics}
    if plan.spec.inference.sequential:
        rows = _sequential(metrics, paths, rows)
    for metric in metrics:
        rows += _further(plan, metric, paths[metric.metric.name])
    return Results.of(_adjusted(plan, rows))


def _levels(plan: Plan, cell: dict[str, str]) -> dict[str, str]:
    """The cell's level in every segment, the crossed ones as well."""
    crossed = {CROSS.join(p): CROSS.join(cell[s] for s in p) for p in plan.spec.crossed_segments}
    return cell | crossed


def _paths(plan: Plan, metric: MetricRows) -> Paths:
    """The course of the metric in time, where the file asks for a test at every look."""
    if not plan.spec.inference.sequential or metric.quantile:
        return {}
    found = {(arm, base): path_of(metric, arm, base) for arm, base in pairs(plan)}
    return {k: path for k, path in found.items() if path is not None}


def _further(plan: Plan, metric: MetricRows, paths: Paths) -> Iterator[Row]:
    """Further views of one metric, and its course in time where it is one that decides."""
    assert plan.spec.design is not None
    if metric.quantile:
        return
    views = Further(metric)
    yield from balance_rows(plan, metric)
    yield from views.factors(plan.spec.design.factors, plan.spec.design.control)
    looks = {arm: path.alpha() for (arm, _), path in paths.items()}
    sequential = bool(plan.spec.inference.sequential)
    yield from views.non_inferiority(plan.arms[0], looks if sequential else None)
    yield from views.posterior(plan.spec.inference.prior_sd)
    if metric.metric.name not in plan.spec.primary:
        return
    family = len(plan.spec.primary) * len(pairs(plan))
    if family > 1 and not plan.spec.inference.sequential:
        yield from views.simultaneous(simultaneous_alpha(plan.spec.inference.alpha, family))
    yield from path_rows(metric, paths)
    yield from daily_rows(metric)
    yield from novelty_rows(metric, metric.moments.moments.ages)


def _sequential(
    metrics: Sequence[MetricRows], paths: Mapping[str, Paths], rows: list[Row]
) -> list[Row]:
    """Give the differences and lifts for everyone the interval and p-value of the last look."""
    by_name = {m.metric.name: m for m in metrics}

    def settled(r: Row) -> Row:
        if r.segment is not None or r.std_error is None or r.metric is None:
            return r
        if r.estimand not in (*DIFFERENCES, "relative_lift") or by_name[r.metric].quantile:
            return r
        path = paths[r.metric].get((str(r.arm), str(r.baseline)))
        return _at_look(by_name[r.metric], path, r)

    return [settled(r) for r in rows]


def _at_look(metric: MetricRows, path: Path | None, r: Row) -> Row:
    """The row with the interval of the last look; none where the look has no bounds."""
    last, level = (path.last(), path.alpha()) if path is not None else (None, None)
    said = f"{r.method}, {metric.plan.spec.inference.sequential}"
    if last is None or level is None or last.low is None:
        note = last.note if last is not None else "too_early: no day has enough units in both arms"
        none: dict[str, Any] = dict.fromkeys(("ci_low", "ci_high", "p_value"))
        return dataclasses.replace(r, **none, method=said, note=r.note or note)
    assert path is not None
    m = up_to(metric, path.days[path.at], level)
    found = m.compare((str(r.arm),), (str(r.baseline),))
    whole = (m.n(str(r.arm)), m.n(str(r.baseline))) == (r.n, r.n_baseline)
    one = found.lift
    if r.estimand != "relative_lift":
        one = dataclasses.replace(found.difference, low=last.low, high=last.high)
    return dataclasses.replace(
        r,
        estimate=one.estimate,
        std_error=one.std_error,
        ci_low=one.low,
        ci_high=one.high,
        p_value=None if one.estimate is None else last.p_value,
        n=m.n(str(r.arm)),
        n_baseline=m.n(str(r.baseline)),
        method=said,
        note=one.note if one.estimate is None else r.note or (None if whole else AFTER),
    )


def _adjusted(plan: Plan, rows: list[Row]) -> list[Row]:
    """Fill `p_adjusted`, family by family; a lift shares its difference's p-value.

    By Holm: all comparisons of all primary metrics; those of each other metric. By Benjamini and
    Hochberg, as exploration: the comparisons of one metric in all levels of one segment.
    """
    if plan.spec.inference.correction == "none":
        return rows
    primary = set(plan.spec.primary)
    families: dict[Any, list[int]] = defaultdict(list)
    for i, r in enumerate(rows):
        if r.estimand in (*DIFFERENCES, "relative_lift"):
            kind = "lift" if r.estimand == "relative_lift" else "difference"
            families[kind, _family(r, primary)].append(i)
    out = list(rows)
    for (_, family), members in list(families.items()):
        method: Callable[..., list[float | None]] = (
            benjamini_hochberg if family[0] == "segment" else holm
        )
        adjusted = method([rows[i].p_value for i in families["difference", family]])
        for i, p in zip(members, adjusted, strict=True):
            shown = p if rows[i].p_value is not None else None
            out[i] = dataclasses.replace(rows[i], p_adjusted=shown)
    return out


def _family(r: Row, primary: set[str]) -> tuple[str | None, ...]:
    if r.segment is not None:
        return ("segment", r.metric, r.segment)
    return ("primary",) if r.metric in primary else ("other", r.metric)
