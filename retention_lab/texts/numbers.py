"""Numbers in; their text in the reader's language out."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable
from typing import Literal

from retention_lab.texts.catalog import say

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
NBSP = "\N{NO-BREAK SPACE}"
PERCENT_KINDS = ("proportion", "retention")
LONG = 6  # digits after the point that a number has at most; powers of ten beyond
MOST_DIGITS = 300
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
            return bare + say(language, "point" if bare.lstrip("+" + MINUS) == "1" else "points")
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
    percentage points. The interval (`low`, `high`) sets the digits: two that matter, and one or
    two more where an end would else look as if it were no difference.
    """
    share = kind in PERCENT_KINDS
    percent = what == "lift" or share
    factor = 100.0 if percent else 1.0
    digits = None
    if low is not None and high is not None and high > low:
        digits = digits_of_spread((high - low) / 2 * factor)
        if what in ("difference", "lift"):
            digits = _beside_nothing(digits, low * factor, high * factor)
    elif what in ("lift", "level") and percent:
        digits = 1 if what == "lift" else None
    signed = what in ("difference", "lift")
    unit: Literal["", "percent", "points"] = ""
    if percent:
        unit = "percent" if what in ("lift", "level") else "points"
    return Measure(factor, digits, signed, unit)


def _beside_nothing(digits: int, *ends: float) -> int:
    """Digits that tell an end from 0, at most two more: 0.2 is not 0 beside an interval's 33."""
    for more in (digits, digits + 1):
        if not any(end and round(end, more) == 0 for end in ends):
            return more
    return min(digits + 2, MOST_DIGITS)


def shared_measure(
    what: What, kind: str, intervals: Iterable[tuple[float | None, float | None]]
) -> Measure:
    """How to write several quantities alike: with the digits that the median interval sets."""
    known = [(low, high) for low, high in intervals if low is not None and high is not None]
    known.sort(key=lambda ends: ends[1] - ends[0])
    low, high = known[len(known) // 2] if known else (None, None)
    return measure(what, kind, low, high)


def digits_of_spread(half: float) -> int:
    """Digits after the point that show two figures of an interval's half width."""
    if half <= 0 or not math.isfinite(half):
        return 2
    return min(MOST_DIGITS, max(0, 1 - math.floor(math.log10(half))))


def digits_of_value(value: float) -> int:
    """Digits after the point that show up to three figures of a value; none where exact."""
    size = abs(value)
    if size == 0 or size >= 100 or not math.isfinite(size):
        return 0
    digits = min(MOST_DIGITS, max(0, 2 - math.floor(math.log10(size))))
    while digits and round(value, digits) == round(value, digits - 1):
        digits -= 1
    return digits


def number(value: float | None, digits: int, signed: bool = False) -> str:
    """``1,234.50``, ``+1.2``, ``−0.3``; a dash for None; powers of ten beyond 1e12.

    Where more than six digits after the point are asked for, a small number is written as
    ``5.0e-9``.
    """
    if value is None:
        return DASH
    size = abs(value)
    text = f"{size:.3e}" if size >= 1e12 else f"{size:,.{min(digits, LONG)}f}"
    if digits > LONG and 0 < size < 1e-3:
        text = _power(size, digits)
    if float(text.replace(",", "")) == 0:
        return text
    if value < 0:
        return MINUS + text
    return f"+{text}" if signed else text


def _power(size: float, digits: int) -> str:
    """A small number with as many figures as reach down to `digits` after the point."""
    figures = digits + math.floor(math.log10(size))
    if figures < 0:
        return "0"
    mantissa, _, power = f"{size:.{min(figures, 3)}e}".partition("e")
    return f"{mantissa}e{int(power)}"


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


def ordinal(quantile: float, language: str) -> str:
    """``90th`` for 0.9, ``99.9th`` for 0.999, ``22nd``; in Chinese the number alone."""
    text = f"{100 * quantile:.6g}"
    if language != "en":
        return text
    teens = text[-2:] in ("11", "12", "13")
    ending = {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")
    return text + ("th" if teens or "." in text else ending)


def day_text(value: object, language: str) -> str:
    """A day without its year: ``15 Jan``, ``1 月 15 日``; other text as it is."""
    try:
        day = dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        return str(value)
    month = say(language, f"month.{day.month}")
    month = month[:3] if language == "en" else month
    return say(language, "day", day=day.day, month=month).replace(" ", NBSP)


def moment_text(value: object, language: str) -> str:
    """A date with its time: ``15 January 2026, 08:15 UTC``; a text without a time as a date."""
    try:
        at = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return date_text(value, language)
    if at.tzinfo is None:
        return date_text(value, language)
    words = {"date": date_text(value, language), "time": f"{at.astimezone(dt.UTC):%H:%M} UTC"}
    return say(language, "moment", **words).replace(" UTC", f"{NBSP}UTC")


def _about(value: float) -> float:
    """`value`, above 1, as one says it: 304 is about 300, 31 is 31."""
    return round(value, -1 if value >= 100 else 0)


def chance(p: float, language: str) -> str:
    """A probability in plain words: ``less than 1 in 1,000``, ``about 1 in 31``."""
    if p < 0.001:
        return say(language, "chance.below")
    if p < 0.1:
        return say(language, "chance.one_in", n=number(_about(1 / p), 0))
    return say(language, "chance.in_hundred", n=number(min(99, round(100 * p)), 0))
