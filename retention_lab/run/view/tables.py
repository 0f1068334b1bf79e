"""A run in; the tables of its metrics and segments, in words, out."""

from __future__ import annotations

import dataclasses

from retention_lab.experiment.spec import Metric
from retention_lab.figures.arms import level_rows
from retention_lab.figures.effects import DIFFERENCES, arms_of
from retention_lab.results import Row
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import metric_of, note_text
from retention_lab.texts.numbers import DASH, Measure, measure, number, p_cell


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A number and the ends of its interval, as text; `ends` is empty where there are none."""

    text: str
    ends: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ArmLine:
    """One arm on one metric. `reading` is a key: better, worse, unclear, ... or empty."""

    arm: str
    control: bool
    units: str
    level: Value
    difference: Value
    lift: Value
    p: str
    p_adjusted: str
    reading: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class MetricTable:
    """One metric: its label, its role and one line an arm."""

    name: str
    label: str
    role: str
    lines: tuple[ArmLine, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class LevelTable:
    """One level of a segment with one line an arm."""

    label: str
    lines: tuple[ArmLine, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentTable:
    """One segment of one metric; `blocked` says why it has no numbers at all."""

    column: str
    metric: str
    label: str
    metric_label: str
    levels: tuple[LevelTable, ...]
    hidden: tuple[str, ...]
    blocked: str


def metric_tables(source: Source, tongue: Tongue) -> tuple[MetricTable, ...]:
    """All metrics in the order of the file: the primary ones first, then guardrails."""
    order = {"primary": 0, "guardrail": 1, "secondary": 2}

    def role(metric: Metric) -> str:
        return "primary" if metric.name in source.spec.primary else metric.role

    metrics = sorted(source.spec.metrics, key=lambda m: order[role(m)])
    return tuple(
        MetricTable(m.name, tongue.metric(m.name), role(m), arm_lines(source, tongue, m.name))
        for m in metrics
    )


def segment_tables(source: Source, tongue: Tongue) -> tuple[SegmentTable, ...]:
    """Every segment of the file on every primary metric."""
    found = []
    for metric in source.spec.primary:
        for column in source.spec.segments:
            wanted = {"metric": metric, "segment": column, "analysis": "ab"}
            rows = source.results.where(**wanted, estimand=(*DIFFERENCES, "relative_lift")).rows
            if not rows:
                continue
            levels = list(dict.fromkeys(r.level for r in rows))
            hidden = [lv for lv in levels if all(_suppressed(r) for r in rows if r.level == lv)]
            known = any(r.estimate is not None for r in rows)
            notes = dict.fromkeys(note_text(r.note, tongue.language) for r in rows if r.note)
            found.append(
                SegmentTable(
                    column,
                    metric,
                    tongue.metric(column),
                    tongue.metric(metric),
                    tuple(
                        LevelTable(tongue.arm(lv), arm_lines(source, tongue, metric, column, lv))
                        for lv in levels
                        if lv not in hidden
                    )
                    if known
                    else (),
                    tuple(tongue.arm(lv) for lv in hidden),
                    "" if known else " ".join(notes),
                )
            )
    return tuple(found)


def _suppressed(row: Row) -> bool:
    return row.estimate is None and (row.note or "").startswith("suppressed")


def arm_lines(
    source: Source,
    tongue: Tongue,
    metric: str,
    segment: str | None = None,
    level: str | None = None,
) -> tuple[ArmLine, ...]:
    """One line an arm, the control first, for everyone or for one level of a segment."""
    found = metric_of(source.spec, metric)
    kind = found.kind if found else "mean"
    place = {"metric": metric, "segment": segment, "level": level, "analysis": "ab"}
    differences = {r.arm: r for r in source.results.where(**place, estimand=DIFFERENCES).rows}
    lifts = {r.arm: r for r in source.results.where(**place, estimand="relative_lift").rows}
    levels = {r.arm: r for r in level_rows(source.results, metric, segment, level)}
    lines = []
    for arm in arms_of(source.results):
        own = [table[arm] for table in (levels, differences, lifts) if arm in table]
        if not own:
            continue
        difference = differences.get(arm)
        n = next((r.n for r in own if r.n is not None), None)
        notes = dict.fromkeys(note_text(r.note, tongue.language) for r in own if r.note)
        lines.append(
            ArmLine(
                tongue.arm(arm),
                arm == source.control,
                number(n, 0),
                _value(levels.get(arm), "level", kind, tongue),
                _value(difference, "difference", kind, tongue),
                _value(lifts.get(arm), "lift", kind, tongue),
                p_cell(difference.p_value) if difference else "",
                p_cell(difference.p_adjusted) if difference else "",
                reading(found, difference, source.spec.inference.alpha),
                tuple(notes),
            )
        )
    return tuple(lines)


def _value(row: Row | None, what: str, kind: str, tongue: Tongue) -> Value:
    if row is None:
        return Value("")
    if row.estimate is None:
        return Value(DASH)
    shown = _measure(what, kind, row)
    ends = ""
    if row.ci_low is not None or row.ci_high is not None:
        low, high = (
            tongue.say("no_bound") if e is None else shown.bare(e)
            for e in (row.ci_low, row.ci_high)
        )
        ends = f"{low}{tongue.say('to')}{high}"
    return Value(shown.text(row.estimate, tongue.language), ends)


def _measure(what: str, kind: str, row: Row) -> Measure:
    if what == "level":
        return measure("level", kind, row.ci_low, row.ci_high)
    return measure("lift" if what == "lift" else "difference", kind, row.ci_low, row.ci_high)


def reading(metric: Metric | None, row: Row | None, alpha: float) -> str:
    """What a difference means: better, worse, unclear; for a margin: within, beyond, open."""
    if metric is None or row is None or row.estimate is None:
        return ""
    sign = 1.0 if metric.direction == "increase" else -1.0
    if metric.role == "guardrail" and metric.margin is not None:
        ends = [sign * e for e in (row.ci_low, row.ci_high) if e is not None]
        if len(ends) < 2:
            return ""
        if min(ends) >= -metric.margin:
            return "within"
        return "beyond" if max(ends) < 0 else "open"
    p = row.p_adjusted if row.p_adjusted is not None else row.p_value
    if p is None:
        return ""
    if p >= alpha:
        return "unclear"
    return "better" if sign * row.estimate > 0 else "worse"
