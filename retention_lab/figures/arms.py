"""A result table in; the level of every arm, or its number of units, as a figure out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arms_of, value_text
from retention_lab.figures.forest import EMS, Group, Item, write
from retention_lab.figures.sheet import forest_sheet, nothing, sheet
from retention_lab.figures.style import INK, Table, colours, ems, rows_of, wrap
from retention_lab.results import Row
from retention_lab.texts import kind_of, label, metric_label, say
from retention_lab.texts.numbers import measure, number, share, shared_measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = ("mean", "ratio", "quantile")


def arms_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The observed level of every arm on one metric (the primary one), with its interval.

    Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    rows = level_rows(results, name)
    tint = colours(arms_of(results))
    items = []
    ends = [(r.ci_low, r.ci_high) for r in rows]
    shown = shared_measure("level", kind_of(spec, name), ends)
    for r in rows:
        text = value_text(r, shown, language)
        colour = tint.get(r.arm or "", INK)
        arm = label(spec, r.arm, language)
        items.append(Item(arm, text, colour, r.estimate, r.ci_low, r.ci_high))
    shown = measure("level", kind_of(spec, name))
    title = say(language, "figure.arms", metric=metric_label(spec, name, language))
    groups = [Group("", tuple(items))]
    return forest_sheet(ax, title, language, groups, (), shown.axis, shown.factor)


def level_rows(
    results: Table, metric: str, segment: str | None = None, level: str | None = None
) -> tuple[Row, ...]:
    """The rows that hold every arm's own level of `metric`."""
    return tuple(
        r
        for r in rows_of(results)
        if r.analysis == "ab"
        and r.metric == metric
        and r.estimand in LEVELS
        and r.segment == segment
        and r.level == level
    )


def expected_shares(results: Table, spec: Spec) -> dict[str, float]:
    """The planned share of every arm: from the file's expected_split, else equal.

    Empty where whole clusters were randomised: units then need not be as many.
    """
    if spec.design is not None and spec.design.randomised is not None:
        return {}
    split = spec.design.expected_split if spec.design else None
    if split is None:
        arms = list(arms_of(results))
        split = dict.fromkeys(arms, 1.0)
    total = sum(split.values())
    return {arm: weight / total for arm, weight in split.items()}


def units_by_arm(results: Table, spec: Spec) -> dict[str, int | None]:
    """Units of every arm, the control first; None where they are hidden or unknown."""
    counted = {
        r.arm: None if r.estimate is None else int(r.estimate)
        for r in rows_of(results)
        if r.analysis == "quality" and r.estimand == "units" and r.arm is not None
    }
    split = (spec.design.expected_split if spec.design else None) or {}
    order = dict.fromkeys([*arms_of(results), *split])
    return {arm: counted.get(arm) for arm in order} if counted else {}


def split_plot(results: Table, spec: Spec, language: str = "en", ax: Axes | None = None) -> Axes:
    """Units by arm as bars, the planned number as a mark. Without `ax`, a new pyplot figure."""
    units = units_by_arm(results, spec)
    planned = expected_shares(results, spec)
    total = None if None in units.values() else sum(n or 0 for n in units.values())
    tint = colours(list(units))
    ends = [n or 0 for n in units.values()] + [(total or 0) * s for s in planned.values()]

    def draw(axes: Axes, y: float) -> float:
        y += 0.05
        if not units:
            return nothing(axes, y, language)
        axes.set_xlim(0, max([1.0, *ends]))
        for arm, n in units.items():
            words = {
                "n": number(n, 0),
                "share": share(n / total if total and n is not None else None),
                "expected": share(planned.get(arm, 0.0)),
            }
            key = "figure.split_value" if planned else "figure.split_value_alone"
            value = say(language, key, **words)
            if n is None:
                value = say(language, "figure.suppressed_arm")
            for line in wrap(label(spec, arm, language), EMS - ems(value) * 1.12 - 1.5):
                write(axes, 0, y + 0.6, line)
                y += 1
            write(axes, 1, y - 0.4, value, ha="right", weight="bold")
            axes.barh(y + 0.45, n or 0, height=0.6, color=tint[arm], alpha=0.85)
            if total and planned:
                mark = planned.get(arm, 0.0) * total
                axes.plot([mark, mark], [y + 0.05, y + 0.85], color=INK, lw=2)
            y += 1.15
        return y

    return sheet(ax, say(language, "figure.split"), language, draw)
