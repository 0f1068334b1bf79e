"""A spec and the names in survival rows in; the reader's words for groups, days and terms out."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason
from retention_lab.texts import interval_text, label, metric_label, say
from retention_lab.texts.numbers import (
    NBSP,
    Measure,
    date_text,
    day_text,
    measure,
    number,
    p_text,
)

OTHER: Final = "(other)"
OWN_LEVELS: Final = {OTHER: "other", "rest": "rest", "new": "new", "existing": "existing"}
OWN_SPLITS: Final = ("cohort", "promotion", "customers", "acquired")
MONTH = re.compile(r"\d{4}-\d{2}")
BINS: Final = {  # as the engine names the intervals of a binned column
    "below": re.compile(r"below (?P<high>-?[\d.]+)"),
    "between": re.compile(r"(?P<low>-?[\d.]+) to (?P<high>-?[\d.]+)"),
    "above": re.compile(r"(?P<low>-?[\d.]+) and more"),
}
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def event_of(spec: Spec) -> str:
    """The events that are waited for; empty where the file has no section on survival."""
    return spec.survival.waits_for if spec.survival is not None else ""


def is_loss(spec: Spec) -> bool:
    """Whether the file says that whoever has the event has left."""
    return spec.survival is not None and spec.survival.event_is == "loss"


def is_comeback(spec: Spec) -> bool:
    """Whether the event means coming back: not where it is another event than the first one."""
    if is_loss(spec):
        return False
    return spec.survival is None or spec.survival.first in (None, spec.survival.waits_for)


def kind(spec: Spec) -> str:
    """What ends the keys of texts that depend on what the event means: empty for coming back."""
    return "" if is_comeback(spec) else "_left" if is_loss(spec) else "_had"


def deed(spec: Spec, language: str) -> str:
    """What happened to a customer, in the past: ``came back``, ``left``, or ``had “Refunds”``."""
    return _by_meaning(spec, language, back="came_back", left="left", had="had")


def _by_meaning(spec: Spec, language: str, *, back: str, left: str, had: str) -> str:
    """The text of one of three keys, as the event means coming back, leaving, or another deed."""
    key = {"": back, "_left": left, "_had": had}[kind(spec)]
    return say(language, f"lives.{key}", event=metric_label(spec, event_of(spec), language))


def deed_first(spec: Spec, language: str) -> str:
    """The deed where it came first: ``came back before any “Refund”``; plain where none competes.

    A share that had the event first is less than the share that had it.
    """
    rivals = rivals_text(spec, language)
    said = deed(spec, language)
    return say(language, "lives.before_others", deed=said, others=rivals) if rivals else said


def rivals_text(spec: Spec, language: str) -> str:
    """What may happen instead of the event, as the file labels it; empty where nothing may."""
    names = spec.survival.competing if spec.survival is not None else ()
    labels = [say(language, "lives.quoted", name=cause_label(spec, c, language)) for c in names]
    return say(language, "lives.either").join(labels)


def undone(spec: Spec, language: str) -> str:
    """What a customer who still waits is without: ``coming back``, ``leaving``, ``“Refunds”``."""
    return _by_meaning(spec, language, back="coming_back", left="leaving", had="having")


def waiting(spec: Spec, language: str) -> str:
    """What customers without the event so far are: ``still waiting``, or ``still there``."""
    return _by_meaning(spec, language, back="waiting", left="staying", had="waiting_had")


def cause_label(spec: Spec, cause: str | None, language: str) -> str:
    """The label of one of several outcomes."""
    return metric_label(spec, event_of(spec) if cause in (None, "event") else cause, language)


def among_new(spec: Spec) -> bool:
    """Whether a promotion is compared with other new customers only."""
    return spec.survival is not None and spec.survival.among_new


def split_label(spec: Spec, segment: str | None, language: str) -> str:
    """What customers are split by: the file's label, a word for the lab's own splits, the name."""
    if segment in OWN_SPLITS and segment not in spec.report.labels:
        new = "_new" if segment == "promotion" and among_new(spec) else ""
        return say(language, f"lives.split.{segment}{new}")
    return metric_label(spec, segment, language)


def level_label(spec: Spec, level: str | None, language: str) -> str:
    """One group: the file's label, a word for the lab's own groups, a month, or the name."""
    name = level or ""
    if name in OWN_LEVELS and name not in spec.report.labels:
        new = "_new" if name == "rest" and among_new(spec) else ""
        return say(language, f"lives.level.{OWN_LEVELS[name]}{new}")
    for key, pattern in BINS.items():
        found = pattern.fullmatch(name)
        if found and name not in spec.report.labels:
            return say(language, f"lives.level.{key}", **found.groupdict())
    return month_text(name, language) if MONTH.fullmatch(name) else _dated(spec, name, language)


def _dated(spec: Spec, name: str, language: str) -> str:
    return date_text(name, language) if DATE.fullmatch(name) else label(spec, name, language)


def month_text(value: str, language: str) -> str:
    """``Mar 2025`` or ``2025 年 3 月`` for ``2025-03``; other text as it is."""
    if not MONTH.fullmatch(value) or not 1 <= int(value[5:]) <= 12:
        return value
    month = say(language, f"month.{int(value[5:])}")
    month = month[:3] if language == "en" else month
    return say(language, "lives.month", month=month, year=value[:4]).replace(" ", NBSP)


def cut_month(spec: Spec, month: str | None, language: str) -> str:
    """``Dec 2011, to 9 December`` where the records end within `month`; else an empty string."""
    last = spec.data.as_of
    if last is None or f"{last:%Y-%m}" != month:
        return ""
    if (last + dt.timedelta(days=1)).month != last.month:
        return ""
    day = day_text(last, language)
    return say(language, "lives.month_cut", month=month_text(month, language), day=day)


def span_text(
    spec: Spec, shown: Measure, low: float | None, high: float | None, language: str
) -> str:
    """The interval in words as `interval_text` has it; that there is none where both ends miss."""
    if low is None and high is None:
        return say(language, "lives.no_interval")
    return interval_text(spec, shown, low, high, language)


def term_label(spec: Spec, term: str | None, language: str) -> str:
    """A covariate of a model: ``market=Germany`` as ``Market: Germany``."""
    name, _, level = (term or "").partition("=")
    if not level:
        return split_label(spec, name, language)
    if name in ("arm", spec.design.arm if spec.design is not None else ""):
        return label(spec, level, language)
    words = {"name": split_label(spec, name, language), "level": level_label(spec, level, language)}
    return say(language, "trust.level", **words)


def days_text(at: str | None, language: str) -> str:
    """An age or a bin of days: ``day 30``, ``days 0–6``; other text as it is."""
    text = at or ""
    low, _, high = text.partition("-")
    if high == "inf":
        return say(language, "lives.from_day", day=low)
    if high.isdigit() and low.isdigit() and not MONTH.fullmatch(text):
        if low == high:
            return say(language, "lives.day", day=low)
        return say(language, "lives.days", low=low, high=high)
    return say(language, "lives.day", day=text) if text.isdigit() else month_text(text, language)


def bounds(at: str | None) -> tuple[int, int]:
    """First and last day of a bin ``1-7`` or a day ``30``; (0, 0) for what is no day."""
    low, _, high = (at or "").partition("-")
    if not low.isdigit():
        return 0, 0
    return int(low), int(high) if high.isdigit() else int(low)


def finding_text(reason: Reason, spec: Spec, language: str) -> str:
    """One sentence for a reason of a cohort study's verdict, with its numbers."""
    n = dict(reason.numbers)
    low, high = n.get("ci_low"), n.get("ci_high")
    words: dict[str, object] = {
        "deed": deed_first(spec, language),
        "n": number(n.get("n"), 0),
        "day": n.get("day"),
        "immature": number(n.get("immature"), 0),
        "last": n.get("last"),
        "least": n.get("least", spec.privacy.min_cell),
    }
    if reason.code == "immature":
        known = n.get("immature") is not None
        return say(language, f"reason.immature_cohort{'' if known else '_some'}", **words)
    if reason.code == "no_events":
        key = "reason.no_events" if n.get("n") is not None else "reason.no_events_some"
        return say(language, key, **words)
    if reason.code in ("groups_differ", "groups_alike"):
        return say(language, f"reason.{reason.code}", **words, **_difference(n, spec, language))
    shown = measure("level", "proportion", low, high)
    words["share"] = shown.text(n.get("share"), language)
    words["interval"] = span_text(spec, shown, low, high, language)
    plain = reason.code == "most_leave_early" and n.get("last") is None
    key = "reason.most_leave_early_plain" if plain else f"reason.{reason.code}"
    return say(language, key, **words)


def _difference(n: Mapping[str, Any], spec: Spec, language: str) -> dict[str, object]:
    """A difference in the share that had the event by a day; above 1 it is one in days."""
    found = [n.get("difference"), n.get("ci_low"), n.get("ci_high")]
    in_days = any(x is not None and abs(x) > 1 for x in found)
    kind = "mean" if in_days else "proportion"
    shown = measure("difference", kind, found[1], found[2])
    change = shown.text(found[0], language)
    return {
        "segment": split_label(spec, n.get("segment"), language),
        "level": level_label(spec, n.get("level"), language),
        "baseline": level_label(spec, n.get("baseline"), language),
        "change": say(language, "findings.days", n=change) if in_days else change,
        "interval": span_text(spec, shown, found[1], found[2], language),
        "p": p_text(n.get("p")),
    }
