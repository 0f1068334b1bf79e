"""Rows of an incentive's effects in; a forest of them, the headline first, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import effect_item, shared_measure
from retention_lab.figures.forest import Group, Line
from retention_lab.figures.incentive_rows import (
    EFFECTS,
    arm_name,
    headline_rows,
    incentive_rows,
    tints,
)
from retention_lab.figures.sheet import forest_sheet
from retention_lab.figures.style import MUTED, Table, rows_of
from retention_lab.results import Results, Row
from retention_lab.texts import kind_of, metric_label, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BESIDE = (
    "average_effect_treated",
    "partially_linear_effect",
    "synthetic_difference",
    "naive_difference",
)


def effects_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The effect of the incentive on one metric by arm, and other estimates of it beside.

    Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    groups = effect_groups(results, name)
    every = [r for rows in groups.values() for r in rows]
    shown = shared_measure(every, "mean_difference", kind_of(spec, name))
    tint = tints(results, spec)
    drawn = [
        Group(
            arm_name(spec, arm, language) if len(groups) > 1 else "",
            tuple(
                effect_item(
                    r,
                    shown,
                    say(language, f"estimand.{r.estimand}"),
                    MUTED if r.estimand == "naive_difference" else tint.get(arm),
                    language,
                )
                for r in rows
            ),
        )
        for arm, rows in groups.items()
    ]
    title = say(language, "figure.incentive_effect", metric=metric_label(spec, name, language))
    lines = [Line(0.0, say(language, "figure.no_difference"))]
    return forest_sheet(ax, title, language, drawn, lines, shown.axis, shown.factor)


def effect_groups(results: Table, metric: str) -> dict[str | None, tuple[Row, ...]]:
    """By arm the headline effect, then other estimates of it; of redeemers also the offer's own."""
    rows = list(headline_rows(results, metric))
    if any(r.estimand == "late" for r in rows):
        test = Results.of(rows_of(results)).where(
            analysis="ab", metric=metric, estimand=EFFECTS, segment=None
        )
        first = next((r.baseline for r in rows), None)
        rows += [r for r in test.rows if r.baseline == first]
    rows += incentive_rows(results, BESIDE, metric=metric, term=None)
    arms = dict.fromkeys(r.arm for r in rows)
    return {arm: tuple(r for r in rows if r.arm == arm) for arm in arms}
