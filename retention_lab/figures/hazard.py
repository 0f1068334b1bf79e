"""A result table in; the chance to come back day by day, and the share of revenue by month, out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection

from retention_lab.experiment.spec import Spec
from retention_lab.figures.chart import (
    LABELLED,
    RIGHT,
    Chart,
    day_ticks,
    end_labels,
    frame,
    line,
    marked,
    top_of,
)
from retention_lab.figures.forest import EMS, Pair, strokes, write
from retention_lab.figures.groups import (
    Shown,
    came,
    came_rows,
    groups_of,
    largest,
    since,
    survival_rows,
)
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import FONT, INK, PALETTE, SMALL, Table, ems, rows_of
from retention_lab.results import Row
from retention_lab.texts import say
from retention_lab.texts.lives import bounds, cut_month, deed, month_text, split_label
from retention_lab.texts.numbers import measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MILESTONES = (30, 60, 90, 180, 365)  # days that every curve of the analysis has, if it lasts
CLIFF = 30  # the day after which a customer counts as hard to win back
MOST_MONTHS = 24
WIDE = 1.15  # of a text: what it needs beside another one
THINNED = 0.25  # of the customers at the start; bins with fewer do not set the height


def hazard_plot(
    results: Table,
    spec: Spec,
    segment: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The chance of the event on a day, among those who wait for it still, by bin of days.

    Day 30 is marked, with the share of the events that come before it. Everyone, or every arm;
    with `segment` its groups. Without `ax`, a new pyplot figure is made.
    """
    rows = rows_of(results)
    groups, many = groups_of(rows, spec, "hazard", segment, language)

    def draw(axes: Axes, y: float) -> float:
        chart = _chart(y + 0.35, groups)
        below = [(float(d), number(d, 0)) for d in day_ticks(chart.days[1])]
        axis = measure("level", "proportion").axis
        y = frame(axes, chart, axis, 100.0, below, since(spec, language))
        for group in groups:
            _bins(axes, chart, group, filled=len(groups) == 1)
        if chart.right == LABELLED:
            end_labels(axes, chart, [(_last(g), g.label, g.colour) for g in groups])
        if chart.days[1] > CLIFF:
            marked(axes, chart, CLIFF, _cliff(rows, spec, segment, language))
        return y

    words = {"deed": deed(spec, language), "segment": split_label(spec, segment, language)}
    title = say(language, "figure.hazard_by" if segment else "figure.hazard", **words)
    remark = largest(len(groups), many, language)
    return sheet(ax, title, language, draw if groups else None, remark)


def early(results: Table, spec: Spec, day: int = CLIFF) -> tuple[float, int] | None:
    """The share of everyone's events that came up to `day`, and the last day that counts.

    That is the last milestone, as in the verdict, or the curve's end where it ends before any.

    None where the curve ends there, or no event has come.
    """
    rows = [came(r) for r in came_rows(results, spec)]
    known = [r for r in rows if r.estimate is not None and r.arm is None]
    known.sort(key=lambda r: bounds(r.at))
    before = [r for r in known if bounds(r.at)[1] <= day]
    if not known or known[-1] in before:
        return None
    last = max((r for r in known if bounds(r.at)[1] in MILESTONES and r not in before),
               key=lambda r: bounds(r.at), default=known[-1])  # fmt: skip
    all_of_them = last.estimate or 0.0
    if all_of_them <= 0:
        return None
    by_then = (before[-1].estimate or 0.0) if before else 0.0
    return by_then / all_of_them, bounds(last.at)[1]


def _cliff(rows: Sequence[Row], spec: Spec, segment: str | None, language: str) -> str:
    found = early(rows, spec) if segment is None else None
    if found is None:
        return say(language, "figure.cliff_plain", day=CLIFF)
    share, last = found
    words = {"day": CLIFF, "share": f"{number(100 * share, 0)}%", "last": number(last, 0)}
    return say(language, "figure.cliff", deed=deed(spec, language), **words)


