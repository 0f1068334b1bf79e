"""Rows by week since the incentive in; what each week brought, and all weeks so far, out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.forest import write
from retention_lab.figures.incentive_rows import incentive_rows, numbered, tints
from retention_lab.figures.plane import (
    Plane,
    around,
    curve,
    dots,
    ground,
    plain,
    ribbon,
    spans,
    usual,
)
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import PALETTE, SMALL, Table
from retention_lab.results import Row
from retention_lab.texts import metric_label, say
from retention_lab.texts.incentive import quoted
from retention_lab.texts.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 5.5
CHARTS = ("weekly_effect", "cumulative_effect")


def forward_plot(
    results: Table, spec: Spec, arm: str | None = None, language: str = "en", ax: Axes | None = None
) -> Axes:
    """The effect by week since the incentive (above), and all weeks so far added up (below).

    Bars below 0 in later weeks, and a sum that falls again, are orders that only came earlier.
    Without `ax`, a new pyplot figure is made.
    """
    rows = incentive_rows(results, CHARTS)
    arm = arm or next((r.arm for r in rows), None)
    found = {e: numbered(r for r in rows if r.arm == arm and r.estimand == e) for e in CHARTS}
    colour = tints(results, spec).get(arm, PALETTE[0])

    def draw(axes: Axes, y: float) -> float:
        for estimand, pairs in found.items():
            if pairs:
                write(axes, 0, y + 0.5, say(language, f"figure.{estimand}"), fontsize=SMALL)
                y = _chart(axes, estimand, pairs, y + 1.05, colour, language) + 0.1
        return y

    metric = metric_label(spec, next((r.metric for r in rows), None), language)
    title = say(language, "figure.forward", metric=metric, arm=quoted(spec, arm, language))
    return sheet(ax, title, language, draw if any(found.values()) else None)


def _chart(
    ax: Axes,
    estimand: str,
    pairs: Sequence[tuple[float, Row]],
    y: float,
    colour: str,
    language: str,
) -> float:
    ends = usual([(r.ci_low, r.ci_high) for _, r in pairs])
    values = [*ends, *(r.estimate or 0.0 for _, r in pairs)]
    last = pairs[-1][0]
    plane = Plane(y, (0.0, last + 0.4), around(values), HEIGHT)
    step = max(1, round(last / 8))
    weeks = [(float(w), number(w, 0)) for w in range(step, int(last) + 1, step)]
    summed = estimand == "cumulative_effect"
    caption = say(language, "figure.weeks_since") if summed else ""
    below = ground(ax, plane, plain, 1.0, weeks, caption)
    points = [(e, r.estimate or 0.0) for e, r in pairs]
    if summed:
        start = [(0.0, 0.0)]
        ribbon(ax, plane, start + [(e, r.ci_low) for e, r in pairs if r.ci_low is not None],
               start + [(e, r.ci_high) for e, r in pairs if r.ci_high is not None],
               colour)  # fmt: skip
        curve(ax, plane, [*start, *points], colour)
        dots(ax, plane, points[-1:], colour)
    else:
        spans(ax, plane, [(e, r.ci_low, r.ci_high) for e, r in pairs], colour)
        dots(ax, plane, points, colour)
    return below
