"""A language, a key and numbers in; the sentence that a reader sees out."""

from __future__ import annotations

from retention_lab.experiment.spec import Metric, Spec, hours
from retention_lab.results import Reason
from retention_lab.texts import numbers
from retention_lab.texts.catalog import LANGUAGES, placeholders, say, texts

__all__ = [
    "LANGUAGES",
    "interval_text",
    "kind_of",
    "label",
    "level_of",
    "metric_label",
    "metric_of",
    "note_text",
    "placeholders",
    "reason_text",
    "say",
    "texts",
    "window_text",
]

LIFTABLE = ("primary_better", "primary_worse", "primary_unclear")


def label(spec: Spec, name: object, language: str) -> str:
    """The reader's word for an arm, segment or level: the file's label, or the name itself."""
    return plain(spec.label(name, language))


def metric_label(spec: Spec, name: object, language: str) -> str:
    """The reader's word for a metric or a column: its label, or its name with spaces."""
    if str(name) in spec.report.labels:
        return label(spec, name, language)
    return plain(str(name).replace("_", " "))


def plain(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


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


def reason_text(reason: Reason, spec: Spec, language: str) -> str:
    """One sentence for a reason of the verdict, with its numbers in words of `language`.

    A code that has no sentence is shown as it is, so that a new reason never breaks a report.
    """
    known = texts(language)
    n = dict(reason.numbers)
    key = f"reason.{reason.code}"
    if key not in known:
        return say(language, "reason.other", code=plain(reason.code))
    if reason.code == "guardrail_unclear" and n.get("ci_low") is None and n.get("note"):
        key = "reason.guardrail_no_result"
    kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
    margin = n.get("margin")
    if margin is not None and f"{key}_margin" in known:
        key = f"{key}_margin"
    lift = reason.code in LIFTABLE and n.get("lift") is not None
    low, high = ("lift_low", "lift_high") if lift else ("ci_low", "ci_high")
    shown = numbers.measure("lift" if lift else "difference", kind, n.get(low), n.get(high))
    p = n.get("p_adjusted", n.get("p"))
    values = {
        "metric": metric_label(spec, n.get("metric"), language),
        "arm": label(spec, n.get("arm"), language),
        "control": label(spec, spec.design.control, language) if spec.design else "",
        "change": shown.text(n.get("lift" if lift else "estimate"), language),
        "interval": interval_text(spec, shown, n.get(low), n.get(high), language),
        "margin": numbers.measure("size", kind).text(margin, language),
        "p": numbers.p_text(p),
        "note": note_text(n.get("note"), language),
        "chi2": numbers.number(n.get("chi2"), 2),
        "immature": numbers.number(n.get("immature"), 0),
        "n": numbers.number(n.get("n"), 0),
        "as_of": numbers.date_text(n.get("as_of"), language),
        "text": plain(str(n.get("text", ""))).rstrip("."),
    }
    return say(language, key, **values)


def interval_text(
    spec: Spec, shown: numbers.Measure, low: float | None, high: float | None, language: str
) -> str:
    """``95% interval +8.3% to +16.0%``."""
    ends = shown.ends(low, high, language)
    return say(language, "interval_of", level=level_of(spec), low=ends[0], high=ends[1])


def note_text(note: str | None, language: str) -> str:
    """A row's note (``code: sentence``) in `language`; an empty string where there is none.

    English shows the note's own sentence, which may hold numbers; Chinese the code's sentence.
    """
    if not note:
        return ""
    code, _, sentence = note.partition(":")
    own = plain(sentence) if sentence else plain(note)
    translated = texts(language).get(f"note.{code.strip()}")
    if language == "en" or translated is None:
        return own[:1].upper() + own[1:] if own else (translated or "")
    return translated
