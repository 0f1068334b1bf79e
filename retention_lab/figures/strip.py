"""Where a chart of days stands, and points in it, in; its ground, bars, band and line drawn out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection

from retention_lab.figures.forest import strokes, write
from retention_lab.figures.style import BAND, INK, MUTED, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT = 0.13, 0.985  # where a chart starts and ends, in parts of the width
Point = tuple[float, float]


def height_of(value: float, values: tuple[float, float], top: float, height: float) -> float:
    """Where `value` stands in a chart that shows `values` from its foot to its `top`."""
    low, high = values
    return top + (high - min(max(value, low), high)) / (high - low) * height


def ground(
    ax: Axes,
    top: float,
    foot: float,
    y: Callable[[float], float],
    ticks: Iterable[tuple[float, str]],
) -> None:
    """The ground, values at the left, and the line of no difference."""
    corners = ((LEFT, top), (RIGHT, top), (RIGHT, foot), (LEFT, foot))
    ax.add_collection(PolyCollection([corners], color=BAND, lw=0, zorder=0), autolim=False)
    for value, text in ticks:
        at = y(value)
        strokes(ax, [((LEFT, at), (RIGHT, at))], colors="white", lw=1.2, zorder=1)
        write(ax, LEFT - 0.012, at, text, ha="right", color=MUTED, fontsize=SMALL, gid="tick")
    zero = y(0.0)
    strokes(ax, [((LEFT, zero), (RIGHT, zero))], colors=INK, lw=1.4, zorder=2)


def bars(ax: Axes, ends: Sequence[tuple[Point, Point]], colour: str) -> None:
    """Intervals as thin upright lines."""
    strokes(ax, ends, colors=colour, lw=1.6, alpha=0.6, zorder=3)


def band(ax: Axes, upper: Sequence[Point], lower: Sequence[Point], colour: str) -> None:
    """The ground between two bounds."""
    shape = [*upper, *reversed(lower)]
    ax.add_collection(
        PolyCollection([shape], facecolors=colour, alpha=0.22, lw=0, zorder=2), autolim=False
    )


def line(ax: Axes, points: Sequence[Point], colour: str) -> None:
    """The estimate as a line that ends in a dot."""
    ax.plot(*zip(*points, strict=True), color=colour, lw=2.4, zorder=4)
    ax.plot(*points[-1], marker="o", color=colour, ms=6, zorder=5)
