"""A result table in; a forest of every arm against the control out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from retention_lab.experiment.spec import Spec
from retention_lab.figures.forest import Group, Item, Line
from retention_lab.figures.sheet import forest_sheet
from retention_lab.figures.style import Table, colours, rows_of
from retention_lab.results import Row
from retention_lab.texts import kind_of, label, metric_label, metric_of, numbers, say, short_note
from retention_lab.texts.numbers import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Estimand = Literal["relative_lift", "mean_difference", "shrunken_difference"]
DIFFERENCES = ("mean_difference", "ratio_difference", "quantile_difference")


def effect_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    estimand: Estimand = "relative_lift",
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """Every arm against the control on one metric (the primary one): estimate and interval.

    A margin is drawn on the scale on which it is set: ``mean_difference``, or ``relative_lift``
    where it is relative. Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    rows = effect_rows(results, name, estimand)
    shown = shared_measure(rows, estimand, kind_of(spec, name))
    tint = colours(arms_of(results))
    items = tuple(
        effect_item(r, shown, label(spec, r.arm, language), tint.get(r.arm or ""), language)
        for r in rows
    )
    key = "figure.effect_lift" if estimand == "relative_lift" else "figure.effect_difference"
    words = {"metric": metric_label(spec, name, language), "control": control(spec, language)}
    title, lines = say(language, key, **words), lines_of(spec, name, estimand, shown, language)
    return forest_sheet(ax, title, language, [Group("", items)], lines, shown.axis, shown.factor)


def effect_rows(
    results: Table, metric: str, estimand: str, segment: str | None = None
) -> tuple[Row, ...]:
    """The rows of one metric's effects against the control; a ratio's count as differences."""
    wanted = DIFFERENCES if estimand == "mean_difference" else (estimand,)
    control = next(iter(arms_of(results)), None)
    return tuple(
        r
        for r in rows_of(results)
        if r.analysis == "ab"
        and r.metric == metric
        and r.estimand in wanted
        and r.segment == segment
        and r.arm != r.baseline == control
    )


def arms_of(results: Table) -> tuple[str, ...]:
    """The arms in the order of the result table, the control first."""
    rows = rows_of(results)
    found = dict.fromkeys(r.arm for r in rows if r.arm is not None)
    first = dict.fromkeys(r.baseline for r in rows if r.baseline is not None)
    return tuple({**first, **found})


def control(spec: Spec, language: str) -> str:
    """The control's label."""
    return label(spec, spec.design.control, language) if spec.design else ""


def shared_measure(rows: Sequence[Row], estimand: str, kind: str) -> Measure:
    """How to write all of `rows` alike: digits by the median interval."""
    ends = [(r.ci_low, r.ci_high) for r in rows]
    return numbers.shared_measure(
        "lift" if estimand == "relative_lift" else "difference", kind, ends
    )


def value_text(row: Row, shown: Measure, language: str) -> str:
    """``+12.1% (+8.3 to +16.0)``, or in a few words why there is none."""
    if row.estimate is None:
        if (row.note or "").startswith("suppressed"):
            return say(language, "figure.suppressed_arm")
        return short_note(row.note, language) or say(language, "figure.no_estimate")
    if row.ci_low is None and row.ci_high is None:
        return shown.text(row.estimate, language)
    ends = [
        say(language, "no_bound") if e is None else shown.bare(e) for e in (row.ci_low, row.ci_high)
    ]
    estimate = shown.text(row.estimate, language)
    return say(language, "figure.value", estimate=estimate, low=ends[0], high=ends[1])


def effect_item(
    row: Row,
    shown: Measure,
    name: str,
    colour: str | None,
    language: str,
    raw: float | None = None,
) -> Item:
    """One row as a line of the forest; `raw` is the estimate before it was shrunk."""
    value = value_text(row, shown, language)
    low = row.ci_low if row.ci_low is not None else float("-inf")
    high = row.ci_high if row.ci_high is not None else float("inf")
    return Item(
        name,
        value,
        colour or "#6B7280",
        row.estimate,
        row.ci_low,
        row.ci_high,
        hollow=low <= 0 <= high,
        raw=raw,
    )


def arm_item(
    row: Row, shown: Measure, name: str, colour: str, language: str, least: float | None = None
) -> Item:
    """One arm's level or ratio; hollow unless its whole interval is beyond `least`, if that is."""
    known = row.ci_low is not None and row.ci_high is not None
    sure = least is None or (known and not (row.ci_low or 0.0) <= least <= (row.ci_high or 0.0))
    value = value_text(row, shown, language)
    return Item(name, value, colour, row.estimate, row.ci_low, row.ci_high, hollow=not sure)


def lines_of(spec: Spec, metric: str, estimand: str, shown: Measure, language: str) -> list[Line]:
    """The line of no difference, and the margin's where the metric has one on this scale."""
    lines = [Line(0.0, say(language, "figure.no_difference"))]
    found = metric_of(spec, metric)
    relative = estimand == "relative_lift"
    margin = None if found is None else found.relative_margin if relative else found.margin
    if found is None or not margin:
        return lines
    guardrail = found.role == "guardrail"
    upwards = (found.direction == "increase") != guardrail
    at = margin if upwards else -margin
    key = "figure.margin" if guardrail else "figure.worthwhile"
    text = say(language, key, margin=shown.text(at, language))
    return [*lines, Line(at, text, alert=guardrail)]
