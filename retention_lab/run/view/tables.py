"""A run in; the tables of its metrics and segments, in words, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from retention_lab.experiment.spec import CROSS, Metric
from retention_lab.figures.arms import level_rows
from retention_lab.figures.effects import DIFFERENCES, arms_of
from retention_lab.results import Row
from retention_lab.run.view.blocks import Value, against_control, value
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import metric_of, note_code, note_text
from retention_lab.texts.numbers import (
    Measure,
    What,
    measure,
    number,
    ordinal,
    p_cell,
    p_text,
    shared_measure,
)

NOTHING = Value("")


@dataclasses.dataclass(frozen=True, slots=True)
class ArmLine:
    """One arm on one metric. `reading` is a key: better, worse, unclear, ... or empty.

    `best` is the difference in a level of a segment, pulled towards the mean of all levels.
    """

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
    best: Value = NOTHING


@dataclasses.dataclass(frozen=True, slots=True)
class MetricTable:
    """One metric: its label, its role, one line an arm, and the notes that all arms share.

    `detail` says which quantile it is, or where it is capped.
    """

    name: str
    label: str
    role: str
    lines: tuple[ArmLine, ...]
    notes: tuple[str, ...] = ()
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class LevelTable:
    """One level of a segment with one line an arm."""

    label: str
    lines: tuple[ArmLine, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentTable:
    """One segment of one metric; `blocked` says why it has no numbers at all.

    `said` tells whether its levels differ beyond chance.
    """

    column: str
    metric: str
    label: str
    metric_label: str
    levels: tuple[LevelTable, ...]
    hidden: tuple[str, ...]
    blocked: str
    crossed: bool = False
    said: tuple[str, ...] = ()

    @property
    def shrunken(self) -> bool:
        """Whether its levels were pulled towards their mean."""
        return any(line.best.text for level in self.levels for line in level.lines)


def metric_tables(source: Source, tongue: Tongue) -> tuple[MetricTable, ...]:
    """All metrics in the order of the file: the primary ones first, then guardrails."""
    order = {"primary": 0, "guardrail": 1, "secondary": 2}

    def role(metric: Metric) -> str:
        return "primary" if metric.name in source.spec.primary else metric.role

    metrics = sorted(source.spec.metrics, key=lambda m: order[role(m)])
    found = []
    for m in metrics:
        lines, notes = _common(arm_lines(source, tongue, m.name))
        detail = detail_of(m, tongue)
        found.append(MetricTable(m.name, tongue.metric(m.name), role(m), lines, notes, detail))
    return tuple(found)


def detail_of(metric: Metric, tongue: Tongue) -> str:
    """Which quantile a metric is, or at what it is capped; empty where neither."""
    if metric.quantile is not None:
        if metric.quantile == 0.5:
            return tongue.say("metric.median")
        return tongue.say("metric.percentile", n=ordinal(metric.quantile, tongue.language))
    if metric.cap is None:
        return ""
    if metric.cap.quantile is not None:
        return tongue.say("metric.capped_share", share=f"{100 * metric.cap.quantile:.6g}%")
    return tongue.say("metric.capped", value=measure("size").text(metric.cap.value, "en"))


def _without_cap(
    source: Source, tongue: Tongue, row: Row | None, shown: Measure
) -> tuple[str, ...]:
    """What a capped metric's difference is without its cap."""
    if row is None:
        return ()
    wanted = {"metric": row.metric, "arm": row.arm, "baseline": row.baseline}
    found = source.results.where(**wanted, estimand="uncapped_difference").rows
    if not found or found[0].estimate is None:
        return ()
    without = value(found[0], shown, tongue)
    return (tongue.say("metric.uncapped", change=without.text, ends=without.ends),)


def _plain(
    row: Row | None, arm: Row | None, control: Row | None, shown: Measure, tongue: Tongue
) -> tuple[str, ...]:
    """What an adjusted difference would be without adjustment, where it is seen not to be that."""
    if row is None or row.estimate is None or "adjustment" not in (row.method or ""):
        return ()
    if arm is None or control is None or arm.estimate is None or control.estimate is None:
        return ()
    plain = shown.text(arm.estimate - control.estimate, tongue.language)
    if plain == shown.text(row.estimate, tongue.language):
        return ()
    return (tongue.say("metric.adjusted", change=plain),)


def _by_arm(source: Source, **wanted: object) -> dict[str | None, Row]:
    """Rows that compare an arm with the control, by arm."""
    return {r.arm: r for r in against_control(source, **wanted)}


def _common(lines: tuple[ArmLine, ...]) -> tuple[tuple[ArmLine, ...], tuple[str, ...]]:
    """The lines without the notes that all of them have, and those notes."""
    if len(lines) < 2:
        return lines, ()
    notes = tuple(n for n in lines[0].notes if all(n in line.notes for line in lines))
    kept = (
        dataclasses.replace(line, notes=tuple(n for n in line.notes if n not in notes))
        for line in lines
    )
    return tuple(kept), notes


def segment_tables(source: Source, tongue: Tongue) -> tuple[SegmentTable, ...]:
    """Every segment of the file on every primary metric, the crossed ones last."""
    found = []
    crossed = [CROSS.join(pair) for pair in source.spec.crossed_segments]
    columns = [*source.spec.segments, *crossed]
    many = max(1, len(source.spec.primary) * len(columns) * (len(arms_of(source.results)) - 1))
    for metric in source.spec.primary:
        for column in columns:
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
                    column in crossed,
                    _differ(source, tongue, metric, column, many),
                )
            )
    return tuple(found)


