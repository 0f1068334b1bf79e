"""Rows of an incentive that nobody randomised in; who was compared, and what may hide, out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection

from retention_lab.experiment.needs import PRE
from retention_lab.experiment.spec import Spec
from retention_lab.figures.forest import EMS, round_ticks, strokes, write
from retention_lab.figures.incentive_rows import arm_name, incentive_rows, numbered, tints
from retention_lab.figures.plane import Plane, around, dots, ground, legend, upright_zero
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import (
    ALERT,
    BAND,
    CONTROL,
    FONT,
    INK,
    MUTED,
    PALETTE,
    SMALL,
    Table,
    ems,
    wrap,
)
from retention_lab.results import Row
from retention_lab.texts import kind_of, metric_label, say
from retention_lab.texts.incentive import covariate_label, quoted
from retention_lab.texts.numbers import measure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALIKE = 0.1  # a standardised difference that is usually called small
MOST = 14  # covariates in one figure
BINS = 20
SHORT = 4  # points of a line that is too short for its value
NAMES = 0.42  # part of the width for the names of covariates


def balance_plot(
    results: Table, spec: Spec, arm: str | None = None, language: str = "en", ax: Axes | None = None
) -> Axes:
    """Standardised differences of covariates between `arm` and the control, before and after.

    A love plot: the largest before first, at most 14. Without `ax`, a new pyplot figure is made.
    """
    rows = incentive_rows(results, "standardised_difference")
    arm = arm or next((r.arm for r in rows), None)
    found = differences(rows, arm)

    def draw(axes: Axes, y: float) -> float:
        entries = [
            (CONTROL, "hollow", say(language, "figure.before")),
            (PALETTE[0], "dot", say(language, "figure.after")),
        ]
        y = legend(axes, y, entries) + 0.1
        return _love(axes, found, y, spec, language)

    title = say(language, "figure.balance", arm=quoted(spec, arm, language))
    return sheet(ax, title, language, draw if found else None)


def differences(
    rows: Iterable[Row], arm: str | None
) -> list[tuple[str, float | None, float | None]]:
    """(covariate, difference before, after) of one arm, the largest before first."""
    found: dict[str, dict[str, float | None]] = {}
    for r in rows:
        if r.arm == arm and r.term is not None and r.at in ("before", "after"):
            found.setdefault(r.term, {})[r.at] = r.estimate
    pairs = [(name, v.get("before"), v.get("after")) for name, v in found.items()]
    return sorted(pairs, key=lambda p: -abs(p[1] or 0.0))


def _shown(
    found: list[tuple[str, float | None, float | None]],
) -> list[tuple[str, float | None, float | None]]:
    """The largest before, and in any case the one that is largest after."""
    worst = max(found, key=lambda p: abs(p[2] or 0.0))
    shown = found[:MOST]
    return shown if worst in shown else [*shown[:-1], worst]


def _love(
    ax: Axes,
    found: list[tuple[str, float | None, float | None]],
    y: float,
    spec: Spec,
    language: str,
) -> float:
    shown = _shown(found)
    values = [v for _, *pair in shown for v in pair if v is not None]
    plane = Plane(y, around([*values, ALIKE, -ALIKE]), (0.0, 1.0), len(shown) * 1.0 + 0.2, NAMES)
    below = ground(ax, plane, lambda v, d: "", zero=False, caption=say(language, "figure.in_sd"))
    inner = [(plane.x(-ALIKE), plane.top), (plane.x(ALIKE), plane.top),
             (plane.x(ALIKE), plane.foot), (plane.x(-ALIKE), plane.foot)]  # fmt: skip
    ax.add_collection(PolyCollection([inner], color="#DFF2E9", lw=0, zorder=0.5), autolim=False)
    upright_zero(ax, plane)
    room = (NAMES - 0.02) * EMS * FONT / SMALL
    for i, (name, before, after) in enumerate(shown):
        middle = y + 0.6 + i
        write(ax, 0, middle, _name(spec, name, language, room), fontsize=SMALL)
        if before is not None and after is not None:
            ends = [((plane.x(before), middle), (plane.x(after), middle))]
            strokes(ax, ends, colors=MUTED, lw=0.9, zorder=3)
        for value, colour, face in ((before, CONTROL, "white"), (after, PALETTE[0], PALETTE[0])):
            if value is not None:
                ax.scatter([plane.x(value)], [middle], s=34, c=face, edgecolors=colour,
                           linewidths=1.6, zorder=5)  # fmt: skip
    if len(found) > MOST:
        words = {"n": MOST, "many": len(found)}
        write(ax, 0, below + 0.4, say(language, "figure.largest_first", **words),
              fontsize=SMALL, color=MUTED)  # fmt: skip
        below += 0.9
    return below


def _name(spec: Spec, name: str, language: str, room: float) -> str:
    """A covariate's name in one line; what says that it was before is never cut off."""
    text = covariate_label(spec, name, language)
    metric = metric_label(spec, name.removesuffix(PRE), language)
    if name.endswith(PRE) and ems(text) > room:
        left = room - ems(say(language, "figure.earlier", metric=""))
        return say(language, "figure.earlier", metric=wrap(metric, left, 1)[0])
    return wrap(text, room, 1)[0]