def _chart(top: float, groups: Sequence[Shown]) -> Chart:
    last = max(bounds(r.at)[1] for g in groups for r in g.rows)
    ends = []
    for group in groups:
        most = max((r.n or 0) for r in group.rows)
        sure = [r for r in group.rows if (r.n or 0) >= THINNED * most] or group.rows
        ends += [e for r in sure for e in (r.estimate, r.ci_high) if e is not None]
    labelled = any(g.label for g in groups)
    right = LABELLED if labelled else RIGHT
    room = 1.12 if last > CLIFF else 1.0  # for the words at the mark
    return Chart(top, (0.0, last + 0.5), room * top_of(ends, 1.0), right)


def _bins(ax: Axes, chart: Chart, group: Shown, filled: bool) -> None:
    """One level stretch a bin; bars with intervals for one group, a line for one of several."""
    corners: list[Pair] = []
    boxes, bars = [], []
    for r in group.rows:
        low, high = bounds(r.at)
        a, b = max(low - 0.5, 0.0), high + 0.5
        corners += [(a, r.estimate or 0.0), (b, r.estimate or 0.0)]
        left, right = chart.points([(a, r.estimate or 0.0), (b, r.estimate or 0.0)])
        inset = 0.06 * (right[0] - left[0])
        x0, x1 = left[0] + inset, right[0] - inset
        boxes.append(((x0, left[1]), (x1, left[1]), (x1, chart.foot), (x0, chart.foot)))
        if r.ci_low is not None and r.ci_high is not None:
            x = (left[0] + right[0]) / 2
            bars.append(((x, chart.y(r.ci_low)), (x, chart.y(r.ci_high))))
    if not filled:
        line(ax, chart, corners, group.colour)
        return
    drawn = PolyCollection(boxes, facecolors=group.colour, alpha=0.55, lw=0, zorder=2)
    ax.add_collection(drawn, autolim=False)
    strokes(ax, bars, colors=INK, lw=1.1, zorder=3)


def _last(group: Shown) -> Pair:
    r = group.rows[-1]
    return bounds(r.at)[1] + 0.5, r.estimate or 0.0


def share_plot(results: Table, spec: Spec, language: str = "en", ax: Axes | None = None) -> Axes:
    """The share of each month's revenue that came from returning customers, the last 24 months.

    A last month that is not complete is named below the title. Without `ax`, a new pyplot figure is
    made.
    """
    rows = [r for r in survival_rows(results, "returning_revenue_share") if r.estimate is not None]
    rows = sorted(rows, key=lambda r: r.at or "")[-MOST_MONTHS:]

    def draw(axes: Axes, y: float) -> float:
        chart = Chart(y + 0.9, (-0.6, len(rows) - 0.4), 1.0)
        months = [month_text(r.at or "", language) for r in rows]
        room = (chart.x(1) - chart.x(0)) / WIDE
        widest = max(ems(m) for m in months) * SMALL / FONT / EMS
        step = max(math.ceil(widest / room), math.ceil(len(rows) / 5))
        below = [(float(i), months[i]) for i in range(0, len(rows), step)]
        y = frame(axes, chart, measure("level", "proportion").axis, 100.0, below)
        _months(axes, chart, rows)
        return y

    cut = cut_month(spec, rows[-1].at, language) if rows else ""
    remark = say(language, "figure.returning_cut", month=cut) if cut else ""
    return sheet(ax, say(language, "figure.returning"), language, draw if rows else None, remark)


def _months(ax: Axes, chart: Chart, rows: Sequence[Row]) -> None:
    """One bar a month with its value above it, as far as there is room."""
    boxes = []
    for i, r in enumerate(rows):
        x0, x1 = chart.x(i - 0.36), chart.x(i + 0.36)
        top = chart.y(r.estimate or 0.0)
        boxes.append(((x0, top), (x1, top), (x1, chart.foot), (x0, chart.foot)))
        text = f"{number(100 * (r.estimate or 0.0), 0)}%"
        if WIDE * ems("100%") * SMALL / FONT / EMS < chart.x(1) - chart.x(0):
            write(ax, chart.x(i), top - 0.45, text, ha="center", fontsize=SMALL)
    drawn = PolyCollection(boxes, facecolors=PALETTE[0], alpha=0.75, lw=0, zorder=2)
    ax.add_collection(drawn, autolim=False)
