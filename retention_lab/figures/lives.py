"""A result table in; how many customers have come back by every day, as curves, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from retention_lab.experiment.spec import Spec
from retention_lab.figures.chart import (
    LABELLED,
    RIGHT,
    Chart,
    band,
    day_ticks,
    end_labels,
    frame,
    line,
    shortened,
    stepped,
    top_of,
)
from retention_lab.figures.forest import EMS, Pair, strokes, write
from retention_lab.figures.groups import Shown, came, groups_of, has_competing, largest, since
from retention_lab.figures.plane import plain
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import FONT, MUTED, SMALL, Table, ems
from retention_lab.results import Row
from retention_lab.texts import say
from retention_lab.texts.lives import bounds, cause_label, deed_first, event_of, split_label
from retention_lab.texts.numbers import DASH, NBSP, measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 8.0  # lines of text
NAMES = 0.045  # between the last number at risk and the names of groups, in parts of the width
MILESTONES = (30, 90, 180, 365)
Curve = Callable[[Row], tuple[float, float | None, float | None]]


def survival_plot(
    results: Table,
    spec: Spec,
    segment: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The share of customers that has had the event by every day, with the number at risk.

    Everyone, or every arm; with `segment` its groups, the six largest. Rising curves: one minus
    the survival, or where the file names competing events the share that had this one first.
    Without `ax`, a new pyplot figure is made.
    """
    words = {"deed": deed_first(spec, language), "segment": split_label(spec, segment, language)}
    first, estimand = (
        ("_first", "cumulative_incidence") if has_competing(spec) else ("", "survival")
    )
    title = say(language, f"figure.lives{first}{'_by' if segment else ''}", **words)
    axis = measure("level", "proportion").axis
    return _curves(results, spec, estimand, segment, language, ax, title, _risen, axis, 100.0, 1.0)


