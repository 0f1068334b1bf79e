"""Items with an estimate and an interval in; a forest plot with direct labels out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection, PolyCollection

from retention_lab.figures.style import (
    ALERT,
    BAND,
    FONT,
    INK,
    LINE,
    MUTED,
    SIDE,
    SMALL,
    WIDTH,
    ems,
    wrap,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pair = tuple[float, float]
EMS = (WIDTH - 2 * SIDE) * 72 / 96 / FONT  # the plot's width in ems of its text


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One line of the forest: its label, the text of its value, and what is drawn.

    `low` or `high` may be None: the interval is open on that side. Without an estimate only
    the text is written. `hollow` marks an interval that includes no difference, `raw` is a second
    value, drawn as a small grey mark.
    """

    label: str
    value: str
    colour: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    raw: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A vertical line at a value, with words at its foot."""

    at: float
    text: str
    alert: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Items under one heading; an empty heading takes no room."""

    heading: str
    items: tuple[Item, ...]
    remark: str = ""


Mark = tuple[Item, float, float]  # what is drawn, its estimate, its height


def forest(
    ax: Axes,
    title: str,
    groups: Sequence[Group],
    lines: Sequence[Line] = (),
    tick: Callable[[float, int], str] = lambda v, digits: f"{v:.{digits}f}",
    factor: float = 1.0,
    stacked: bool = True,
) -> Axes:
    """Draw `groups` into `ax` from top to bottom; the y axis counts lines of text.

    `stacked` puts every label above its interval, else to the left of it. `tick` writes a
    value of the x axis with some digits; ticks are round in units of value times `factor`.
    """
    left, right = (0.01, 0.99) if stacked else _columns(groups)
    low, high = _range(groups, lines)
    scale = (high - low) / (right - left)
    ax.set_xlim(low - left * scale, low - left * scale + scale)
    ax.axis("off")
    y = write_title(ax, title)
    bands: list[Pair] = []
    marks: list[Mark] = []
    for group in groups:
        y = _heading(ax, group, y)
        start = y
        for item in group.items:
            y, at = _stacked(ax, item, y) if stacked else _beside(ax, item, y, left)
            if item.estimate is not None:
                marks.append((item, item.estimate, at))
                if stacked:
                    bands.append((at - 0.4, at + 0.4))
        if not stacked and any(i.estimate is not None for i in group.items):
            bands.append((start, y))
    if marks:
        _intervals(ax, marks, (low, high))
        y = _axis(ax, (low, high), (left, right), bands, y, lines, tick, factor)
    ax.set_ylim(y + 0.3, 0)
    return ax


def _columns(groups: Sequence[Group]) -> Pair:
    """Where the intervals start and end beside labels and values, in parts of the width."""
    items = [i for g in groups for i in g.items]
    label = max((ems(i.label) for i in items), default=0) + 1
    value = max((ems(i.value) for i in items), default=0) * SMALL / FONT + 1.8
    return min(max(label / EMS, 0.15), 0.32), 1 - min(max(value / EMS, 0.2), 0.42)


def write(ax: Axes, x: float, y: float, text: str, across: bool = True, **style: Any) -> None:
    """Write user text, never read as mathematics, with its middle at the height `y`.

    `x` counts in parts of the width if `across`, else it is a value of the x axis. The foot is
    computed from the font's size, not measured, so that every machine draws the same.
    """
    settings: dict[str, Any] = {"va": "baseline", "fontsize": FONT, "color": INK, **style}
    where = ax.get_yaxis_transform() if across else ax.transData
    foot = y + 0.36 * float(settings["fontsize"]) * 96 / 72 / LINE
    ax.text(x, foot, text, transform=where, parse_math=False, **settings)


def write_title(ax: Axes, title: str) -> float:
    y = 0.75
    for line in wrap(title, EMS / 1.2, 3):
        write(ax, 0, y, line, weight="bold", fontsize=FONT * 1.05)
        y += 1
    return y - 0.25


def _heading(ax: Axes, group: Group, y: float) -> float:
    if not group.heading:
        return y + 0.15
    room = EMS * 0.97 - ems(group.remark)
    lines = wrap(group.heading, room / 1.12, 2)
    for i, line in enumerate(lines):
        write(ax, 0, y + 0.7 + i, line, weight="bold")
    if group.remark:
        write(ax, 1, y + 0.7, group.remark, ha="right", color=MUTED, fontsize=SMALL)
    return y + 0.2 + len(lines)


