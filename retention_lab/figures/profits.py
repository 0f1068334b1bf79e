"""Rows of profit by dose in; one line an arm, its profit beside the control's, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arm_item
from retention_lab.figures.forest import Group, Line
from retention_lab.figures.incentive_rows import arm_name, incentive_rows, numbered, tints
from retention_lab.figures.sheet import forest_sheet
from retention_lab.figures.style import ALERT, Table
from retention_lab.texts import say
from retention_lab.texts.incentive import level_measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def profits_plot(results: Table, spec: Spec, language: str = "en", ax: Axes | None = None) -> Axes:
    """Profit a customer at each dose that was tried, against that of customers who got none.

    Without `ax`, a new pyplot figure is made.
    """
    rows = [r for _, r in numbered(incentive_rows(results, "profit_at_dose"))]
    control = spec.design.control if spec.design is not None else None
    shown = level_measure((r.ci_low, r.ci_high) for r in rows)
    tint = tints(results, spec)
    items = tuple(
        arm_item(r, shown, arm_name(spec, r.arm, language), tint.get(r.arm, ALERT), language)
        for r in rows
    )
    lines = [
        Line(r.estimate, arm_name(spec, r.arm, language))
        for r in rows
        if r.arm == control and r.estimate is not None
    ]
    title = say(language, "figure.profit_by_dose")
    return forest_sheet(ax, title, language, [Group("", items)], lines, stacked=False)
