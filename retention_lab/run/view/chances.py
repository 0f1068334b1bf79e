"""Daily chances by bin in; the words on their peak, or on whether they fall, out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from retention_lab.figures.hazard import CLIFF
from retention_lab.results import Row
from retention_lab.run.view.source import Tongue
from retention_lab.texts.lives import bounds, days_text, deed, waiting
from retention_lab.texts.numbers import measure, number


def course_text(rows: Sequence[Row], tongue: Tongue) -> list[str]:
    """The peak where its interval is clear of all others', else whether the chance falls by then.

    The chance before day 30 and after it: events over the days that customers spent waiting.
    """
    if not any(r.estimate for r in rows):
        return []  # nothing has happened, so there is no course
    say, spec, language = tongue.say, tongue.spec, tongue.language
    words = {"deed": deed(spec, language), "waiting": waiting(spec, language)}
    parts = [[r for r in rows if (bounds(r.at)[0] > CLIFF) == late] for late in (False, True)]
    soon, later = (pooled_chance(p, tongue.spec.inference.alpha) for p in parts)
    peak = max(rows, key=lambda r: r.estimate or 0.0)
    others = [r.ci_high for r in rows if r is not peak]
    said = []
    if peak.ci_low is not None and all(e is not None and e < peak.ci_low for e in others):
        chance = chance_text(peak.estimate, peak.ci_low, peak.ci_high)
        days = days_text(peak.at, tongue.language)
        said.append(say("findings.hazard_peak", days=days, chance=chance, **words))
        if later is not None:
            day = bounds(parts[1][0].at)[0] - 1
            said.append(say("findings.hazard_after", day=day, chance=chance_text(*later)))
        return said
    if soon is None or later is None:
        return said
    day = bounds(parts[1][0].at)[0] - 1
    key = "falls" if soon[1] > later[2] else "rises" if soon[2] < later[1] else "flat"
    both = {"before": chance_text(*soon), "after": chance_text(*later)}
    return [say(f"findings.hazard_{key}", day=day, **both, **words)]


def pooled_chance(rows: Sequence[Row], alpha: float) -> tuple[float, float, float] | None:
    """The daily chance over all of `rows` with Wilson's interval, weighted by customer-days.

    A bin's customer-days are those at risk at its start times its days.
    """
    days = [(r.n or 0) * (bounds(r.at)[1] - bounds(r.at)[0] + 1) for r in rows]
    n = sum(days)
    if not n:
        return None
    p = sum((r.estimate or 0.0) * d for r, d in zip(rows, days, strict=True)) / n
    z = NormalDist().inv_cdf(1 - alpha / 2)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return p, max(middle - half, 0.0), middle + half


def chance_text(chance: float | None, low: float | None, high: float | None) -> str:
    """A small share with as many digits as its interval sets, two at most: ``0.33%``."""
    shown = measure("level", "proportion", low, high)
    digits = 1 if shown.digits is None else min(max(shown.digits, 1), 2)
    return f"{number(None if chance is None else 100 * chance, digits)}%"
