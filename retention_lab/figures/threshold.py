"""Rows about a threshold in; means just below and above it, and the jump between, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.forest import round_ticks
from retention_lab.figures.incentive_rows import incentive_rows, numbered
from retention_lab.figures.plane import Plane, around, curve, dots, ground, plain, ribbon, upright
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import CONTROL, PALETTE, Table
from retention_lab.results import Row
from retention_lab.texts import kind_of, metric_label, say
from retention_lab.texts.numbers import measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES = ("below", "above")
REACH, FEWEST = 3.0, 8


def threshold_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """Means of one metric by the running variable, and the fits on both sides of the limit.

    Grey: those who did not get it; in colour: those who did. Without `ax`, a new pyplot figure is
    made.
    """
    name = metric or spec.primary[0]
    means = incentive_rows(results, "binned_mean", metric=name)
    fits = incentive_rows(results, "threshold_fit", metric=name)
    said = spec.incentive
    cutoff = said.cutoff if said is not None else None
    running = metric_label(spec, said.running if said is not None else "", language)
    means = near(means, incentive_rows(results, "bandwidth", metric=name, term="h"), cutoff)
    both = numbered([*means, *fits])

    def draw(axes: Axes, y: float) -> float:
        shown = measure("level", kind_of(spec, name))
        places = [e for e, _ in both] + ([cutoff] if cutoff is not None else [])
        values = [r.estimate or 0.0 for _, r in both]
        plane = Plane(y, around(places, zero=False, pad=0.02), around(values, zero=False), 9.5)
        ticks = round_ticks(plane.across, 6, plain, 1.0)
        below = ground(axes, plane, shown.axis, shown.factor, ticks, running, zero=False)
        treated = "above" if said is None or said.above else "below"
        for side in SIDES:
            colour = PALETTE[0] if side == treated else CONTROL
            seen = numbered(r for r in means if r.term == side)
            dots(axes, plane, [(e, r.estimate or 0.0) for e, r in seen], colour, s=20)
            line = numbered(r for r in fits if r.term == side)
            curve(axes, plane, [(e, r.estimate or 0.0) for e, r in line], colour)
            bounded = [(e, r) for e, r in line if r.ci_low is not None]
            ribbon(axes, plane, [(e, r.ci_low or 0.0) for e, r in bounded],
                   [(e, r.ci_high or 0.0) for e, r in bounded], colour)  # fmt: skip
        if cutoff is not None:
            limit = number(cutoff, 2).removesuffix(".00")
            upright(axes, plane, cutoff, say(language, "figure.limit", cutoff=limit), low=True)
        return below

    words = {"metric": metric_label(spec, name, language), "running": running}
    title = say(language, "figure.threshold", **words)
    return sheet(ax, title, language, draw if both else None)


def near(means: tuple[Row, ...], width: tuple[Row, ...], cutoff: float | None) -> tuple[Row, ...]:
    """The means within three bandwidths of the limit, if at least `FEWEST` lie there; else all."""
    h = next((r.estimate for r in width if r.estimate is not None), None)
    if h is None or cutoff is None:
        return means
    found = tuple(r for at, r in numbered(means) if abs(at - cutoff) <= REACH * h)
    return found if len(found) >= FEWEST else means
