"""A language, a key and numbers in; the sentence that a reader sees out."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from retention_lab.experiment.spec import CROSS, Metric, Spec, hours
from retention_lab.results import Reason
from retention_lab.texts import numbers
from retention_lab.texts.catalog import LANGUAGES, placeholders, say, texts

__all__ = [
    "LANGUAGES",
    "as_markdown",
    "covariate_label",
    "interval_text",
    "kind_of",
    "label",
    "level_of",
    "metric_label",
    "metric_of",
    "note_code",
    "note_text",
    "placeholders",
    "reason_text",
    "say",
    "short_note",
    "texts",
    "window_text",
]

FINDINGS = (
    "cohorts_described",
    "groups_differ",
    "groups_alike",
    "most_leave_early",
    "no_customers",
    "no_events",
)
LIFTABLE = ("primary_better", "primary_worse", "primary_unclear")


def label(spec: Spec, name: object, language: str) -> str:
    """The reader's word for an arm, segment or level: the file's label, or the name itself."""
    return plain(spec.label(name, language))


def metric_label(spec: Spec, name: object, language: str) -> str:
    """The reader's word for a metric or a column: its label, or its name with spaces."""
    if str(name) in spec.report.labels:
        return label(spec, name, language)
    if CROSS in str(name):
        return CROSS.join(metric_label(spec, part, language) for part in str(name).split(CROSS))
    return plain(str(name).replace("_", " "))


def covariate_label(spec: Spec, term: object, language: str) -> str:
    """``region: Africa`` in the reader's words, ``history``, ``history missing``, ``x before``."""
    name, _, level = str(term or "").partition(": ")
    if level:
        words = {"level": label(spec, level, language), "name": metric_label(spec, name, language)}
        return say(language, "trust.level", **words)
    if name.endswith(" missing"):
        name = metric_label(spec, name.removesuffix(" missing"), language)
        return say(language, "trust.missing", name=name)
    if name.endswith(" before"):
        name = metric_label(spec, name.removesuffix(" before"), language)
        return say(language, "trust.before", name=name)
    return metric_label(spec, name, language)


def plain(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def as_markdown(text: str) -> str:
    """`text` as a notebook's Markdown that shows it as it is: no HTML, links or mathematics."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", html.escape(plain(text), quote=False))


def metric_of(spec: Spec, name: str | None) -> Metric | None:
    """The metric of that name in the file, or None."""
    return next((m for m in spec.metrics if m.name == name), None)


def kind_of(spec: Spec, name: str | None) -> str:
    """The kind of the metric of that name; ``mean`` where the file does not know it."""
    metric = metric_of(spec, name)
    return metric.kind if metric else "mean"


def level_of(spec: Spec) -> str:
    """The level of the intervals in percent, such as ``95``."""
    return f"{100 * (1 - spec.inference.alpha):.6g}"


def window_text(window: str, language: str) -> str:
    """``30d`` as ``30 days``."""
    unit = window.strip()[-1]
    return say(language, f"window.{unit}", n=hours(window) // {"h": 1, "d": 24, "w": 168}[unit])


def reason_text(reason: Reason, spec: Spec, language: str, beside: Sequence[Reason] = ()) -> str:
    """One sentence for a reason of the verdict, with its numbers in words of `language`.

    Reasons that stand `beside` it and are about the same metric are written with as many digits.
    A code that has no sentence is shown as it is, so that a new reason never breaks a report.
    """
    known = texts(language)
    n = dict(reason.numbers)
    key = f"reason.{reason.code}"
    if key not in known:
        return say(language, "reason.other", code=plain(reason.code))
    if reason.code.startswith("incentive_"):
        from retention_lab.texts.incentive import offer_text  # which needs this module

        return offer_text(reason, spec, language)
    if reason.code in FINDINGS or (reason.code == "immature" and "metric" not in n):
        from retention_lab.texts.lives import finding_text  # which needs this module

        return finding_text(reason, spec, language)
    if reason.code == "guardrail_unclear" and n.get("ci_low") is None and n.get("note"):
        key = "reason.guardrail_no_result"
    if reason.code == "no_arm" and not _first_number(n.get("text")):
        key = "reason.no_arm_some"
    kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
    margin = n.get("margin")
    if margin is not None and f"{key}_margin" in known:
        key = f"{key}_margin"
    lift = reason.code in LIFTABLE and n.get("lift") is not None
    low, high = ("lift_low", "lift_high") if lift else ("ci_low", "ci_high")
    others = [r.numbers for r in beside or (reason,) if r.numbers.get("metric") == n.get("metric")]
    spans = [(x.get(low), x.get(high)) for x in others if not lift or x.get("lift") is not None]
    shown = numbers.shared_measure("lift" if lift else "difference", kind, spans)
    p = numbers.p_text(n.get("p_adjusted", n.get("p")))
    if n.get("p_value") is not None and n["p_value"] != n.get("p_adjusted"):
        p = say(language, "adjusted_p", p=p)
    values = {
        "metric": metric_label(spec, n.get("metric"), language),
        "arm": label(spec, n.get("arm"), language),
        "control": label(spec, spec.design.control, language) if spec.design else "",
        "change": shown.text(n.get("lift" if lift else "estimate"), language),
        "interval": interval_text(spec, shown, n.get(low), n.get(high), language),
        "margin": numbers.measure("size", kind).text(margin, language),
        "p": p,
        "covariate": covariate_label(spec, n.get("covariate"), language),
        "note": note_text(n.get("note"), language),
        "chi2": numbers.number(n.get("chi2"), 2),
        "immature": numbers.number(n.get("immature"), 0),
        "n": numbers.number(n.get("n"), 0),
        "as_of": numbers.date_text(n.get("as_of"), language),
        "without": _first_number(n.get("text")),
    }
    return say(language, key, **values)


def _first_number(text: object) -> str:
    """The number of units that a check's sentence begins with."""
    found = re.match(r"\s*(\d[\d,]*)", str(text or ""))
    return found[1] if found else ""


def interval_text(
    spec: Spec, shown: numbers.Measure, low: float | None, high: float | None, language: str
) -> str:
    """``95% interval +8.3% to +16.0%``."""
    ends = shown.ends(low, high, language)
    return say(language, "interval_of", level=level_of(spec), low=ends[0], high=ends[1])


def note_code(note: str | None) -> str:
    """The code that a row's note begins with; empty where there is none."""
    return (note or "").partition(":")[0].strip()


def note_text(note: str | None, language: str, own: bool = True) -> str:
    """A row's note (``code: sentence``) in `language`; an empty string where there is none.

    English shows the note's own sentence, which may hold numbers, unless `own` is False; Chinese
    the code's sentence, with the number that it counts. Why a group is hidden both say alike.
    """
    if not note:
        return ""
    code, _, sentence = (part.strip() for part in note.partition(":"))
    words = plain(sentence or note)
    counted = re.match(r"\d[\d,]*", words)
    known = texts(language)
    if counted and code == "missing_values" and language != "en":
        return say(language, "note.missing_values_counted", n=counted[0])
    translated = known.get(f"note.{code}")
    if translated is not None and (language != "en" or code == "suppressed" or not (own and words)):
        return translated
    return _sentence(words)


def _sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    end = "" if text.endswith((".", "!", "?", "。")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}" if text else ""


def short_note(note: str | None, language: str) -> str:
    """A row's note in a few words, for a figure; an empty string where it has no such words."""
    key = f"figure.short.{note_code(note)}"
    return say(language, key) if key in texts(language) else ""
