"""A remark of the plan's checks in; a sentence in the language of the report's readers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retention_lab.experiment.spec import Spec
from retention_lab.texts import label, metric_label, say, texts, window_text
from retention_lab.texts.numbers import number

NAMES = ("name", "event", "metric")
COUNTS = ("markets", "pairs")


def remark_text(remark: Mapping[str, Any], spec: Spec, language: str) -> str:
    """What `experiment.remarks.remarks` kept, as a sentence.

    A code that has none is shown as it is, so that a new remark never breaks a report.
    """
    key = "_".join(str(remark[k]) for k in ("code", "how") if k in remark)
    if f"remark.{key}" not in texts(language):
        return say(language, "remark.other", code=key)
    words = {k: str(v) for k, v in remark.items()}
    words |= {k: metric_label(spec, remark[k], language) for k in NAMES if k in remark}
    words |= {k: number(remark[k], 0) for k in COUNTS if k in remark}
    comma = say(language, "comma")
    if "arms" in remark:
        words["arms"] = comma.join(f"“{label(spec, a, language)}”" for a in remark["arms"])
    if "levels" in remark:
        rare = say(language, "remark.rare")
        words["levels"] = comma.join(rare if v is None else f"“{v}”" for v in remark["levels"])
    if "span" in remark:
        words["span"] = window_text(remark["span"], language)
    if "n" in remark:
        words["n"] = _count(remark["n"], language)
    whole = remark.get("all")
    words["all"] = "" if whole is None else say(language, "remark.of", n=number(whole, 0))
    return say(language, f"remark.{key}", **words)


def _count(n: int | str, language: str) -> str:
    """A number, ``<20`` (too few to tell) or ``~`` (all but so few)."""
    if isinstance(n, int):
        return number(n, 0)
    if n == "~":
        return say(language, "remark.nearly")
    return say(language, "remark.fewer", n=n.removeprefix("<"))
