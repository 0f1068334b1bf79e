"""A title, and what draws the rest, in; axes with all of it from top to bottom out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from retention_lab.figures.forest import EMS, Group, Item, Line, forest, write, write_title
from retention_lab.figures.style import FONT, MUTED, SMALL, fit, new_axes, theme, wrap
from retention_lab.texts import say
from retention_lab.texts.numbers import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes", float], float]  # draws from a height on, and gives back where it ends


def sheet(ax: Axes | None, title: str, language: str, draw: Draw | None, remark: str = "") -> Axes:
    """The title, a remark under it, and what `draw` draws below; heights count lines of text.

    Without `draw` the figure says that there is nothing to show. Without `ax`, a new pyplot figure
    is made.
    """
    axes = ax if ax is not None else new_axes()
    with theme():
        y = titled(axes, title, remark)
        y = nothing(axes, y, language) if draw is None else draw(axes, y)
        axes.set_ylim(y + 0.1, 0)
    return axes if ax is not None else fit(axes)


def titled(ax: Axes, title: str, remark: str = "") -> float:
    """Write the title and a remark under it; the height at which a chart may begin."""
    ax.set_xlim(0, 1)
    ax.axis("off")
    y = write_title(ax, title) + 0.1
    for line in wrap(remark, EMS * FONT / SMALL * 0.98, 3) if remark else ():
        write(ax, 0, y + 0.5, line, color=MUTED, fontsize=SMALL)
        y += 0.85
    return y


def nothing(ax: Axes, y: float, language: str) -> float:
    """Say that there is nothing to show."""
    write(ax, 0, y + 0.6, say(language, "figure.nothing"))
    return y + 1.2


def forest_sheet(
    ax: Axes | None,
    title: str,
    language: str,
    groups: Sequence[Group],
    lines: Sequence[Line] = (),
    tick: Callable[[float, int], str] = number,
    factor: float = 1.0,
    stacked: bool = True,
) -> Axes:
    """A forest, see there; groups without items and remarks are said to be nothing to show.

    Without `ax`, a new pyplot figure is made.
    """
    empty = not any(g.items or g.remark for g in groups)
    shown = [Group("", (Item(say(language, "figure.nothing"), "", MUTED),))] if empty else groups
    axes = ax if ax is not None else new_axes()
    with theme():
        forest(axes, title, shown, lines, tick, factor, stacked)
    return axes if ax is not None else fit(axes)
