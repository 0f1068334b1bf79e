"""Rows of a rollout in; its effect by time since the start, before and after, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.effects import shared_measure
from retention_lab.figures.incentive_rows import incentive_rows, numbered
from retention_lab.figures.plane import Plane, around, dots, ground, legend, spans, upright, usual
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import CONTROL, PALETTE, Table
from retention_lab.texts import kind_of, metric_label, say
from retention_lab.texts.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOGETHER = "simultaneous"


def event_study_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """The effect on one metric by periods since a market began; before that it should be nothing.

    Thick lines hold for one period, thin ones for all periods together, where the table has them.
    Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    rows = incentive_rows(results, "event_time_effect", metric=name)
    own = numbered(r for r in rows if r.term is None)
    wide = numbered(r for r in rows if r.term == TOGETHER)

    def draw(axes: Axes, y: float) -> float:
        shown = shared_measure([r for _, r in own], "mean_difference", kind_of(spec, name))
        ends = [(r.ci_low, r.ci_high) for _, r in [*own, *wide]]
        values = [*usual(ends), *(r.estimate or 0.0 for _, r in own)]
        first, last = own[0][0], own[-1][0]
        plane = Plane(y, (first - 0.6, last + 0.6), around(values), 9.0)
        below = ground(axes, plane, shown.axis, shown.factor, _periods(first, last),
                       say(language, "figure.periods_since"))  # fmt: skip
        upright(axes, plane, -0.5, say(language, "figure.began"))
        for after, colour in ((False, CONTROL), (True, PALETTE[0])):
            part = [(e, r) for e, r in own if (e >= 0) == after]
            around_all = [(e, r.ci_low, r.ci_high) for e, r in wide if (e >= 0) == after]
            spans(axes, plane, around_all, colour, lw=0.8, alpha=0.7, zorder=2.5)
            spans(axes, plane, [(e, r.ci_low, r.ci_high) for e, r in part], colour)
            dots(axes, plane, [(e, r.estimate or 0.0) for e, r in part], colour)
        entries = [
            (CONTROL, "dot", say(language, "figure.before_start")),
            (PALETTE[0], "dot", say(language, "figure.after_start")),
        ]
        return legend(axes, below, entries)

    title = say(language, "figure.event_study", metric=metric_label(spec, name, language))
    return sheet(ax, title, language, draw if own else None)


def _periods(first: float, last: float) -> list[tuple[float, str]]:
    step = max(1, round((last - first) / 10))
    start = -step * int(-first // step) if first < 0 else int(first)
    return [(float(e), number(e, 0, signed=True)) for e in range(start, int(last) + 1, step)]
