"""A result table in; the effect day by day, as it grew or by day of entry, out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arms_of, control, shared_measure, value_text
from retention_lab.figures.forest import Pair, round_ticks, strokes, write
from retention_lab.figures.plane import LEFT, RIGHT, Plane
from retention_lab.figures.sheet import nothing, sheet
from retention_lab.figures.strip import band, bars, ground, line
from retention_lab.figures.style import INK, MUTED, SMALL, Table, colours, rows_of
from retention_lab.results import Row
from retention_lab.texts import kind_of, label, metric_label, say
from retention_lab.texts.numbers import Measure, day_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 7.5  # lines of text that one arm's chart is high
INSET = 0.015  # of the width, between a chart's side and its first or last day
REACH = 2.0  # half widths of the median interval that are shown on each side


def path_plot(
    results: Table,
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
    results: Table,
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The difference from the control among those who entered on each day, one chart an arm.

    Without `ax`, a new pyplot figure is made.
    """
    return _plot(results, spec, metric, language, ax, "daily_difference")


def course_rows(results: Table, estimand: str, metric: str) -> dict[str, tuple[Row, ...]]:
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


def _plot(
    results: Table, spec: Spec, metric: str | None, language: str, ax: Axes | None, estimand: str
) -> Axes:
    name = metric or spec.primary[0]
    found = course_rows(results, estimand, name)
    tint = colours(arms_of(results))
    every = [r for own in found.values() for r in own]
    shown = shared_measure([own[-1] for own in found.values()], estimand, kind_of(spec, name))
    banded = estimand == "sequential_difference"

    def draw(axes: Axes, y: float) -> float:
        y += 0.05
        if not found:
            return nothing(axes, y, language)
        for arm, rows in found.items():
            write(axes, 0, y + 0.6, label(spec, arm, language), weight="bold")
            if banded:
                value = value_text(rows[-1], shown, language)
                write(axes, 1, y + 0.6, value, ha="right", weight="bold")
            plane = _plane(y + 1.35, every)
            _frame(axes, plane, shown, every, language)
            draw_rows = _band if banded else _dots
            draw_rows(axes, plane, rows, tint.get(arm, INK))
            clear = first_clear(rows) if banded else None
            if clear is not None:
                _mark(axes, plane, clear, language)
            y = plane.foot + (2.2 if clear is not None else 1.35)
        return y

    words = {"metric": metric_label(spec, name, language), "control": control(spec, language)}
    title = say(language, "figure.path" if banded else "figure.daily", **words)
    return sheet(ax, title, language, draw)


def _plane(top: float, rows: Sequence[Row]) -> Plane:
    """Where one arm's chart stands: days with a little room at both sides, or one in the middle."""
    days = [_ordinal(r.at) for r in rows]
    first, last = min(days), max(days)
    inset = (last - first) * INSET / (RIGHT - LEFT - 2 * INSET) or 1.0
    return Plane(top, (first - inset, last + inset), _range(rows), HEIGHT)


def _points(plane: Plane, rows: Sequence[Row], name: str) -> list[Pair]:
    return plane.points((_ordinal(r.at), getattr(r, name)) for r in rows)


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


def _frame(ax: Axes, plane: Plane, shown: Measure, rows: Sequence[Row], language: str) -> None:
    """Ground, values at the left, days below, and the line of no difference."""
    ground(ax, plane, round_ticks(plane.upwards, 6, shown.axis, shown.factor))
    days = sorted({str(r.at) for r in rows})
    for i, day in enumerate(dict.fromkeys((days[0], days[len(days) // 2], days[-1]))):
        place = ("left", "center", "right")[i] if len(days) > 2 else "center"
        x = {"left": LEFT, "center": plane.x(_ordinal(day)), "right": RIGHT}[place]
        style: dict[str, Any] = {"ha": place, "color": MUTED, "fontsize": SMALL, "gid": "tick"}
        write(ax, x, plane.foot + 0.55, day_text(day, language), **style)


def _band(ax: Axes, plane: Plane, rows: Sequence[Row], colour: str) -> None:
    """The bounds as a band, the estimate as a line that ends in a dot."""
    bounded = [r for r in rows if r.ci_low is not None and r.ci_high is not None]
    upper, lower = _points(plane, bounded, "ci_high"), _points(plane, bounded, "ci_low")
    if len(bounded) > 1:
        band(ax, upper, lower, colour)
    for edge in (upper, lower):
        ax.plot(*zip(*edge, strict=True), color=colour, lw=1.0, zorder=3) if edge else None
    line(ax, _points(plane, rows, "estimate"), colour)


def _dots(ax: Axes, plane: Plane, rows: Sequence[Row], colour: str) -> None:
    """One dot a day with its interval."""
    bounded = [r for r in rows if r.ci_low is not None and r.ci_high is not None]
    lower, upper = _points(plane, bounded, "ci_low"), _points(plane, bounded, "ci_high")
    bars(ax, list(zip(lower, upper, strict=True)), colour)
    x, y = zip(*_points(plane, rows, "estimate"), strict=True)
    ax.scatter(x, y, s=26, c=colour, zorder=4)


def _mark(ax: Axes, plane: Plane, clear: Row, language: str) -> None:
    """The day on which the band left no difference, as a dashed line with its words below."""
    x = plane.x(_ordinal(clear.at))
    mark = [((x, plane.top), (x, plane.foot))]
    strokes(ax, mark, colors=INK, lw=1.2, ls=(0, (3, 2)), zorder=3)
    words = say(language, "figure.clear", date=day_text(clear.at, language))
    place = "left" if x < 0.4 else "right" if x > 0.7 else "center"
    write(ax, x, plane.foot + 1.4, words, ha=place, fontsize=SMALL)
