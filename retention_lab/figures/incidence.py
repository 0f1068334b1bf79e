"""A result table in; what came first by every day, stacked, and hazard ratios as a forest, out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection

from retention_lab.experiment.spec import Spec
from retention_lab.figures.chart import (
    LABELLED,
    Chart,
    day_ticks,
    end_labels,
    frame,
    stepped,
    top_of,
)
from retention_lab.figures.forest import Group, Item, Line, Pair, write
from retention_lab.figures.groups import Shown, groups_of, largest, since, survival_rows
from retention_lab.figures.sheet import forest_sheet, sheet
from retention_lab.figures.style import PALETTE, Table
from retention_lab.results import Row
from retention_lab.texts import say, short_note
from retention_lab.texts.lives import bounds, cause_label, deed, split_label, term_label
from retention_lab.texts.numbers import measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 4
MOST_TERMS = 30
FACTOR = 1 / math.log(2)  # ticks of a log axis are round in doublings


def incidence_plot(
    results: Table,
    spec: Spec,
    segment: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """What came first, by every day: the shares of all outcomes on top of each other.

    One chart for everyone, or one an arm or a group of `segment`, the four largest. Without `ax`,
    a new pyplot figure is made.
    """
    groups, many = groups_of(
        results, spec, "cumulative_incidence", segment, language, most=MOST_PANELS
    )

    def draw(axes: Axes, y: float) -> float:
        last = max(bounds(r.at)[1] for g in groups for r in g.rows)
        high = top_of([sum(v for _, v in _ends(g)) for g in groups], 1.0)
        for i, group in enumerate(groups):
            if group.label:
                write(axes, 0, y + 0.6, group.label, weight="bold")
                y += 1.0
            chart = Chart(y + 0.35, (0.0, float(last)), high, LABELLED, 9.0 if i == 0 else 7.0)
            below = [(float(d), number(d, 0)) for d in day_ticks(last)]
            axis = measure("level", "proportion").axis
            y = frame(axes, chart, axis, 100.0, below, since(spec, language))
            _stack(axes, chart, group, spec, language)
        return y

    title = say(
        language,
        "figure.incidence_by" if segment else "figure.incidence",
        segment=split_label(spec, segment, language),
    )
    remark = largest(len(groups), many, language)
    return sheet(ax, title, language, draw if groups else None, remark)


def causes(group: Shown) -> dict[str, tuple[Row, ...]]:
    """Rows of one group by cause: the event that is waited for first."""
    event = group.rows[0].metric if group.rows else None
    found: dict[str, list[Row]] = {}
    for r in group.rows:
        found.setdefault(r.term or "", []).append(r)
    return {cause: tuple(found[cause]) for cause in sorted(found, key=lambda c: c != event)}


def _ends(group: Shown) -> list[tuple[str, float]]:
    return [(cause, rows[-1].estimate or 0.0) for cause, rows in causes(group).items()]


def _stack(ax: Axes, chart: Chart, group: Shown, spec: Spec, language: str) -> None:
    """One area a cause, the first at the foot; every area is labelled with its last value."""
    days = sorted({bounds(r.at)[1] for r in group.rows})
    last = float(days[-1])
    under = dict.fromkeys(days, 0.0)
    labels: list[tuple[Pair, str, str]] = []
    for i, (cause, rows) in enumerate(causes(group).items()):
        colour = PALETTE[i % len(PALETTE)]
        at = {bounds(r.at)[1]: r.estimate or 0.0 for r in rows}
        over, value = {}, 0.0
        for day in days:
            value = at.get(day, value)
            over[day] = under[day] + value
        lower, upper = _edge(under, last, chart), _edge(over, last, chart)
        shape = [*chart.points(upper), *reversed(chart.points(lower))]
        drawn = PolyCollection([shape], facecolors=colour, alpha=0.7, lw=0, zorder=2 + i)
        ax.add_collection(drawn, autolim=False)
        name = cause_label(spec, cause, language)
        text = say(language, "figure.cause", cause=name, share=f"{number(100 * value, 1)}%")
        labels.append(((last, (under[days[-1]] + over[days[-1]]) / 2), text, colour))
        under = over
    end_labels(ax, chart, labels)


def _edge(values: dict[int, float], last: float, chart: Chart) -> list[Pair]:
    pairs = [(0.0, 0.0), *((float(day), value) for day, value in values.items())]
    return stepped(pairs, last, chart.high)


def ratio_plot(results: Table, spec: Spec, language: str = "en", ax: Axes | None = None) -> Axes:
    """Hazard ratios of a model with their intervals, on an axis on which 0.5 and 2 are alike far.

    Without `ax`, a new pyplot figure is made.
    """
    rows = ratio_rows(results)[:MOST_TERMS]
    items = tuple(_item(r, spec, language) for r in rows)
    title = say(language, "figure.ratios", deed=deed(spec, language))
    lines = [Line(0.0, say(language, "figure.no_difference"))]
    return forest_sheet(ax, title, language, [Group("", items)], lines, _tick, FACTOR)


def ratio_rows(results: Table) -> tuple[Row, ...]:
    """The log hazard ratios of the model of everyone, in the order of the table."""
    found = survival_rows(results, "log_hazard_ratio")
    return tuple(r for r in found if r.term is not None)


def _tick(value: float, digits: int) -> str:
    return number(math.exp(value), 2).rstrip("0").rstrip(".")


def ratio_text(r: Row, language: str) -> str:
    """A hazard ratio with its interval: ``0.54 (0.49 to 0.59)``."""
    if r.estimate is None:
        return short_note(r.note, language) or say(language, "figure.no_estimate")
    ends = [say(language, "no_bound") if e is None else times(e) for e in (r.ci_low, r.ci_high)]
    return say(language, "figure.value", estimate=times(r.estimate), low=ends[0], high=ends[1])


def times(log_ratio: float) -> str:
    """A ratio from its logarithm: ``0.54``, ``12.3``; powers of ten where it has no end."""
    ratio = math.exp(min(max(log_ratio, -50.0), 50.0))
    return number(ratio, 2 if ratio < 10 else 1 if ratio < 100 else 0)


def _item(r: Row, spec: Spec, language: str) -> Item:
    low = r.ci_low if r.ci_low is not None else -math.inf
    high = r.ci_high if r.ci_high is not None else math.inf
    text = ratio_text(r, language)
    name = term_label(spec, r.term, language)
    hollow = low <= 0 <= high
    return Item(name, text, PALETTE[0], r.estimate, r.ci_low, r.ci_high, hollow=hollow)
