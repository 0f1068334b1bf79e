"""Ranges of two quantities in; a chart with ground, ticks and zero line, and its marks, out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import PolyCollection

from retention_lab.figures.forest import EMS, Pair, round_ticks, strokes, write
from retention_lab.figures.style import BAND, FONT, INK, MUTED, SMALL, ems
from retention_lab.texts.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT = 0.13, 0.985
HEIGHT = 9.0
Tick = Callable[[float, int], str]


@dataclasses.dataclass(frozen=True, slots=True)
class Plane:
    """Where a chart stands (upper edge and height in lines of text) and what its sides mean."""

    top: float
    across: Pair
    upwards: Pair
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT

    @property
    def foot(self) -> float:
        return self.top + self.height

    def x(self, value: float) -> float:
        """The place of a value, which stays within the chart."""
        low, high = self.across
        part = (value - low) / ((high - low) or 1.0)
        return self.left + min(max(part, 0.0), 1.0) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.upwards
        part = (value - low) / ((high - low) or 1.0)
        return self.foot - min(max(part, 0.0), 1.0) * self.height

    def points(self, pairs: Iterable[Pair]) -> list[Pair]:
        return [(self.x(a), self.y(b)) for a, b in pairs]


def plain(value: float, digits: int) -> str:
    """A tick without a unit."""
    return number(value, digits)


def around(values: Iterable[float], zero: bool = True, pad: float = 0.06) -> Pair:
    """The least and the greatest of `values`, with some room; with `zero`, 0 is among them."""
    known = [*values, *([0.0] if zero else [])]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high <= low:
        spread = abs(high) or 1.0
        low, high = low - spread / 2, high + spread / 2
    room = pad * (high - low)
    return low - room, high + room


def usual(ends: Sequence[tuple[float | None, float | None]], reach: float = 4.0) -> list[float]:
    """Ends of intervals, those that are far wider than the median one cut, for a chart's range."""
    known = [(a, b) for a, b in ends if a is not None and b is not None]
    if not known:
        return []
    halves = sorted((b - a) / 2 for a, b in known)
    most = reach * halves[len(halves) // 2]
    found = []
    for a, b in known:
        middle = (a + b) / 2
        found += [max(a, middle - most), min(b, middle + most)]
    return found


def floor(ax: Axes, plane: Plane, ticks: Iterable[tuple[float, str]]) -> None:
    """The grey ground, and a white line at every one of `ticks` with its text at the left."""
    left, right = plane.left, plane.right
    corners = ((left, plane.top), (right, plane.top), (right, plane.foot), (left, plane.foot))
    ax.add_collection(PolyCollection([corners], color=BAND, lw=0, zorder=0), autolim=False)
    for value, text in ticks:
        y = plane.y(value)
        strokes(ax, [((left, y), (right, y))], colors="white", lw=1.2, zorder=1)
        write(ax, left - 0.012, y, text, ha="right", color=MUTED, fontsize=SMALL, gid="tick")


def upright_zero(ax: Axes, plane: Plane) -> None:
    """The line upwards at 0."""
    x = plane.x(0.0)
    strokes(ax, [((x, plane.top), (x, plane.foot))], colors=INK, lw=1.4, zorder=2)


def zero_line(ax: Axes, plane: Plane) -> None:
    """The line across at 0."""
    y = plane.y(0.0)
    strokes(ax, [((plane.left, y), (plane.right, y))], colors=INK, lw=1.4, zorder=2)


def ground(
    ax: Axes,
    plane: Plane,
    tick: Tick = plain,
    factor: float = 1.0,
    across: Sequence[tuple[float, str]] | None = None,
    caption: str = "",
    zero: bool = True,
) -> float:
    """The ground with round ticks on both sides; the height below it.

    `across` are the ticks of the x axis, else round values of it. `zero` draws the line at 0.
    """
    floor(ax, plane, round_ticks(plane.upwards, 5, tick, factor))
    style: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "gid": "tick"}
    ticks = across if across is not None else round_ticks(plane.across, 6, plain, 1.0)
    last = -1.0
    for value, text in ticks:
        half = ems(text) * SMALL / FONT / EMS / 2
        x = min(max(plane.x(value), half), 1 - half)
        if x - half < last + 0.008:
            continue
        write(ax, x, plane.foot + 0.55, text, ha="center", **style)
        last = x + half
    if zero and plane.upwards[0] <= 0 <= plane.upwards[1]:
        zero_line(ax, plane)
    below = plane.foot + 1.1
    if caption:
        middle = (plane.left + plane.right) / 2
        write(ax, middle, below + 0.25, caption, ha="center", color=MUTED, fontsize=SMALL)
        below += 0.85
    return below


