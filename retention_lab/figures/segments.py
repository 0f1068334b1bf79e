"""A result table in; a forest of the effects by level of a segment out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.arms import LEVELS
from retention_lab.figures.effects import (
    Estimand,
    arms_of,
    control,
    effect_item,
    effect_rows,
    lines_of,
    shared_measure,
)
from retention_lab.figures.forest import Group
from retention_lab.figures.sheet import forest_sheet
from retention_lab.figures.style import Table, colours, rows_of
from retention_lab.texts import kind_of, label, metric_label, say
from retention_lab.texts.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "relative_lift": "figure.segment_lift",
    "mean_difference": "figure.segment_difference",
    "shrunken_difference": "figure.segment_shrunken",
}


def segment_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    segment: str | None = None,
    estimand: Estimand = "relative_lift",
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """Effects on one metric in every level of `segment` (the first of the file), by arm.

    ``shrunken_difference`` draws each level pulled towards the mean of all, and as a grey mark
    what was measured in the level alone. A level that was suppressed keeps its place and says so.
    Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    column = segment or (spec.segments[0] if spec.segments else "")
    rows = effect_rows(results, name, estimand, column)
    raw = {}
    if estimand == "shrunken_difference":
        alone = effect_rows(results, name, "mean_difference", column)
        raw = {(r.level, r.arm): r.estimate for r in alone}
        known = {(r.level, r.arm): r for r in rows}
        rows = tuple(known.get((r.level, r.arm), r) for r in alone)
    shown = shared_measure(rows, estimand, kind_of(spec, name))
    tint = colours(arms_of(results))
    groups = []
    for level in dict.fromkeys(r.level for r in rows):
        own = [r for r in rows if r.level == level]
        heading = label(spec, level, language)
        if all(r.estimate is None and (r.note or "").startswith("suppressed") for r in own):
            groups.append(Group(heading, (), say(language, "figure.suppressed")))
            continue
        items = tuple(
            effect_item(
                r,
                shown,
                label(spec, r.arm, language),
                tint.get(r.arm or ""),
                language,
                raw.get((r.level, r.arm)),
            )
            for r in own
        )
        groups.append(Group(heading, items, _size(results, name, column, level, language)))
    key = TITLES[estimand]
    words = {
        "metric": metric_label(spec, name, language),
        "segment": metric_label(spec, column, language),
        "control": control(spec, language),
    }
    title, lines = say(language, key, **words), lines_of(spec, name, estimand, shown, language)
    return forest_sheet(ax, title, language, groups, lines, shown.axis, shown.factor, stacked=False)


def _size(results: Table, metric: str, segment: str, level: str | None, language: str) -> str:
    """``9,563 units``: all units of one level, or an empty text where the table lacks them."""
    found = [
        r.n
        for r in rows_of(results)
        if r.metric == metric
        and r.segment == segment
        and r.level == level
        and r.estimand in LEVELS
        and r.n is not None
    ]
    return say(language, "units", n=number(sum(found), 0)) if found else ""
