"""A result table in; the effect by day since exposure, each day and added up, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arms_of, control, shared_measure, value_text
from retention_lab.figures.forest import round_ticks, write, write_title
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
from retention_lab.texts.numbers import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 5.5  # lines of text that one chart is high
REACH = 3.0  # half widths of the median interval that are shown beyond the estimates
CHARTS = ("day_difference", "cumulative_difference")


def novelty_plot(
    results: Results | Iterable[Row],
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The difference from the control by day since exposure: two charts an arm.

    Above, what each day brought, with its interval; below, all days so far added up, with a band.
    Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    found = {e: age_rows(results, e, name) for e in CHARTS}
    tint = colours(arms_of(results))
    words = {"metric": metric_label(spec, name, language), "control": control(spec, language)}
    axes = ax if ax is not None else new_axes()
    with theme():
        axes.set_xlim(0, 1)
        axes.axis("off")
        y = write_title(axes, say(language, "figure.novelty", **words)) + 0.15
        if not any(found.values()):
            write(axes, 0, y + 0.6, say(language, "figure.nothing"))
            y += 1.2
        for arm in dict.fromkeys(arm for by_arm in found.values() for arm in by_arm):
            write(axes, 0, y + 0.6, label(spec, arm, language), weight="bold")
            y += 1.2
            for estimand in CHARTS:
                rows = found[estimand].get(arm, ())
                if not rows:
                    continue
                every = [r for own in found[estimand].values() for r in own]
                ends = [own[-1] for own in found["cumulative_difference"].values()] or every
                shown = shared_measure(ends, estimand, kind_of(spec, name))
                if estimand == "cumulative_difference":
                    value = value_text(rows[-1], shown, language)
                    write(axes, 1, y + 0.5, value, ha="right", weight="bold", fontsize=SMALL)
                write(axes, 0, y + 0.5, say(language, f"figure.{estimand}"), fontsize=SMALL)
                chart = _Chart(y + 1.05, _last(every), _range(every))
                _frame(axes, chart, shown, every, language)
                draw = _dots if estimand == "day_difference" else _curve
                draw(axes, chart, rows, tint.get(arm, INK))
                y = chart.top + HEIGHT + 1.25
            y += 0.15
        axes.set_ylim(y + 0.1, 0)
    return axes if ax is not None else fit(axes)


def age_rows(
    results: Results | Iterable[Row], estimand: str, metric: str
) -> dict[str, tuple[Row, ...]]:
    """Rows of one metric by arm against the control, in the order of days; with an estimate."""
    rows = rows_of(results)
    base = next(iter(arms_of(rows)), None)
    found: dict[str, list[Row]] = {}
    for r in rows:
        wanted = (r.estimand, r.metric, r.baseline) == (estimand, metric, base)
        if wanted and r.arm and r.at and r.estimate is not None:
            found.setdefault(r.arm, []).append(r)
    return {arm: tuple(sorted(own, key=_end)) for arm, own in found.items()}


def _end(r: Row) -> int:
    """The last day of the days that a row is about: 14 for ``8-14``."""
    return int(str(r.at).rpartition("-")[2])


def _start(r: Row) -> int:
    return int(str(r.at).partition("-")[0])


def _last(rows: Sequence[Row]) -> int:
    return max(_end(r) for r in rows)


@dataclasses.dataclass(frozen=True, slots=True)
class _Chart:
    """Where one chart stands: its upper edge in lines, its last day and the values at its sides."""

    top: float
    last: int
    values: tuple[float, float]

    def x(self, day: float) -> float:
        """The end of `day`; day 0 is the exposure."""
        return LEFT + day / self.last * (RIGHT - LEFT - 0.01)

    def y(self, value: float) -> float:
        return height_of(value, self.values, self.top, HEIGHT)


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """No difference, every estimate, and of the intervals what is of usual width."""
    known = [r for r in rows if r.ci_low is not None and r.ci_high is not None]
    halves = sorted(((r.ci_high or 0.0) - (r.ci_low or 0.0)) / 2 for r in known)
    reach = REACH * halves[len(halves) // 2] if halves else 0.0
    estimates = [0.0, *(r.estimate or 0.0 for r in rows)]
    low, high = min(estimates), max(estimates)
    lows = [max(r.ci_low or 0.0, low - reach) for r in known]
    highs = [min(r.ci_high or 0.0, high + reach) for r in known]
    low, high = min(low, *lows, 0.0), max(high, *highs, 0.0)
    if high <= low:
        low, high = -1.0, 1.0
    pad = 0.05 * (high - low)
    return low - pad, high + pad


def _frame(ax: Axes, chart: _Chart, shown: Measure, rows: Sequence[Row], language: str) -> None:
    """Ground, values at the left, days below, and the line of no difference."""
    foot = chart.top + HEIGHT
    ticks = round_ticks(chart.values, 4, shown.axis, shown.factor)
    ground(ax, chart.top, foot, chart.y, ticks)
    small: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "gid": "tick"}
    for day in dict.fromkeys((1, (chart.last + 1) // 2, chart.last)):
        words = say(language, "figure.age", n=day)
        place = "right" if day == chart.last else "center"
        write(
            ax, RIGHT if place == "right" else chart.x(day), foot + 0.55, words, ha=place, **small
        )


def _dots(ax: Axes, chart: _Chart, rows: Sequence[Row], colour: str) -> None:
    """One dot a day, or a week, with its interval."""
    at = {r: chart.x((_start(r) + _end(r)) / 2) for r in rows}
    ends = [
        ((at[r], chart.y(r.ci_low)), (at[r], chart.y(r.ci_high)))
        for r in rows
        if r.ci_low is not None and r.ci_high is not None
    ]
    bars(ax, ends, colour)
    heights = [chart.y(r.estimate or 0.0) for r in rows]
    ax.scatter([at[r] for r in rows], heights, s=22, c=colour, zorder=4)


def _curve(ax: Axes, chart: _Chart, rows: Sequence[Row], colour: str) -> None:
    """The sum so far as a line from 0 at the exposure, its interval as a band."""
    bounded = [r for r in rows if r.ci_low is not None and r.ci_high is not None]
    start = (chart.x(0), chart.y(0.0))
    if bounded:
        upper = [start, *((chart.x(_end(r)), chart.y(r.ci_high or 0.0)) for r in bounded)]
        lower = [start, *((chart.x(_end(r)), chart.y(r.ci_low or 0.0)) for r in bounded)]
        band(ax, upper, lower, colour)
    line(ax, [start, *((chart.x(_end(r)), chart.y(r.estimate or 0.0)) for r in rows)], colour)