def curve(ax: Axes, plane: Plane, pairs: Sequence[Pair], colour: str, **style: Any) -> None:
    """A line through values."""
    if len(pairs) > 1:
        points = plane.points(pairs)
        lines = list(itertools.pairwise(points))
        strokes(ax, lines, **{"colors": colour, "lw": 2.2, "zorder": 4, **style})


def ribbon(
    ax: Axes, plane: Plane, lower: Sequence[Pair], upper: Sequence[Pair], colour: str
) -> None:
    """What lies between two lines, in a light shade."""
    if len(lower) > 1 and len(upper) > 1:
        shape = [*plane.points(lower), *reversed(plane.points(upper))]
        drawn = PolyCollection([shape], facecolors=colour, alpha=0.18, lw=0, zorder=2)
        ax.add_collection(drawn, autolim=False)


def spans(
    ax: Axes,
    plane: Plane,
    items: Sequence[tuple[float, float | None, float | None]],
    colour: str,
    **style: Any,
) -> None:
    """Upright intervals: (place, low, high) each; those without ends are left out."""
    lines = [
        ((plane.x(at), plane.y(low)), (plane.x(at), plane.y(high)))
        for at, low, high in items
        if low is not None and high is not None
    ]
    if lines:
        strokes(ax, lines, **{"colors": colour, "lw": 1.8, "zorder": 3, **style})


def dots(
    ax: Axes, plane: Plane, pairs: Sequence[Pair], colour: str, hollow: bool = False, **style: Any
) -> None:
    """Values as dots."""
    if pairs:
        x, y = zip(*plane.points(pairs), strict=True)
        face = "white" if hollow else colour
        look: dict[str, Any] = {"s": 30, "linewidths": 1.6, "zorder": 5, **style}
        ax.scatter(x, y, c=face, edgecolors=colour, **look)


def upright(ax: Axes, plane: Plane, at: float, words: str = "", low: bool = False) -> None:
    """A dashed vertical line at a value, with words at its top (or `low`), where there is room."""
    x = plane.x(at)
    strokes(ax, [((x, plane.top), (x, plane.foot))], colors=INK, lw=1.2, ls=(0, (3, 2)), zorder=3)
    if words:
        left = x > (plane.left + plane.right) / 2
        place: dict[str, Any] = {"ha": "right" if left else "left", "fontsize": SMALL}
        write(
            ax,
            x - 0.012 if left else x + 0.012,
            plane.foot - 0.6 if low else plane.top + 0.6,
            words,
            **place,
        )


def level(ax: Axes, plane: Plane, at: float, words: str, colour: str) -> None:
    """A dashed line across at a value, with words above its end."""
    y = plane.y(at)
    line = [((plane.left, y), (plane.right, y))]
    strokes(ax, line, colors=colour, lw=1.3, ls=(0, (3, 2)), zorder=3)
    write(ax, plane.right - 0.01, y - 0.45, words, ha="right", fontsize=SMALL, color=colour)


def legend(ax: Axes, y: float, entries: Sequence[tuple[str, str, str]]) -> float:
    """(colour, mark, words) side by side; `mark` is dot, hollow, line or bar. The height below."""
    x = 0.0
    for colour, mark, words in entries:
        width = ems(words) * SMALL / FONT / EMS + 0.075
        if x and x + width > 1:
            x, y = 0.0, y + 0.9
        middle = y + 0.5
        if mark in ("dot", "hollow"):
            face = "white" if mark == "hollow" else colour
            ax.scatter([x + 0.014], [middle], s=30, c=face, edgecolors=colour, linewidths=1.6)
        elif mark == "bar":
            corners = [(x, middle - 0.25), (x + 0.028, middle - 0.25),
                       (x + 0.028, middle + 0.25), (x, middle + 0.25)]  # fmt: skip
            ax.add_collection(PolyCollection([corners], color=colour, lw=0), autolim=False)
        else:
            style: Any = (0, (3, 2)) if mark == "dashed" else "-"
            strokes(ax, [((x, middle), (x + 0.032, middle))], colors=colour, lw=2.2, ls=style)
        write(ax, x + 0.042, middle, words, fontsize=SMALL)
        x += width
    return y + 1.05
