"""A run in; what its report says about the data, in words, out."""

from __future__ import annotations

import dataclasses

from retention_lab.figures.arms import expected_shares, units_by_arm
from retention_lab.run.view.blocks import against_control
from retention_lab.run.view.decisive import MISMATCH
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import kind_of, metric_of, note_text, window_text
from retention_lab.texts.numbers import (
    chance,
    date_text,
    number,
    p_cell,
    p_text,
    share,
    shared_measure,
)


@dataclasses.dataclass(frozen=True, slots=True)
class SplitLine:
    """One arm: customers and shares as text."""

    arm: str
    control: bool
    units: str
    share: str
    planned: str


@dataclasses.dataclass(frozen=True, slots=True)
class BeforeLine:
    """One arm's difference from the control in a `window` before exposure."""

    metric: str
    window: str
    arm: str
    difference: str
    ends: str
    p: str


@dataclasses.dataclass(frozen=True, slots=True)
class Quality:
    """Split, sample ratio, what was left out, and differences before the test.

    `planned`: whether customers were dealt one by one, in shares that were planned.
    """

    split: tuple[SplitLine, ...]
    planned: bool
    ratio: str
    ratio_good: bool
    left_out: tuple[str, ...]
    before: tuple[BeforeLine, ...]
    before_said: str
    before_good: bool


def quality(source: Source, tongue: Tongue) -> Quality:
    units = units_by_arm(source.results, source.spec)
    planned = expected_shares(source.results, source.spec)
    hidden = None in units.values()
    total = sum(n or 0 for n in units.values())
    split = tuple(
        SplitLine(
            tongue.arm(arm),
            arm == source.control,
            number(n, 0),
            share(None if hidden or not total else (n or 0) / total),
            share(planned.get(arm)),
        )
        for arm, n in units.items()
    )
    said, good = _ratio(source, tongue)
    before, odd = _before(source, tongue)
    before_said = tongue.say("quality.pre_bad" if odd else "quality.pre_ok") if before else ""
    return Quality(
        split, bool(planned), said, good, _left_out(source, tongue), before, before_said, not odd
    )


def _ratio(source: Source, tongue: Tongue) -> tuple[str, bool]:
    rows = source.results.where(estimand="sample_ratio").rows
    if not rows:
        return tongue.say("quality.ratio_none"), True
    p, design = rows[0].p_value, source.spec.design
    groups = design is not None and design.randomised is not None
    who = tongue.say("quality.who_groups" if groups else "quality.who_customers")
    if p is None:
        return tongue.say("quality.ratio_hidden", who=who), True
    if rows[0].estimate is None:
        return tongue.say("quality.ratio_hidden_bad", who=who, p=p_text(p)), False
    words = {"who": who, "chi2": number(rows[0].estimate, 2), "p": p_text(p)}
    if p >= MISMATCH:
        return tongue.say("quality.ratio_ok", **words), True
    return tongue.say("quality.ratio_bad", **words, chance=chance(p, tongue.language)), False


def _left_out(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """One sentence for all metrics that left out as many customers for the same cause."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in source.results.where(analysis="quality", estimand=("immature", "missing")).rows:
        if row.estimate == 0:
            continue
        metric = metric_of(source.spec, row.metric)
        cause = f"rule_{metric.missing}" if row.estimand == "missing" and metric else "immature"
        n = note_text(row.note, tongue.language) if row.estimate is None else ""
        grouped.setdefault((cause, n or number(row.estimate, 0)), []).append(
            tongue.metric(row.metric)
        )
    said = _later(source, tongue)
    for (cause, n), metrics in grouped.items():
        names = tongue.say("comma").join(metrics)
        if not n[:1].isdigit():
            said.append(f"{names}: {n}")
        elif cause == "immature":
            said.append(tongue.say("quality.immature", metric=names, n=n))
        else:
            rule = tongue.say(f"quality.{cause}")
            said.append(tongue.say("quality.missing", metric=names, n=n, rule=rule))
    if any((r.note or "").startswith("suppressed") for r in source.results.rows):
        said.append(tongue.say("quality.suppressed", n=source.spec.privacy.min_cell))
    return tuple(said)


def _later(source: Source, tongue: Tongue) -> list[str]:
    """Customers who entered after the last day of the data."""
    rows = source.results.where(analysis="quality", estimand="later").rows
    date = date_text(source.spec.data.as_of, tongue.language)
    return [
        tongue.say("quality.later", n=number(r.estimate, 0), date=date) for r in rows if r.estimate
    ]


def _before(source: Source, tongue: Tongue) -> tuple[tuple[BeforeLine, ...], bool]:
    """Differences before exposure, and whether one is beyond chance."""
    rows = [
        r
        for r in against_control(source, estimand="pre_period_difference", segment=None)
        if r.estimate is not None
    ]
    if not rows:
        return (), False
    lines = []
    for r in rows:
        ends_of = [(x.ci_low, x.ci_high) for x in rows if x.metric == r.metric]
        shown = shared_measure("difference", kind_of(source.spec, r.metric), ends_of)
        ends = f"{shown.bare(r.ci_low)}{tongue.say('to')}{shown.bare(r.ci_high)}"
        text = shown.text(r.estimate, tongue.language)
        lines.append(
            BeforeLine(
                tongue.metric(r.metric),
                _window(source, tongue, r.metric),
                tongue.arm(r.arm),
                text,
                ends,
                p_cell(r.p_value),
            )
        )
    alpha = source.spec.inference.alpha / len(rows)
    odd = any(r.p_value is not None and r.p_value < alpha for r in rows)
    return tuple(lines), odd


def _window(source: Source, tongue: Tongue, name: str | None) -> str:
    """In which window before exposure the metric was measured."""
    metric = metric_of(source.spec, name)
    if metric is None or metric.pre is None:
        return ""
    return tongue.say("quality.pre_window", window=window_text(metric.pre, tongue.language))