def _stacked(ax: Axes, item: Item, y: float) -> Pair:
    """Write label and value above an interval's place; return the next height, and its own."""
    room = EMS - ems(item.value) * 1.12 - 1.5
    aside = ems(item.label) <= room or room > EMS * 0.45
    label = wrap(item.label, room if aside else EMS * 0.97)
    for i, line in enumerate(label):
        write(ax, 0, y + 0.6 + i, line)
    y += len(label) - (1 if aside else 0)
    style: dict[str, Any] = {"weight": "bold"} if item.estimate is not None else {"color": MUTED}
    write(ax, 1, y + 0.6, item.value, ha="right", **style)
    y += 1
    return y + (1.2 if item.estimate is not None else 0.2), y + 0.5


def _beside(ax: Axes, item: Item, y: float, left: float) -> Pair:
    """Write label and value beside an interval's place; return the next height, and its own."""
    label = wrap(item.label, EMS * left - 1)
    for i, line in enumerate(label):
        write(ax, 0, y + 0.55 + i, line)
    y += (len(label) - 1) / 2
    style: dict[str, Any] = {
        "color": INK if item.estimate is not None else MUTED,
        "fontsize": SMALL,
    }
    write(ax, 1, y + 0.55, item.value, ha="right", **style)
    return y + 1 + (len(label) - 1) / 2, y + 0.55


def _intervals(ax: Axes, marks: Sequence[Mark], span: Pair) -> None:
    """Intervals with caps, arrows where they go on beyond `span`, and a dot at each estimate.

    All strokes are one artist and all dots another: that halves the time of a figure.
    """
    low, high = span
    bars, caps, arrows, dots = [], [], [], []
    for item, estimate, y in marks:
        start = low if item.low is None else max(low, item.low)
        end = high if item.high is None else min(high, item.high)
        bars.append((((start, y), (end, y)), item.colour))
        for at, value, shape in ((start, item.low, "<"), (end, item.high, ">")):
            if value is None or value != at:
                arrows.append((at, y, shape, item.colour))
            else:
                caps.append((((at, y - 0.16), (at, y + 0.16)), item.colour))
        if low <= estimate <= high:
            dots.append((estimate, y, "white" if item.hollow else item.colour, item.colour))
    widths = [2.4] * len(bars) + [1.6] * len(caps)
    colours = [colour for _, colour in bars + caps]
    raw = [(i.raw, y) for i, _, y in marks if i.raw is not None and low <= i.raw <= high]
    strokes(ax, [((x, y - 0.3), (x, y + 0.3)) for x, y in raw], colors=MUTED, lw=1.2, zorder=2.5)
    strokes(ax, [line for line, _ in bars + caps], colors=colours, lw=widths, zorder=3)
    for at, y, shape, colour in arrows:
        ax.plot([at], [y], marker=shape, color=colour, ms=5, zorder=3)
    if dots:
        x, heights, faces, edges = zip(*dots, strict=True)
        ax.scatter(x, heights, s=49, c=faces, edgecolors=edges, linewidths=1.8, zorder=4)


def strokes(ax: Axes, segments: Sequence[tuple[Pair, Pair]], **style: Any) -> None:
    """Straight lines between pairs of points, as one artist: a fifth of the time of `plot`."""
    ax.add_collection(LineCollection(segments, **style), autolim=False)


