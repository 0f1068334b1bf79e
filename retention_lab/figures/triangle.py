"""A result table in; retention by cohort or market and age, as a heat map, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.collections import LineCollection, PolyCollection

from retention_lab.experiment.spec import Spec
from retention_lab.figures.forest import EMS, Pair, write
from retention_lab.figures.groups import sizes_of, survival_rows
from retention_lab.figures.sheet import sheet
from retention_lab.figures.style import (
    FONT,
    INK,
    LINE,
    MUTED,
    SMALL,
    WIDTH,
    Table,
    ems,
    rows_of,
    wrap,
)
from retention_lab.results import Row
from retention_lab.texts import note_code, note_text, say
from retention_lab.texts.lives import OTHER, bounds, level_label, split_label
from retention_lab.texts.numbers import DASH, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIDDEN = ("suppressed", "covered")  # codes of cells that are hatched
TERMS = ("bracket", "n_day", "unbounded", "rolling")
MOST_AGES, MOST_LINES = 12, 40
FIRST, ROOMY = 0.335, 0.42  # where the cells start, in parts of the width; of few ages
FEW_AGES = 9
SIZES = 0.1  # of the width, for the number of customers
MOST_FIRST = 0.42  # of the width, for a group's name and its number of customers
LIGHT, DARK = (0xEA, 0xF2, 0xF9), (0x08, 0x45, 0x7E)  # one hue: the empty and the full end
HEIGHT = 1.25  # lines of text that a cell is high
ROW = 0.85  # lines of text between the lines of a small label
STRIPE = 9  # pixels between two lines of the hatching


@dataclasses.dataclass(frozen=True, slots=True)
class Triangle:
    """Cells of one kind of retention: ages across, levels down, everyone first."""

    term: str
    ages: tuple[str, ...]
    lines: tuple[tuple[str | None, Mapping[str, Row]], ...]
    hidden_ages: int
    hidden_lines: int


def retention_plot(
    results: Table,
    spec: Spec,
    segment: str = "cohort",
    term: str | None = None,
    language: str = "en",
    ax: Axes | None = None,
) -> Axes:
    """Retention by age for every cohort, or every level of `segment`; everyone in the first line.

    A cell that no customer has reached yet is empty, a suppressed one hatched; the numbers are
    percent. `term` is n_day, unbounded, bracket or rolling; the first that has rows. Without `ax`,
    a new pyplot figure is made.
    """
    found = triangle(results, segment, term)
    key = f"figure.triangle.{found.term}" if found else "figure.triangle.bracket"
    title = say(language, key, segment=split_label(spec, segment, language))
    if found is None:
        return sheet(ax, title, language, None)
    cells, sizes = found, sizes_of(results, segment) | sizes_of(results, None)
    return sheet(
        ax, title, language, lambda axes, y: _grid(axes, y, cells, spec, segment, sizes, language)
    )


def triangle(results: Table, segment: str, term: str | None = None) -> Triangle | None:
    """The cells of one triangle; None where there are none."""
    every = rows_of(results)
    rows = survival_rows(every, "retention", segment)
    terms = {r.term for r in rows}
    wanted = term or next((t for t in TERMS if t in terms), None)
    rows = tuple(r for r in rows if r.term == wanted)
    if not rows or wanted is None:
        return None
    pooled = [r for r in survival_rows(every, "retention") if r.term == wanted and r.arm is None]
    lines: dict[str | None, dict[str, Row]] = {}
    for r in (*pooled, *rows):
        lines.setdefault(r.level if r.segment else None, {})[r.at or ""] = r
    ages = sorted({r.at or "" for r in rows}, key=bounds)
    shown = ages[:MOST_AGES]
    order = [name for name in lines if name is not None]
    if segment == "cohort":
        order.sort()
        kept = order[-MOST_LINES:]
    else:
        order.sort(key=lambda name: (name == OTHER, -_largest(lines[name])))
        kept = order[:MOST_LINES]
    names = ([None] if None in lines else []) + kept
    return Triangle(
        wanted,
        tuple(shown),
        tuple((name, lines[name]) for name in names),
        len(ages) - len(shown),
        len(order) - len(kept),
    )


def _largest(cells: Mapping[str, Row]) -> int:
    return max(((r.n or 0) for r in cells.values()), default=0)


def _grid(
    ax: Axes,
    y: float,
    found: Triangle,
    spec: Spec,
    segment: str,
    sizes: Mapping[str, int],
    language: str,
) -> float:
    names = (level_label(spec, name, language) for name, _ in found.lines if name is not None)
    longest = max((ems(name) * SMALL / FONT / EMS for name in names), default=0.0)
    first = FIRST if len(found.ages) > FEW_AGES else ROOMY
    first = max(first, min(longest + SIZES, MOST_FIRST))
    width = (1 - first) / max(len(found.ages), 5)
    high = max(
        (r.estimate for _, cells in found.lines for r in cells.values() if r.estimate is not None),
        default=0.0,
    )
    style: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "gid": "tick"}
    single = all(bounds(age)[0] == bounds(age)[1] for age in found.ages)
    caption = "figure.triangle_days" if single else "figure.triangle_bins"
    write(ax, first, y + 0.55, say(language, caption), color=MUTED, fontsize=SMALL)
    y += 1.0
    write(ax, first - 0.015, y + 0.5, say(language, "figure.triangle_n"), ha="right", **style)
    widest = max(ems(number(bounds(age)[0], 0)) for age in found.ages) * SMALL / FONT / EMS
    step = 1 if widest + 0.012 < width else 2
    for i, age in list(enumerate(found.ages))[::step]:
        low, _ = bounds(age)
        text = number(low, 0) if single else say(language, "figure.from_day", day=low)
        write(ax, first + (i + 0.5) * width, y + 0.5, text, ha="center", **style)
    y += 1.0
    boxes: list[tuple[tuple[Pair, ...], str]] = []
    stripes: list[tuple[Pair, Pair]] = []
    hidden = False
    for name, cells in found.lines:
        label = say(language, "lives.all") if name is None else level_label(spec, name, language)
        size = sizes.get(name or "")
        n = DASH if size is None else number(size, 0)
        weight: dict[str, Any] = {"weight": "bold"} if name is None else {}
        named = wrap(label, (first - SIZES) * EMS * FONT / SMALL, 3)
        tall = HEIGHT + (len(named) - 1) * ROW
        for i, text in enumerate(named):
            at = y + tall / 2 + (i - (len(named) - 1) / 2) * ROW
            write(ax, 0, at, text, fontsize=SMALL, **weight)
        write(ax, first - 0.015, y + tall / 2, n, ha="right", **style)
        for i, age in enumerate(found.ages):
            r = cells.get(age)
            x = first + i * width
            if r is None:
                continue
            box = ((x, y), (x + width, y), (x + width, y + tall), (x, y + tall))
            if r.estimate is not None:
                part = r.estimate / high if high else 0.0
                boxes.append((box, shade(part)))
                colour = "white" if part > 0.6 else INK
                middle = x + width / 2
                text = number(100 * r.estimate, 0 if high >= 0.1 else 1)
                small: dict[str, Any] = {"ha": "center", "color": colour, "fontsize": SMALL}
                write(ax, middle, y + tall / 2, text, **small)
            elif note_code(r.note) in HIDDEN:
                hidden = True
                boxes.append((box, "#F1F3F6"))
                stripes += hatching(x, y, width, tall)
        y += tall + (0.35 if name is None else 0.0)
    faces = PolyCollection(
        [b for b, _ in boxes], facecolors=[c for _, c in boxes], edgecolors="white", lw=1.2
    )
    ax.add_collection(faces, autolim=False)
    lines = LineCollection(stripes, colors="#9AA3AF", lw=0.8, zorder=2)
    ax.add_collection(lines, autolim=False)
    return _notes(ax, y + 0.2, found, spec, hidden, language)


def _notes(ax: Axes, y: float, found: Triangle, spec: Spec, hidden: bool, language: str) -> float:
    """What empty and hatched cells mean, and what is not drawn."""
    said = [say(language, "figure.triangle_empty")]
    if hidden:
        said.append(say(language, "figure.triangle_hatched", n=spec.privacy.min_cell))
    cells = [r for _, line in found.lines for r in line.values() if r.estimate is not None]
    said += dict.fromkeys(note_text(r.note, language, own=False) for r in cells if r.note)
    if found.hidden_ages:
        said.append(say(language, "figure.triangle_ages", n=len(found.ages)))
    if found.hidden_lines:
        said.append(say(language, "figure.triangle_lines", n=len(found.lines) - 1))
    text = ("" if language == "zh" else " ").join(said)
    for line in wrap(text, EMS * FONT / SMALL * 0.98, 5):
        write(ax, 0, y + 0.5, line, color=MUTED, fontsize=SMALL)
        y += 0.85
    return y + 0.15


def shade(part: float) -> str:
    """A colour between the light and the dark end of one hue."""
    t = min(max(part, 0.0), 1.0)
    mixed = (round(a + (b - a) * t) for a, b in zip(LIGHT, DARK, strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def hatching(x: float, y: float, width: float, high: float = HEIGHT) -> list[tuple[Pair, Pair]]:
    """Slanted lines through a cell that is `high` lines of text, inside its edges."""
    step = STRIPE / WIDTH
    slope = high * LINE / WIDTH  # the run of a line at 45 degrees over the cell's height
    found = []
    start = x - slope + step / 2
    while start < x + width:
        ends = []
        for at in (start, start + slope):
            inside = min(max(at, x), x + width)
            part = (inside - start) / slope
            ends.append((inside, y + high * (1 - part)))
        if ends[0] != ends[1]:
            found.append((ends[0], ends[1]))
        start += step
    return found