def overlap_plot(
    results: Table, spec: Spec, arm: str | None = None, language: str = "en", ax: Axes | None = None
) -> Axes:
    """How likely the incentive was, for those who got it (up) and those who did not (down).

    Where only one side has customers, nobody alike is on the other. Without `ax`, a new pyplot
    figure is made.
    """
    rows = incentive_rows(results, "propensity_share")
    arm = arm or next((r.term for r in rows if r.term is not None), None)
    own = [r for r in rows if r.term in (arm, None)]
    got = numbered(r for r in own if r.arm == arm)
    base = numbered(r for r in own if r.arm != arm)

    def draw(axes: Axes, y: float) -> float:
        colour = tints(results, spec).get(arm, PALETTE[0])
        control = spec.design.control if spec.design else None
        entries = [
            (colour, "bar", arm_name(spec, arm, language)),
            (CONTROL, "bar", arm_name(spec, control, language)),
        ]
        y = legend(axes, y, entries) + 0.1
        highest = max(r.estimate or 0.0 for _, r in [*got, *base])
        edges = sorted({e for e, _ in [*got, *base]})
        step = min((b - a for a, b in itertools.pairwise(edges)), default=1 / BINS)
        plane = Plane(y, (0.0, 1.0), (-1.08 * highest, 1.08 * highest), 7.5)
        tens = [(i / 5, f"{20 * i}%") for i in range(6)]
        below = ground(axes, plane, _percent, 100.0, tens, say(language, "figure.chance_of"))
        for pairs, sign, tint in ((got, 1.0, colour), (base, -1.0, CONTROL)):
            bars = [_box(plane, e, min(e + step, 1.0), sign * (r.estimate or 0.0))
                    for e, r in pairs]  # fmt: skip
            shape = PolyCollection(bars, facecolors=tint, edgecolors="white", lw=0.6, zorder=4)
            axes.add_collection(shape, autolim=False)
        return below

    title = say(language, "figure.overlap", arm=quoted(spec, arm, language))
    return sheet(ax, title, language, draw if got or base else None)


def _percent(value: float, digits: int) -> str:
    return f"{number(abs(100 * value), digits)}%"


def _box(plane: Plane, a: float, b: float, value: float) -> list[tuple[float, float]]:
    return plane.points([(a, 0.0), (b, 0.0), (b, value), (a, value)])


def sensitivity_plot(
    results: Table,
    spec: Spec,
    metric: str | None = None,
    arm: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """What the effect would be if an unseen cause explained so much of treatment and outcome.

    Lines of equal adjusted effect; the heavy one is no effect. Dots are as strong as a covariate
    that was seen. Without `ax`, a new pyplot figure is made.
    """
    name = metric or spec.primary[0]
    rows = incentive_rows(results, "sensitivity_contour", metric=name)
    arm = arm or next((r.arm for r in rows), None)
    grid = _grid(r for r in rows if r.arm == arm)
    title = say(language, "figure.sensitivity", metric=metric_label(spec, name, language))
    if grid is None:
        return sheet(ax, title, language, None)
    known, kind = grid, kind_of(spec, name)
    return sheet(ax, title, language, lambda axes, y: _contours(axes, known, kind, y, language))


def _grid(rows: Iterable[Row]) -> tuple[Any, Any, Any] | None:
    """Shares of treatment and outcome, and the effects [outcome, treatment] between them."""
    found = {}
    for r in rows:
        a, _, b = (r.at or "").partition(",")
        try:
            place = float(a), float(b)
        except ValueError:
            continue
        if r.estimate is not None:
            found[place] = r.estimate
    across = sorted({a for a, _ in found})
    upwards = sorted({b for _, b in found})
    if len(across) < 2 or len(upwards) < 2:
        return None
    values = [[found.get((a, b), np.nan) for a in across] for b in upwards]
    return np.array(across), np.array(upwards), np.array(values)


def _contours(ax: Axes, grid: tuple[Any, Any, Any], kind: str, y: float, language: str) -> float:
    shown = measure("difference", kind)
    across, upwards, values = grid
    known = values[np.isfinite(values)]
    write(ax, 0, y + 0.5, say(language, "figure.of_outcome"), fontsize=SMALL, color=MUTED)
    plane = Plane(y + 1.1, (0.0, float(across[-1])), (0.0, float(upwards[-1])), 9.5)
    shares = round_ticks(plane.across, 5, _percent, 100.0)
    caption = say(language, "figure.of_treatment")
    below = ground(ax, plane, _percent, 100.0, shares, caption, zero=False)
    places = [[plane.x(float(a)) for a in across] for _ in upwards]
    heights = [[plane.y(float(b)) for _ in across] for b in upwards]
    ticks = round_ticks((float(known.min()), float(known.max())), 7, shown.axis, shown.factor)
    levels = {value: text for value, text in ticks if value}
    if levels:
        drawn = ax.contour(places, heights, values, levels=sorted(levels), colors=[PALETTE[4]],
                           linewidths=1.1, linestyles="solid")  # fmt: skip
        _named(ax, drawn, levels)
    if known.min() < 0 < known.max():
        zero = ax.contour(places, heights, values, levels=[0.0], colors=[ALERT], linewidths=2.2)
        zero.set_zorder(4)
        entries = [(ALERT, "line", say(language, "figure.nothing_left")),
                   (PALETTE[4], "line", say(language, "figure.adjusted_effect"))]  # fmt: skip
    else:
        entries = [(PALETTE[4], "line", say(language, "figure.adjusted_effect"))]
    dots(ax, plane, [(0.0, 0.0)], INK)
    return legend(ax, below, entries)


def _named(ax: Axes, drawn: Any, levels: dict[float, str]) -> None:
    """The value of every line, in the middle of its path."""
    for value, segments in zip(drawn.levels, drawn.allsegs, strict=True):
        points = [p for s in segments for p in s]
        if len(points) > SHORT:
            x, y = points[len(points) // 2]
            text = levels[min(levels, key=lambda v: abs(v - value))]
            ax.scatter([x], [y], s=300, c=BAND, marker="s", linewidths=0, zorder=2.5)
            place: dict[str, Any] = {"ha": "center", "fontsize": SMALL, "color": MUTED}
            write(ax, float(x), float(y), text, zorder=3, **place)
