"""Numbers in; their text in the reader's language out."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from typing import Literal

from retention_lab.texts.catalog import say

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
NBSP = "\N{NO-BREAK SPACE}"
PERCENT_KINDS = ("proportion", "retention")
What = Literal["level", "difference", "lift", "size"]


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """How one quantity is written: factor, digits after the point, sign, unit."""

    factor: float
    digits: int | None
    signed: bool
    unit: Literal["", "percent", "points"]

    def text(self, value: float | None, language: str) -> str:
        """`value` with its unit: ``+12.1%``, ``+7.66 points``, ``1.42``; a dash for None."""
        if value is None:
            return DASH
        bare = self.bare(value)
        if self.unit == "percent":
            return f"{bare}%"
        if self.unit == "points":
            return bare + say(language, "points")
        return bare

    def bare(self, value: float | None) -> str:
        """`value` without a unit; a dash for None."""
        if value is None:
            return DASH
        scaled = value * self.factor
        digits = self.digits if self.digits is not None else digits_of_value(scaled)
        return number(scaled, digits, signed=self.signed)

    def ends(self, low: float | None, high: float | None, language: str) -> tuple[str, str]:
        """Both ends of an interval; points are named once, at the end."""
        if self.unit == "points" and high is not None:
            return self.bare(low), self.text(high, language)
        return self.text(low, language), self.text(high, language)

    def axis(self, value: float, digits: int) -> str:
        """`value` as an axis shows it."""
        bare = number(value * self.factor, digits, signed=self.signed)
        return f"{bare}%" if self.unit == "percent" else bare


def measure(
    what: What, kind: str = "mean", low: float | None = None, high: float | None = None
) -> Measure:
    """How to write a level, a difference, a relative lift or the size of a margin.

    `kind` is the metric's kind; proportions are written in percent and their differences in
    percentage points. The interval (`low`, `high`) sets the digits: two that matter.
    """
    share = kind in PERCENT_KINDS
    percent = what == "lift" or share
    factor = 100.0 if percent else 1.0
    digits = None
    if low is not None and high is not None and high > low:
        digits = digits_of_spread((high - low) / 2 * factor)
    elif what in ("lift", "level") and percent:
        digits = 1 if what == "lift" else None
    signed = what in ("difference", "lift")
    unit: Literal["", "percent", "points"] = ""
    if percent:
        unit = "percent" if what in ("lift", "level") else "points"
    return Measure(factor, digits, signed, unit)


def digits_of_spread(half: float) -> int:
    """Digits after the point that show two figures of an interval's half width."""
    if half <= 0 or not math.isfinite(half):
        return 2
    return min(6, max(0, 1 - math.floor(math.log10(half))))


def digits_of_value(value: float) -> int:
    """Digits after the point that show up to three figures of a value; none where exact."""
    size = abs(value)
    if size == 0 or size >= 100 or not math.isfinite(size):
        return 0
    digits = min(6, max(0, 2 - math.floor(math.log10(size))))
    while digits and round(value, digits) == round(value, digits - 1):
        digits -= 1
    return digits


def number(value: float | None, digits: int, signed: bool = False) -> str:
    """``1,234.50``, ``+1.2``, ``−0.3``; a dash for None; powers of ten beyond 1e12."""
    if value is None:
        return DASH
    size = abs(value)
    text = f"{size:.3e}" if size >= 1e12 else f"{size:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return text
    if value < 0:
        return MINUS + text
    return f"+{text}" if signed else text


def share(value: float | None) -> str:
    """A share of the whole: ``33.3%``."""
    return DASH if value is None else f"{number(100 * value, 1)}%"


def p_text(p: float | None) -> str:
    """``p = 0.032``, ``p < 0.001``, ``p > 0.99``, unbreakable; a dash for None."""
    return DASH if p is None else f"p{NBSP}{p_relation(p)}"


def p_cell(p: float | None) -> str:
    """A p-value in a table: ``0.032``, ``< 0.001``; a dash for None."""
    return DASH if p is None else p_relation(p).removeprefix(f"={NBSP}")


def p_relation(p: float) -> str:
    if p < 0.001:
        return f"<{NBSP}0.001"
    if p > 0.99:
        return f">{NBSP}0.99"
    return f"={NBSP}{p:.3f}" if p < 0.0995 else f"={NBSP}{p:.2f}"


def date_text(value: object, language: str) -> str:
    """A date in words: ``15 January 2026``, ``2026 年 1 月 15 日``; other text as it is."""
    try:
        day = dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        return str(value)
    month = say(language, f"month.{day.month}")
    return say(language, "date", day=day.day, month=month, year=day.year).replace(" ", NBSP)


def chance(p: float, language: str) -> str:
    """A probability in plain words: ``less than 1 in 1,000``, ``about 1 in 31``."""
    if p < 0.001:
        return say(language, "chance.below")
    if p < 0.1:
        return say(language, "chance.one_in", n=number(round(1 / p), 0))
    return say(language, "chance.in_hundred", n=number(min(99, round(100 * p)), 0))
