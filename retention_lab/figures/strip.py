"""A chart of days, and points in it, in; its ground, bars, band and line drawn out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from matplotlib.collections import PolyCollection

from retention_lab.figures.forest import strokes
from retention_lab.figures.plane import Plane, floor, zero_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]


def ground(ax: Axes, plane: Plane, ticks: Iterable[tuple[float, str]]) -> None:
    """The ground, values at the left, and the line of no difference."""
    floor(ax, plane, ticks)
    zero_line(ax, plane)


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
