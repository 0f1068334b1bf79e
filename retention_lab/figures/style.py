"""Nothing but taste in; the colours, sizes and text measures that all figures share out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import matplotlib as mpl

from retention_lab.results import Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), told apart with every common kind of colour blindness; yellow left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
CONTROL = "#6B7280"
INK = "#1F2937"
MUTED = "#5B6472"
BAND = "#F1F3F6"
ALERT = "#B42318"

Table = Results | Iterable[Row]  # what plots take: a result table, or its rows

WIDTH = 440  # of a figure, in CSS pixels (96 to the inch)
LINE = 21  # height of one line of text
SIDE = 4  # margin left and right
FONT = 9.75  # points: 13 CSS pixels
SMALL = 8.6
CJK = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "SimHei",
    "Arial Unicode MS",
)
CLOSING = tuple("，。、；：！？）》”’,.;:!?)%")
OPENING = tuple("（《“‘(")
STACK = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Noto Sans', "
    "'PingFang SC', 'Hiragino Sans GB', 'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', "
    "'WenQuanYi Micro Hei', sans-serif"
)


@cache
def families() -> tuple[str, ...]:
    """Font families to draw with: matplotlib's own, then an installed one that has Chinese."""
    from matplotlib import font_manager

    installed = {f.name for f in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *[name for name in CJK if name in installed][:1])


@contextmanager
def theme() -> Iterator[None]:
    """Draw in the shared style; the caller's settings come back afterwards."""
    with mpl.rc_context({"font.family": list(families()), "text.parse_math": False}):
        yield


def rows_of(results: Table) -> tuple[Row, ...]:
    """The rows of a result table, or the rows themselves."""
    return results.rows if isinstance(results, Results) else tuple(results)


def new_axes() -> Axes:
    """Axes of a new pyplot figure, so that a notebook shows it."""
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(WIDTH / 96, 2)).add_subplot()


def blank_axes() -> Axes:
    """Axes of a figure that pyplot does not know, for files."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 96, 2))
    FigureCanvasSVG(figure)
    return figure.add_subplot()


def root(ax: Axes) -> Figure:
    """The whole figure that holds `ax`; raises ValueError for Axes that were taken out of it."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("these Axes do not stand in a figure any more")
    return figure


def fit(ax: Axes) -> Axes:
    """Make the figure as tall as the lines drawn in `ax`, whose y axis counts lines."""
    figure = root(ax)
    bottom, top = ax.get_ylim()
    figure.set_size_inches(WIDTH / 96, (bottom - top) * LINE / 96)
    ax.set_position((SIDE / WIDTH, 0.0, 1 - 2 * SIDE / WIDTH, 1.0))
    return ax


def colours(arms: Sequence[str]) -> dict[str, str]:
    """A colour for every arm: grey for the first, which is the control."""
    treated = {arm: PALETTE[i % len(PALETTE)] for i, arm in enumerate(arms[1:])}
    return {**dict.fromkeys(arms[:1], CONTROL), **treated}


def ems(text: str) -> float:
    """About how wide `text` is, in units of its font size; a little too wide, never too small.

    Guessed from the characters, so that a figure is the same on every machine, whatever
    fonts it has.
    """
    return sum(_em(c) for c in text)


def _em(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in " .,:;!'|il()[]":
        return 0.34
    if character.isupper() or character in "mwMW%+−–—@&":
        return 0.76
    return 0.59


def wrap(text: str, width: float, lines: int = 2) -> list[str]:
    """`text` in at most `lines` lines of `width` ems; an ellipsis where it is too long."""
    found: list[str] = [""]
    for piece in _pieces(text):
        if found[-1] and ems(found[-1] + piece.rstrip()) > width:
            found[-1] = found[-1].rstrip()
            found.append("")
        found[-1] += piece
    found = [line.rstrip() for line in found]
    if len(found) > lines:
        found = [*found[: lines - 1], found[lines - 1] + "…"]
    return [_cut(line, width) for line in found]


def _pieces(text: str) -> Iterator[str]:
    """Words with the space behind them; wide characters one by one, closing marks attached."""
    piece = ""
    for i, c in enumerate(text):
        piece += c
        after = text[i + 1 : i + 2]
        wide = (
            unicodedata.east_asian_width(c) in "WF"
            or unicodedata.east_asian_width(after or "a") in "WF"
        )
        if (c == " " or wide) and after not in CLOSING and c not in OPENING:
            yield piece
            piece = ""
    if piece:
        yield piece


def _cut(line: str, width: float) -> str:
    if ems(line) <= width:
        return line
    while line and ems(line + "…") > width:
        line = line[:-1]
    return line.rstrip("… ") + "…"
