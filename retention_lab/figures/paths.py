"""A result table in; the effect day by day, as it grew or by day of entry, out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arms_of, control, shared_measure, value_text
from retention_lab.figures.forest import round_ticks, strokes, write, write_title
from retention_lab.figures.strip import LEFT, RIGHT, band, bars, ground, height_of, line
from retention_lab.figures.style import (
    INK,
    MUTED,
    SMALL,
    colours,
    fit,
    new_axes,
    rows_of,
    theme,
)
from retention_lab.results import Results, Row
from retention_lab.texts import kind_of, label, metric_label, say
from retention_lab.texts.numbers import Measure, day_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 7.5  # lines of text that one arm's chart is high
REACH = 2.0  # half widths of the median interval that are shown on each side


def path_plot(
    results: Results | Iterable[Row],
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The difference from the control as customers entered, one chart an arm.

    The band holds on all days together, so leaving no difference once is enough; the first such
    day is marked. Without `ax`, a new pyplot figure is made.
    """
    return _plot(results, spec, metric, language, ax, "sequential_difference")


def daily_plot(
    results: Results | Iterable[Row],
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The difference from the control among those who entered on each day, one chart an arm.

    Without `ax`, a new pyplot figure is made.
    """
    return _plot(results, spec, metric, language, ax, "daily_difference")


def course_rows(
    results: Results | Iterable[Row], estimand: str, metric: str
) -> dict[str, tuple[Row, ...]]:
    """Rows of one metric by arm, in the order of their days; those with an estimate only."""
    rows = rows_of(results)
    base = next(iter(arms_of(rows)), None)
    found: dict[str, list[Row]] = {}
    for r in rows:
        if r.estimand == estimand and r.metric == metric and r.baseline == base and r.arm:
            own = found.setdefault(r.arm, [])
            if r.estimate is not None and r.at is not None:
                own.append(r)
    return {arm: tuple(sorted(own, key=lambda r: str(r.at))) for arm, own in found.items() if own}


def first_clear(rows: Sequence[Row]) -> Row | None:
    """The first day on which the interval leaves no difference; None where it never does."""
    return next((r for r in rows if _clear(r)), None)


def _clear(r: Row) -> bool:
    return r.ci_low is not None and r.ci_high is not None and not r.ci_low <= 0 <= r.ci_high


@dataclasses.dataclass(frozen=True, slots=True)
class _Chart:
    """Where one arm's chart stands: its upper edge in lines, days and values at its sides."""

    top: float
    days: tuple[int, int]
    values: tuple[float, float]

    def x(self, day: str | None) -> float:
        first, last = self.days
        if last == first:
            return (LEFT + RIGHT) / 2
        part = (_ordinal(day) - first) / (last - first)
        return LEFT + 0.015 + part * (RIGHT - LEFT - 0.03)

    def y(self, value: float) -> float:
        return height_of(value, self.values, self.top, HEIGHT)

    def points(self, rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
        return [(self.x(r.at), self.y(getattr(r, name))) for r in rows]


def _plot(
    results: Results | Iterable[Row],
    spec: Spec,
    metric: str | None,
    language: str,
    ax: Axes | None,
    estimand: str,
) -> Axes:
    name = metric or spec.primary[0]
    found = course_rows(results, estimand, name)
    tint = colours(arms_of(results))
    every = [r for own in found.values() for r in own]
    shown = shared_measure([own[-1] for own in found.values()], estimand, kind_of(spec, name))
    banded = estimand == "sequential_difference"
    words = {"metric": metric_label(spec, name, language), "control": control(spec, language)}
    title = say(language, "figure.path" if banded else "figure.daily", **words)
    axes = ax if ax is not None else new_axes()
    with theme():
        axes.set_xlim(0, 1)
        axes.axis("off")
        y = write_title(axes, title) + 0.15
        if not found:
            write(axes, 0, y + 0.6, say(language, "figure.nothing"))
            y += 1.2
        for arm, rows in found.items():
            write(axes, 0, y + 0.6, label(spec, arm, language), weight="bold")
            if banded:
                value = value_text(rows[-1], shown, language)
                write(axes, 1, y + 0.6, value, ha="right", weight="bold")
            span = (
                _ordinal(min(r.at or "" for r in every)),
                _ordinal(max(r.at or "" for r in every)),
            )
            chart = _Chart(y + 1.35, span, _range(every))
            _frame(axes, chart, shown, every, language)
            draw = _band if banded else _dots
            draw(axes, chart, rows, tint.get(arm, INK))
            clear = first_clear(rows) if banded else None
            if clear is not None:
                _mark(axes, chart, clear, language)
            y = chart.top + HEIGHT + (2.2 if clear is not None else 1.35)
        axes.set_ylim(y + 0.1, 0)
    return axes if ax is not None else fit(axes)


def _ordinal(day: str | None) -> int:
    try:
        return dt.date.fromisoformat(str(day)[:10]).toordinal()
    except ValueError:
        return 0


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """Values to show: no difference, all estimates that an interval of usual width can hold."""
    spans = sorted(
        r.ci_high - r.ci_low for r in rows if r.ci_low is not None and r.ci_high is not None
    )
    last = rows[-1].estimate or 0.0
    ends = [0.0, last]
    if not spans:
        ends += [r.estimate or 0.0 for r in rows]
    else:
        reach = REACH * spans[len(spans) // 2] / 2
        limits = [e for r in rows for e in (r.ci_low, r.ci_high) if e is not None]
        ends += [min(max(e, min(0.0, last) - reach), max(0.0, last) + reach) for e in limits]
    low, high = min(ends), max(ends)
    if high <= low:
        low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
    pad = 0.05 * (high - low)
    return low - pad, high + pad


def _frame(ax: Axes, chart: _Chart, shown: Measure, rows: Sequence[Row], language: str) -> None:
    """Ground, values at the left, days below, and the line of no difference."""
    foot = chart.top + HEIGHT
    ticks = round_ticks(chart.values, 6, shown.axis, shown.factor)
    ground(ax, chart.top, foot, chart.y, ticks)
    days = sorted({str(r.at) for r in rows})
    for i, day in enumerate(dict.fromkeys((days[0], days[len(days) // 2], days[-1]))):
        place = ("left", "center", "right")[i] if len(days) > 2 else "center"
        x = {"left": LEFT, "center": chart.x(day), "right": RIGHT}[place]
        style: dict[str, Any] = {"ha": place, "color": MUTED, "fontsize": SMALL, "gid": "tick"}
        write(ax, x, foot + 0.55, day_text(day, language), **style)


def _band(ax: Axes, chart: _Chart, rows: Sequence[Row], colour: str) -> None:
    """The bounds as a band, the estimate as a line that ends in a dot."""
    bounded = [r for r in rows if r.ci_low is not None and r.ci_high is not None]
    upper, lower = chart.points(bounded, "ci_high"), chart.points(bounded, "ci_low")
    if len(bounded) > 1:
        band(ax, upper, lower, colour)
    for edge in (upper, lower):
        ax.plot(*zip(*edge, strict=True), color=colour, lw=1.0, zorder=3) if edge else None
    line(ax, chart.points(rows, "estimate"), colour)


def _dots(ax: Axes, chart: _Chart, rows: Sequence[Row], colour: str) -> None:
    """One dot a day with its interval."""
    ends = [
        ((chart.x(r.at), chart.y(r.ci_low)), (chart.x(r.at), chart.y(r.ci_high)))
        for r in rows
        if r.ci_low is not None and r.ci_high is not None
    ]
    bars(ax, ends, colour)
    x, y = zip(*chart.points(rows, "estimate"), strict=True)
    ax.scatter(x, y, s=26, c=colour, zorder=4)


def _mark(ax: Axes, chart: _Chart, clear: Row, language: str) -> None:
    """The day on which the band left no difference, as a dashed line with its words below."""
    x, foot = chart.x(clear.at), chart.top + HEIGHT
    mark = [((x, chart.top), (x, foot))]
    strokes(ax, mark, colors=INK, lw=1.2, ls=(0, (3, 2)), zorder=3)
    words = say(language, "figure.clear", date=day_text(clear.at, language))
    place = "left" if x < 0.4 else "right" if x > 0.7 else "center"
    write(ax, x, foot + 1.4, words, ha=place, fontsize=SMALL)