def _axis(
    ax: Axes,
    span: Pair,
    region: Pair,
    bands: Sequence[Pair],
    y: float,
    lines: Sequence[Line],
    tick: Callable[[float, int], str],
    factor: float,
) -> float:
    """Bands behind the intervals, round ticks under them, and the vertical lines' words."""
    low, high = span
    boxes = [((low, a), (high, a), (high, b), (low, b)) for a, b in bands]
    ax.add_collection(PolyCollection(boxes, color=BAND, lw=0, zorder=0), autolim=False)
    ticks = _ticks(span, region, tick, factor)
    strokes(ax, _through([at for at, _ in ticks], bands), color="white", lw=1.2, zorder=1)
    for at, text in ticks:
        centre, _ = _inside(ax, at, text)
        place = {"ha": "center", "color": MUTED, "fontsize": SMALL, "gid": "tick"}
        write(ax, centre, y + 0.5, text, False, **place)
    y += 1
    taken: list[tuple[float, float, float]] = []
    for line in lines:
        colour = ALERT if line.alert else INK
        style = (0, (3, 1.5)) if line.alert else "-"
        strokes(ax, _through([line.at], bands), color=colour, lw=1.4, ls=style, zorder=2)
        centre, half = _inside(ax, line.at, line.text)
        row = 0.0
        while any(r == row and a < centre + half and centre - half < b for a, b, r in taken):
            row += 0.85
        taken.append((centre - half, centre + half, row))
        foot = y + 0.4 + row
        write(ax, centre, foot, line.text, False, ha="center", color=colour, fontsize=SMALL)
    return y + max((row + 0.9 for _, _, row in taken), default=0)


def _inside(ax: Axes, at: float, text: str) -> Pair:
    """The middle of a small text near `at` that keeps it inside the axes, and half its width."""
    left, right = ax.get_xlim()
    half = ems(text) * SMALL / FONT / EMS * (right - left) / 2
    return min(max(at, left + half), right - half), half


def _through(values: Sequence[float], bands: Sequence[Pair]) -> list[tuple[Pair, Pair]]:
    """Vertical strokes at `values` through every band."""
    return [((at, top), (at, bottom)) for at in values for top, bottom in bands]


def _ticks(
    span: Pair, region: Pair, tick: Callable[[float, int], str], factor: float
) -> list[tuple[float, str]]:
    """Round values of the x axis with their texts: as many as have room beside each other."""
    low, high = span
    room = (region[1] - region[0]) * EMS * FONT / SMALL
    found: list[tuple[float, str]] = []
    for parts in (6, 5, 4, 3, 2, 1):
        found = round_ticks(span, parts, tick, factor)
        wide = max((ems(text) for _, text in found), default=0) + 1
        step = found[1][0] - found[0][0] if len(found) > 1 else high - low
        if wide <= room * step / (high - low):
            break
    return found


def round_ticks(
    span: Pair, parts: int, tick: Callable[[float, int], str], factor: float
) -> list[tuple[float, str]]:
    """Round values that cut `span` into at most `parts` parts, with their texts."""
    low, high = span
    step, digits = _step((high - low) * factor, parts)
    first = math.ceil(low * factor / step - 1e-9)
    last = math.floor(high * factor / step + 1e-9)
    steps = range(first, last + 1)
    return [(i * step / factor, tick(i * step / factor, digits)) for i in steps]


def _step(width: float, parts: int) -> tuple[float, int]:
    """A round step that cuts `width` into at most `parts` parts, and its digits."""
    power = 10.0 ** (math.floor(math.log10(width / parts)))
    steps = (power * k for k in (1, 2, 2.5, 5, 10, 20))
    step = next(s for s in steps if width / s <= parts)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(round(step, digits) - step) > 1e-9 * step:
        digits += 1
    return step, digits


def _range(groups: Sequence[Group], lines: Sequence[Line]) -> Pair:
    """The values to show: all estimates, lines and intervals; very wide intervals are cut.

    An interval is cut where it reaches more than four times as far as the median one does.
    """
    items = [i for g in groups for i in g.items if i.estimate is not None]
    ends = [e for i in items for e in (i.low, i.high, i.estimate, i.raw) if e is not None]
    marks = [line.at for line in lines]
    if not ends:
        return (-1.0, 1.0)
    low, high = min(ends + marks), max(ends + marks)
    halves = sorted(i.high - i.low for i in items if i.low is not None and i.high is not None)
    if halves:
        middle = [x for i in items for x in (i.estimate, i.raw) if x is not None] + marks
        reach = 2 * halves[len(halves) // 2]
        low = max(low, min(middle) - reach)
        high = min(high, max(middle) + reach)
    if high <= low:
        spread = abs(high) or 1.0
        low, high = low - spread / 2, high + spread / 2
    pad = 0.04 * (high - low)
    return low - pad, high + pad
