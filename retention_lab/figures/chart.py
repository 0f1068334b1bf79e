"""Points in days and values in; curves, bands, ticks and direct labels of one chart out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection, PolyCollection

from retention_lab.figures.forest import EMS, Pair, round_ticks, strokes, write
from retention_lab.figures.plane import HEIGHT, Plane, floor
from retention_lab.figures.style import FONT, INK, MUTED, SMALL, ems, wrap
from retention_lab.texts.numbers import NBSP

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT = 0.1, 0.985  # where a chart starts and ends, in parts of the width
LABELLED = 0.755  # where it ends if its curves are labelled at the right
STEPS = (1, 2, 5, 7, 10, 15, 30, 60, 90, 180, 365, 730, 1825, 3650)
SMALLEST = 0.004  # of the height; a smaller step of a curve is not seen
GAP = 0.95  # lines between two labels


class Chart(Plane):
    """A plane of days and of values from 0 to `high`."""

    __slots__ = ()

    def __init__(
        self, top: float, days: Pair, high: float, right: float = RIGHT, height: float = HEIGHT
    ) -> None:
        super().__init__(top, days, (0.0, high), height, LEFT, right)

    @property
    def days(self) -> Pair:
        return self.across

    @property
    def high(self) -> float:
        return self.upwards[1]


def frame(
    ax: Axes,
    chart: Chart,
    tick: Callable[[float, int], str],
    factor: float,
    below: Sequence[tuple[float, str]],
    caption: str = "",
) -> float:
    """Ground, round values at the left, `below` as ticks and `caption` under them."""
    style: dict[str, Any] = {"color": MUTED, "fontsize": SMALL}
    floor(ax, chart, round_ticks(chart.upwards, 5, tick, factor))
    for day, text in below:
        half = ems(text) * SMALL / FONT / EMS / 2
        x = min(max(chart.x(day), chart.left - 0.01 + half), 1 - half)
        write(ax, x, chart.foot + 0.5, text, ha="center", gid="tick", **style)
    if caption:
        middle = (chart.left + chart.right) / 2
        write(ax, middle, chart.foot + 1.3, caption, ha="center", **style)
    return chart.foot + (1.9 if caption else 1.1)


def day_ticks(last: float, most: int = 6) -> list[int]:
    """Round days from 0 to `last`, at most `most` parts."""
    step = next((s for s in STEPS if last / s <= most), STEPS[-1])
    return list(range(0, int(last) + 1, step))


def stepped(pairs: Sequence[Pair], last: float, high: float) -> list[Pair]:
    """The corners of a curve that stays level between its days, up to `last`.

    Steps too small to be seen are joined with the next one.
    """
    found: list[Pair] = []
    drawn = pairs[0][1] if pairs else 0.0
    for i, (day, value) in enumerate(pairs):
        if found and abs(value - drawn) < SMALLEST * high and i < len(pairs) - 1:
            continue
        if found:
            found.append((day, drawn))
        found.append((day, value))
        drawn = value
    if found and found[-1][0] < last:
        found.append((last, drawn))
    return found


def line(ax: Axes, chart: Chart, corners: Sequence[Pair], colour: str, width: float = 2.2) -> None:
    """A curve through `corners`, given in days and values."""
    if len(corners) > 1:
        shape = [chart.points(corners)]
        drawn = LineCollection(shape, colors=colour, lw=width, zorder=4)
        ax.add_collection(drawn, autolim=False)


def band(ax: Axes, chart: Chart, lower: Sequence[Pair], upper: Sequence[Pair], colour: str) -> None:
    """What lies between two curves, in a light shade."""
    if len(lower) > 1 and len(upper) > 1:
        shape = [*chart.points(lower), *reversed(chart.points(upper))]
        drawn = PolyCollection([shape], facecolors=colour, alpha=0.17, lw=0, zorder=2)
        ax.add_collection(drawn, autolim=False)


def end_labels(ax: Axes, chart: Chart, ends: Sequence[tuple[Pair, str, str]]) -> None:
    """Label curves at the right of the chart: (end of the curve, text, colour) each.

    Labels keep their order and a distance; a dash in the curve's colour stands before each.
    """
    room = (1 - chart.right - 0.055) * EMS * FONT / SMALL
    placed = sorted(ends, key=lambda e: chart.y(e[0][1]))
    texts = [wrap(text, room, 2) for _, text, _ in placed]
    wanted = [chart.y(end[1]) for end, _, _ in placed]
    heights = _apart(wanted, [0.85 * len(t) + 0.15 for t in texts], chart)
    for ((day, value), _, colour), lines, y in zip(placed, texts, heights, strict=True):
        start, end = (chart.x(day), chart.y(value)), (chart.right + 0.012, y)
        leader = [(start, (chart.right, end[1]))]
        strokes(ax, leader, colors=colour, lw=0.8, ls=(0, (1.5, 2)), zorder=3)
        strokes(ax, [(end, (end[0] + 0.03, y))], colors=colour, lw=2.6, zorder=4)
        for i, text in enumerate(lines):
            at = y + 0.85 * (i - (len(lines) - 1) / 2)
            write(ax, chart.right + 0.055, at, text, fontsize=SMALL)


def _apart(wanted: Sequence[float], sizes: Sequence[float], chart: Chart) -> list[float]:
    """Heights near `wanted`, from top to bottom, that leave every label its room."""
    found: list[float] = []
    above = chart.top - 0.4
    for y, size in zip(wanted, sizes, strict=True):
        at = max(y, above + size / 2)
        found.append(at)
        above = at + size / 2
    below = chart.foot + 0.5
    for i in range(len(found) - 1, -1, -1):
        found[i] = min(found[i], below - sizes[i] / 2)
        below = found[i] - sizes[i] / 2
    return found


def marked(ax: Axes, chart: Chart, day: float, words: str = "") -> None:
    """A dashed vertical line at `day`, with its words beside it at the top."""
    x = chart.x(day)
    dashed = [((x, chart.top), (x, chart.foot))]
    strokes(ax, dashed, colors=INK, lw=1.2, ls=(0, (3, 2)), zorder=3)
    room = (chart.right - x - 0.02) * EMS * FONT / SMALL
    for i, text in enumerate(wrap(words, room, 4) if words else ()):
        write(ax, x + 0.012, chart.top + 0.55 + 0.85 * i, text, fontsize=SMALL)


def top_of(values: Sequence[float], most: float | None = None) -> float:
    """A value somewhat above all of `values`, at most `most`; 1 where there is none above 0."""
    high = 1.06 * max(values, default=0.0)
    if high <= 0:
        return most or 1.0
    return min(high, most) if most is not None else high


def shortened(text: str, part: float) -> str:
    """A small text on one line that is at most `part` of the width; cut with an ellipsis."""
    return wrap(text.replace(" ", NBSP), part * EMS * FONT / SMALL, 1)[0]