def _differ(source: Source, tongue: Tongue, metric: str, column: str, many: int) -> tuple[str, ...]:
    """Whether the effect differs between the levels; `many` such tests stand in this report."""
    alpha, said = source.spec.inference.alpha, []
    wanted = {"metric": metric, "segment": column, "estimand": "heterogeneity"}
    for r in against_control(source, **wanted):
        if r.p_value is None:
            continue
        key = "same" if r.p_value >= alpha else "hint" if r.p_value >= alpha / many else "differ"
        words = {"arm": tongue.arm(r.arm), "p": p_text(r.p_value), "n": number(many, 0)}
        said.append(tongue.say(f"segments.{key}", **words))
    pulled = against_control(source, **wanted | {"estimand": "shrunken_difference"})
    said += [
        note_text(r.note, tongue.language, own=False)
        for r in pulled
        if note_code(r.note) == "not_shrunk"
    ]
    return tuple(dict.fromkeys(said))


def _suppressed(row: Row) -> bool:
    return row.estimate is None and note_code(row.note) == "suppressed"


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
    differences = _by_arm(source, **place, estimand=DIFFERENCES)
    lifts = _by_arm(source, **place, estimand="relative_lift")
    shrunk = _by_arm(source, **place, estimand="shrunken_difference")
    levels = {r.arm: r for r in level_rows(source.results, metric, segment, level)}
    tables: tuple[tuple[What, dict[str | None, Row]], ...]
    tables = (("level", levels), ("difference", differences), ("lift", lifts))
    measures = _alike({what: _measure(what, kind, table.values()) for what, table in tables})
    lines = []
    for arm in arms_of(source.results):
        own = [table[arm] for table in (levels, differences, lifts) if arm in table]
        if not own:
            continue
        difference = differences.get(arm)
        n = next((r.n for r in own if r.n is not None), None)
        notes = dict.fromkeys(note_text(r.note, tongue.language) for r in own if r.note)
        if segment is None:
            shown = measures["difference"]
            ends = (levels.get(arm), levels.get(source.control))
            notes |= dict.fromkeys(_plain(difference, *ends, shown, tongue))
            notes |= dict.fromkeys(_without_cap(source, tongue, difference, shown))
        lines.append(
            ArmLine(
                tongue.arm(arm),
                arm == source.control,
                number(n, 0),
                value(levels.get(arm), measures["level"], tongue),
                value(difference, measures["difference"], tongue),
                value(lifts.get(arm), measures["lift"], tongue),
                p_cell(difference.p_value) if difference else "",
                p_cell(difference.p_adjusted) if difference else "",
                reading(
                    found, difference, source.spec.inference.alpha, guarded(source, difference)
                ),
                tuple(notes),
                value(shrunk.get(arm), measures["difference"], tongue),
            )
        )
    return tuple(lines)


def _alike(measures: dict[What, Measure]) -> dict[What, Measure]:
    """Levels and their differences, which are in one unit, with the same digits."""
    digits = [measures[what].digits for what in ("level", "difference")]
    known = [d for d in digits if d is not None]
    most = max(known) if known else None
    return {
        what: shown if what == "lift" else dataclasses.replace(shown, digits=most)
        for what, shown in measures.items()
    }


def _measure(what: What, kind: str, rows: Iterable[Row]) -> Measure:
    """How to write one column of a metric: alike for all arms."""
    return shared_measure(what, kind, [(r.ci_low, r.ci_high) for r in rows])


def reading(metric: Metric | None, row: Row | None, alpha: float, proof: Row | None = None) -> str:
    """What a difference means: better, worse, unclear; for a margin: within, beyond, harm, open.

    A guardrail is read as the verdict reads it, by its interval; `proof` is its non-inferiority
    row, which decides where the margin is relative.
    """
    if metric is None or row is None or row.estimate is None:
        return ""
    sign = 1.0 if metric.direction == "increase" else -1.0
    if metric.role == "guardrail":
        return _guardrail(metric, row, sign, proof)
    p = row.p_adjusted if row.p_adjusted is not None else row.p_value
    if p is None:
        return ""
    if p >= alpha:
        return "unclear"
    return "better" if sign * row.estimate > 0 else "worse"


def _guardrail(metric: Metric, row: Row, sign: float, proof: Row | None) -> str:
    if row.estimate == 0.0 and note_code(row.note) == "zero_variance":
        return "within"
    ends = [sign * e for e in (row.ci_low, row.ci_high) if e is not None]
    if len(ends) < 2:
        return ""
    worst, best = min(ends), max(ends)
    room = (worst + (metric.margin or 0.0), best + (metric.margin or 0.0))
    if metric.relative_margin is not None:
        known = [] if proof is None else [e for e in (proof.ci_low, proof.ci_high) if e is not None]
        room = (min(known), max(known)) if len(known) == 2 else (-1.0, 1.0)
    elif metric.margin is None:
        return "worse" if best < 0 else "better" if worst > 0 else "unclear"
    if room[0] >= 0:
        return "within"
    if room[1] < 0:
        return "beyond"
    return "harm" if best < 0 else "open"


def guarded(source: Source, row: Row | None) -> Row | None:
    """The non-inferiority row of a guardrail's comparison, where there is one."""
    if row is None or row.segment is not None:
        return None
    wanted = {"estimand": "non_inferiority", "metric": row.metric, "arm": row.arm}
    return next(iter(source.results.where(**wanted).rows), None)
