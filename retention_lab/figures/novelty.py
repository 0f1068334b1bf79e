"""A result table in; the effect by day since exposure, each day and added up, out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import arms_of, control, shared_measure, value_text
from retention_lab.figures.forest import round_ticks, write
from retention_lab.figures.plane import LEFT, RIGHT, Plane
from retention_lab.figures.sheet import nothing, sheet
from retention_lab.figures.strip import band, bars, ground, line
from retention_lab.figures.style import INK, MUTED, SMALL, Table, colours, rows_of
from retention_lab.results import Row
from retention_lab.texts import kind_of, label, metric_label, say
from retention_lab.texts.numbers import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 5.5  # lines of text that one chart is high
REACH = 3.0  # half widths of the median interval that are shown beyond the estimates
CHARTS = ("day_difference", "cumulative_difference")


def novelty_plot(
    results: Table,
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

    def draw(axes: Axes, y: float) -> float:
        y += 0.05
        if not any(found.values()):
            return nothing(axes, y, language)
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
                plane = _plane(y + 1.05, every)
                _frame(axes, plane, shown, _last(every), language)
                draw_rows = _dots if estimand == "day_difference" else _curve
                draw_rows(axes, plane, rows, tint.get(arm, INK))
                y = plane.foot + 1.25
            y += 0.15
        return y

    words = {"metric": metric_label(spec, name, language), "control": control(spec, language)}
    return sheet(ax, say(language, "figure.novelty", **words), language, draw)


def age_rows(results: Table, estimand: str, metric: str) -> dict[str, tuple[Row, ...]]:
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


def _plane(top: float, rows: Sequence[Row]) -> Plane:
    """Where one chart stands: from the exposure, day 0, to a little after the end of the last."""
    width = RIGHT - LEFT
    return Plane(top, (0.0, _last(rows) * width / (width - 0.01)), _range(rows), HEIGHT)


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


def _frame(ax: Axes, plane: Plane, shown: Measure, last: int, language: str) -> None:
    """Ground, values at the left, days below, and the line of no difference."""
    ground(ax, plane, round_ticks(plane.upwards, 4, shown.axis, shown.factor))
    small: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "gid": "tick"}
    for day in dict.fromkeys((1, (last + 1) // 2, last)):
        words = say(language, "figure.age", n=day)
        place, x = ("right", RIGHT) if day == last else ("center", plane.x(day))
        write(ax, x, plane.foot + 0.55, words, ha=place, **small)


def _dots(ax: Axes, plane: Plane, rows: Sequence[Row], colour: str) -> None:
    """One dot a day, or a week, with its interval."""
    at = {r: plane.x((_start(r) + _end(r)) / 2) for r in rows}
    ends = [
        ((at[r], plane.y(r.ci_low)), (at[r], plane.y(r.ci_high)))
        for r in rows
        if r.ci_low is not None and r.ci_high is not None
    ]
    bars(ax, ends, colour)
    heights = [plane.y(r.estimate or 0.0) for r in rows]
    ax.scatter([at[r] for r in rows], heights, s=22, c=colour, zorder=4)


def _curve(ax: Axes, plane: Plane, rows: Sequence[Row], colour: str) -> None:
    """The sum so far as a line from 0 at the exposure, its interval as a band."""
    bounded = [r for r in rows if r.ci_low is not None and r.ci_high is not None]
    start = (0.0, 0.0)
    if bounded:
        upper = [start, *((_end(r), r.ci_high or 0.0) for r in bounded)]
        lower = [start, *((_end(r), r.ci_low or 0.0) for r in bounded)]
        band(ax, plane.points(upper), plane.points(lower), colour)
    line(ax, plane.points([start, *((_end(r), r.estimate or 0.0) for r in rows)]), colour)