def repeat_plot(
    results: Table,
    spec: Spec,
    segment: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The mean number of further events of a customer by every day, by group.

    Without `ax`, a new pyplot figure is made.
    """
    words = {
        "event": cause_label(spec, None, language),
        "segment": split_label(spec, segment, language),
    }
    title = say(language, "figure.repeats_by" if segment else "figure.repeats", **words)
    return _curves(
        results, spec, "mean_cumulative", segment, language, ax, title, _plain, plain, 1.0, None
    )


def _risen(r: Row) -> tuple[float, float | None, float | None]:
    return _plain(came(r))


def _plain(r: Row) -> tuple[float, float | None, float | None]:
    return r.estimate or 0.0, r.ci_low, r.ci_high


def _curves(
    results: Table,
    spec: Spec,
    estimand: str,
    segment: str | None,
    language: str,
    ax: Axes | None,
    title: str,
    curve: Curve,
    tick: Callable[[float, int], str],
    factor: float,
    most: float | None,
) -> Axes:
    term = event_of(spec) if estimand == "cumulative_incidence" else None
    groups, many = groups_of(results, spec, estimand, segment, language, term=term)

    def draw(axes: Axes, y: float) -> float:
        chart = _chart(y + 0.35, groups, curve, most)
        ticks = day_ticks(chart.days[1])
        below = [(float(d), number(d, 0)) for d in ticks]
        y = frame(axes, chart, tick, factor, below, since(spec, language))
        for group in groups:
            _draw(axes, chart, group, curve)
        if len(groups) == 1 and not groups[0].label:
            _milestones(axes, chart, groups[0], curve, lambda v: tick(v, _digits(most)))
        else:
            ends = [(_end(g, curve), g.label, g.colour) for g in groups]
            end_labels(axes, chart, ends)
        if estimand != "mean_cumulative":
            y = _at_risk(axes, chart, groups, ticks, y, language, spec.privacy.min_cell)
        return y

    remark = largest(len(groups), many, language)
    return sheet(ax, title, language, draw if groups else None, remark)


def _digits(most: float | None) -> int:
    return 0 if most is not None else 2


def _chart(top: float, groups: Sequence[Shown], curve: Curve, most: float | None) -> Chart:
    last = max(bounds(r.at)[1] for g in groups for r in g.rows)
    ends = [e for g in groups for r in g.rows for e in curve(r) if e is not None]
    estimates = [curve(r)[0] for g in groups for r in g.rows]
    high = min(top_of(ends, most), top_of(estimates) * 1.35)
    labelled = any(g.label for g in groups)
    return Chart(top, (0.0, float(max(last, 1))), high, LABELLED if labelled else RIGHT, HEIGHT)


def _draw(ax: Axes, chart: Chart, group: Shown, curve: Curve) -> None:
    """The band and the curve of one group, from 0 at the start to its last day."""
    last = _end(group, curve)[0]
    values = [(float(bounds(r.at)[1]), *curve(r)) for r in group.rows]
    corners: list[list[Pair]] = []
    for i in (1, 2, 3):
        known = [(v[0], float(v[i] or 0.0)) for v in values if v[2] is not None or i == 1]
        corners.append(stepped([(0.0, 0.0), *known], last, chart.high) if known else [])
    line(ax, chart, corners[0], group.colour)
    band(ax, chart, corners[1], corners[2], group.colour)


def _end(group: Shown, curve: Curve) -> Pair:
    return float(bounds(group.rows[-1].at)[1]), curve(group.rows[-1])[0]


def _by(group: Shown, day: int, curve: Curve) -> float | None:
    """The value of the curve on `day`; None after its end."""
    if day > _end(group, curve)[0]:
        return None
    before = [r for r in group.rows if bounds(r.at)[1] <= day]
    return curve(before[-1])[0] if before else 0.0


def _milestones(
    ax: Axes, chart: Chart, group: Shown, curve: Curve, text: Callable[[float], str]
) -> None:
    """Dots with their values at the days that reports speak of."""
    for day in MILESTONES:
        value = _by(group, day, curve)
        if value is None:
            continue
        x, y = chart.x(day), chart.y(value)
        ax.plot([x], [y], marker="o", color=group.colour, ms=6, zorder=5)
        room = y + 1.15 < chart.foot
        place, at = ("left", y + 0.75) if room else ("right", y - 0.65)
        if x > 0.9:
            place = "right"
        write(ax, x, at, text(value), ha=place, weight="bold", fontsize=SMALL)


def _at_risk(
    ax: Axes,
    chart: Chart,
    groups: Sequence[Shown],
    ticks: Sequence[int],
    y: float,
    language: str,
    least: int,
) -> float:
    """Customers who are still observed and have not had the event, by group and day.

    The names of groups stand at the right; on lines of their own where one is too long for that.
    """
    beside = chart.right + NAMES
    fits = all(shortened(g.label, 1 - beside).replace(NBSP, " ") == g.label for g in groups)
    write(ax, 0, y + 0.5, say(language, "figure.at_risk"), color=MUTED, fontsize=SMALL)
    y += 1.0
    for group in groups:
        if group.label:
            dash = [((0.0, y + 0.45), (0.03, y + 0.45))]
            strokes(ax, dash, colors=group.colour, lw=2.6, zorder=4)
            if fits:
                write(ax, beside, y + 0.45, group.label, fontsize=SMALL)
            else:
                write(ax, 0.045, y + 0.45, shortened(group.label, 0.95), fontsize=SMALL)
                y += 0.85
        for day in ticks:
            style: dict[str, Any] = {"ha": "center", "fontsize": SMALL, "gid": "tick"}
            text = _n_at(group, day, least)
            half = ems(text) * SMALL / FONT / EMS / 2
            x = min(max(chart.x(day), 0.065), chart.right + 0.01 - half)
            write(ax, x, y + 0.45, text, **style)
        y += 0.9
    return y + 0.2


def _n_at(group: Shown, day: int, least: int) -> str:
    """Customers at risk on `day`: those just before the first event from then on, if `least`."""
    if day == 0 and group.size is not None:
        return number(group.size, 0)
    later = [r.n for r in group.rows if bounds(r.at)[1] >= day]
    if not later:
        return DASH
    return f"<{least}" if later[0] is None else number(later[0], 0)
