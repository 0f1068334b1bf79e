"""Rows by dose in; the response to an incentive's value, and the profit at each value, out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from retention_lab.experiment.spec import Spec
from retention_lab.figures.forest import write
from retention_lab.figures.incentive_rows import incentive_rows, numbered
from retention_lab.figures.plane import (
    Plane,
    around,
    curve,
    dots,
    ground,
    legend,
    plain,
    ribbon,
    spans,
    upright,
    usual,
)
from retention_lab.figures.sheet import nothing, sheet
from retention_lab.figures.style import INK, MUTED, PALETTE, Table
from retention_lab.results import Row
from retention_lab.texts import kind_of, metric_label, say
from retention_lab.texts.numbers import digits_of_value, measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = {"linear": MUTED, "spline": PALETTE[0], "isotonic": PALETTE[1]}
HEIGHT = 7.0


def dose_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """Above: the metric's mean at each dose and the curves through them. Below: profit by dose.

    The dose of the greatest profit is marked, with its interval as a band. Without `ax`, a new
    pyplot figure is made.
    """
    name = metric or spec.primary[0]
    means = numbered(incentive_rows(results, "dose_mean", metric=name))
    profit = numbered(incentive_rows(results, "profit_at_dose"))
    best = next(iter(incentive_rows(results, "best_dose")), None)

    def draw(axes: Axes, y: float) -> float:
        if means:
            y = _response(axes, results, spec, name, means, y, language)
        else:
            y = nothing(axes, y, language)
        if profit:
            write(axes, 0, y + 0.7, say(language, "figure.profit_by_dose"), weight="bold")
            y = _profit(axes, profit, best, y + 1.4, language)
        return y

    title = say(language, "figure.dose", metric=metric_label(spec, name, language))
    return sheet(ax, title, language, draw)


def _doses(pairs: Iterable[tuple[float, Row]]) -> list[tuple[float, str]]:
    values = sorted({e for e, _ in pairs})
    return [(e, number(e, digits_of_value(e))) for e in values]


def _response(
    ax: Axes,
    results: Table,
    spec: Spec,
    name: str,
    means: list[tuple[float, Row]],
    y: float,
    language: str,
) -> float:
    curves = {
        term: numbered(incentive_rows(results, "dose_response", metric=name, term=term))
        for term in CURVES
    }
    drawn = [pair for pairs in curves.values() for pair in pairs]
    ends = usual([(r.ci_low, r.ci_high) for _, r in [*means, *drawn]])
    values = [*ends, *(r.estimate or 0.0 for _, r in [*means, *drawn])]
    across = around([e for e, _ in [*means, *drawn]], zero=False, pad=0.04)
    plane = Plane(y, across, around(values, zero=False), HEIGHT)
    shown = measure("level", kind_of(spec, name))
    below = ground(ax, plane, shown.axis, shown.factor, _doses(means),
                   say(language, "figure.dose_axis"), zero=False)  # fmt: skip
    for term, pairs in curves.items():
        if term == "spline" or (term == "linear" and not curves["spline"]):
            low = [(e, r.ci_low) for e, r in pairs if r.ci_low is not None]
            high = [(e, r.ci_high) for e, r in pairs if r.ci_high is not None]
            ribbon(ax, plane, low, high, CURVES[term])
        dashed = {"ls": (0, (4, 2))} if term == "linear" else {}
        curve(ax, plane, [(e, r.estimate or 0.0) for e, r in pairs], CURVES[term], **dashed)
    spans(ax, plane, [(e, r.ci_low, r.ci_high) for e, r in means], INK)
    dots(ax, plane, [(e, r.estimate or 0.0) for e, r in means], INK)
    entries = [
        (CURVES[term], "dashed" if term == "linear" else "line", say(language, f"figure.{term}"))
        for term, pairs in curves.items()
        if pairs
    ]
    return legend(ax, below, [(INK, "dot", say(language, "figure.measured")), *entries])


def _profit(
    ax: Axes, profit: list[tuple[float, Row]], best: Row | None, y: float, language: str
) -> float:
    values = [r.estimate or 0.0 for _, r in profit]
    ends = usual([(r.ci_low, r.ci_high) for _, r in profit])
    across = around([e for e, _ in profit], zero=False, pad=0.04)
    plane = Plane(y, across, around([*values, *ends], zero=False), HEIGHT - 1)
    below = ground(ax, plane, plain, 1.0, _doses(profit), say(language, "figure.dose_axis"))
    # Nothing is fitted to these points, so that no line says what lies between them.
    pairs = [(e, r.estimate or 0.0) for e, r in profit]
    spans(ax, plane, [(e, r.ci_low, r.ci_high) for e, r in profit], PALETTE[2])
    dots(ax, plane, pairs, PALETTE[2])
    if best is not None and best.estimate is not None:
        if best.ci_low is not None and best.ci_high is not None:
            bottom, top = plane.upwards
            ribbon(ax, plane, [(best.ci_low, bottom), (best.ci_high, bottom)],
                   [(best.ci_low, top), (best.ci_high, top)], PALETTE[1])  # fmt: skip
        words = {"dose": number(best.estimate, digits_of_value(round(best.estimate, 2)))}
        upright(ax, plane, best.estimate)
        below = legend(ax, below, [(INK, "dashed", say(language, "figure.best_dose", **words))])
    return below
