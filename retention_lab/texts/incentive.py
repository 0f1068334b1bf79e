"""A spec and an incentive's reasons and rows in; the reader's words for them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from retention_lab.experiment.needs import PRE
from retention_lab.experiment.sections import RANDOMISED
from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason, Verdict
from retention_lab.texts import (
    interval_text,
    kind_of,
    label,
    level_of,
    metric_label,
    metric_of,
    note_text,
    say,
    texts,
)
from retention_lab.texts.numbers import (
    MINUS,
    Measure,
    measure,
    number,
    p_text,
    share,
    shared_measure,
)

CODE = "incentive_"
NOTEBOOK = "incentive_effect"  # the lab's own notebook for incentives
RATIOS = ("incentive_pays", "incentive_pays_too_little", "incentive_loses", "incentive_unclear")
EFFECTS = (
    "incentive_works",
    "incentive_harms",
    "incentive_effect_unclear",
    "incentive_few_placebos",
)
NOTHING = ("incentive_no_ratio", "incentive_no_result", "incentive_no_effect_known")
HARM = "guardrail_harmed"
UNLIKELY = 0.1  # a chance below which what is not settled is probably not so
DOUBTS = (  # what may stand against a good result, the weightiest first
    "incentive_pulled_forward",
    "incentive_nobody_redeemed",
    "incentive_ledger_too_short",
    "incentive_window_too_short",
    "incentive_weeks_unknown",
    "incentive_placebo_moved",
    "incentive_pretrend",
    "incentive_density",
    "incentive_fragile",
)


def is_offer(spec: Spec) -> bool:
    """Whether the file's report is about an incentive, and no A/B test with a ledger beside it."""
    said = spec.incentive
    if said is None or not spec.metrics:
        return False
    return spec.notebook == NOTEBOOK or said.strategy not in RANDOMISED


def decided(verdict: Verdict) -> bool:
    """Whether the verdict is that on an incentive."""
    return any(r.code.startswith(CODE) for r in verdict.reasons)


def quoted(spec: Spec, arm: object, language: str) -> str:
    """``“men's e-mail”``; ``the incentive`` where there are no arms."""
    if arm is None:
        return say(language, "incentive.it")
    return say(language, "incentive.quoted", name=label(spec, arm, language))


def capital(text: str) -> str:
    """`text` with a capital letter first, for what begins a sentence."""
    return f"{text[:1].upper()}{text[1:]}"


def covariate_label(spec: Spec, term: object, language: str) -> str:
    """``channel=Web`` in the file's words, ``Channel: Web``; ``x missing`` as what it is.

    A metric as a covariate is its value before: ``Spend, before``, never the outcome's own name.
    """
    name, equals, group = str(term).partition("=")
    if equals:
        words = {"arm": metric_label(spec, name, language), "said": label(spec, group, language)}
        return say(language, "incentive.of_arm", **words)
    if name.endswith(" missing"):
        words = {"column": covariate_label(spec, name.removesuffix(" missing"), language)}
        return say(language, "figure.missing", **words)
    own = name.removesuffix(PRE)
    if metric_of(spec, own) is not None:
        return say(language, "figure.earlier", metric=metric_label(spec, own, language))
    return metric_label(spec, name, language)


def round_number(value: float | None) -> str:
    """A number of the file as one says it: ``2``, ``2.5``."""
    if value is None:
        return number(None, 0)
    text = number(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio_measure(low: float | None, high: float | None) -> Measure:
    """How to write dollars a dollar: to the cent."""
    return dataclasses.replace(measure("level", "mean", low, high), digits=2)


def money_measure(low: float | None, high: float | None) -> Measure:
    """How to write an amount a customer, with its sign: to the cent at least."""
    shown = measure("difference", "mean", low, high)
    return dataclasses.replace(shown, digits=max(2, shown.digits or 0))


def offer_text(reason: Reason, spec: Spec, language: str) -> str:
    """One sentence for a reason of an incentive's verdict; its code where it has none."""
    key = f"reason.{reason.code}"
    if key not in texts(language):
        return say(language, "reason.other", code=reason.code)
    return capital(say(language, key, **values(reason, spec, language)))


def values(reason: Reason, spec: Spec, language: str) -> dict[str, str]:
    """Every value that a sentence about a reason may ask for."""
    n: dict[str, Any] = dict(reason.numbers)
    said = spec.incentive
    kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
    shown = measure("difference", kind, n.get("ci_low"), n.get("ci_high"))
    ratio = ratio_measure(n.get("ratio_low"), n.get("ratio_high"))
    profit = money_measure(n.get("profit_low"), n.get("profit_high"))
    net = money_measure(n.get("ci_low"), n.get("ci_high"))
    least = n.get("min_roi", said.min_roi if said is not None else None)

    def interval(measured: Measure, low: str, high: str) -> str:
        return interval_text(spec, measured, n.get(low), n.get(high), language)

    return {
        "arm": quoted(spec, n.get("arm"), language),
        "metric": metric_label(spec, n.get("metric"), language),
        "least": round_number(least),
        "ratio": ratio.text(n.get("ratio"), language),
        "interval": interval(ratio, "ratio_low", "ratio_high"),
        "profit": profit.text(n.get("profit"), language),
        "profit_interval": interval(profit, "profit_low", "profit_high"),
        "change": shown.text(n.get("estimate"), language),
        "effect_interval": interval(shown, "ci_low", "ci_high"),
        "net": net.text(n.get("estimate"), language),
        "net_interval": interval(net, "ci_low", "ci_high"),
        "share": _part(n.get("share")),
        "rate": measure("level", "proportion", None, None).text(n.get("rate"), language),
        "weeks": str(n.get("weeks") or ""),
        "peak_week": str(n.get("peak_week") or ""),
        "covariate": covariate_label(spec, n.get("covariate") or "", language),
        "p": p_text(n.get("p_value")),
        "note": note_text(n.get("note"), language),
    }


def _part(value: float | None) -> str:
    """A share in whole percent; what is above everything is everything."""
    if value is None:
        return share(None)
    return f"{number(100 * min(max(value, 0.0), 1.0), 0)}%"


def told_reason(verdict: Verdict) -> Reason | None:
    """The reason that says what was found of the deciding arm: its ledger, else its effect."""
    found = [r for r in verdict.reasons if r.code in (*RATIOS, *EFFECTS, *NOTHING)]
    own = [r for r in found if r.numbers.get("arm") == verdict.arm]
    return next(iter(own or _largest(found)), None)


def _largest(found: list[Reason]) -> list[Reason]:
    """Reasons by what they are worth, those with a number first."""
    return sorted(found, key=lambda r: -_worth(r))


def _worth(reason: Reason) -> float:
    n = reason.numbers
    for name in ("ratio", "profit", "estimate"):
        if n.get(name) is not None:
            return float(n[name])
    return float("-inf")


def deciding(verdict: Verdict) -> Reason | None:
    """The reason that turned the decision: a doubt where one did, else what was found."""
    told = told_reason(verdict)
    if told is None:
        return None
    if verdict.decision in ("stop", "keep_running"):
        won = told.code in ("incentive_pays", "incentive_works")
        own = [r for r in verdict.reasons if r.numbers.get("arm") == told.numbers.get("arm")]
        for code in (*DOUBTS, HARM) if won else DOUBTS[:1]:
            found = next((r for r in own if r.code == code), None)
            if found is not None:
                return found
    return told


def headline(verdict: Verdict, spec: Spec, language: str) -> str:
    """``Each dollar spent on “men's e-mail” brought 4.62 dollars of margin (...).``"""
    told = told_reason(verdict)
    if told is None or told.code == "incentive_no_result":
        key = "incentive.invalid" if verdict.decision == "invalid" else "incentive.none"
        words = {"arm": quoted(spec, verdict.arm, language)} if key.endswith("invalid") else {}
        return capital(say(language, key, **words))
    words = values(told, spec, language)
    if told.numbers.get("ratio") is not None:
        bounded = told.numbers.get("ratio_low") is not None
        key = "incentive.brought" if bounded else "incentive.brought_plain"
        if _either_way(told):
            n = told.numbers
            shown = ratio_measure(n["ratio_low"], n["ratio_high"])
            words["low"] = shown.text(n["ratio_low"], language)
            words["high"] = shown.text(n["ratio_high"], language)
            words["level"] = str(level_of(spec))
            key = "incentive.lost_or_gained"
    elif told.code in EFFECTS:
        way = _way(told)
        key = f"incentive.{way}" if way else "incentive.changed"
        words["size"] = unsigned(words["change"])
        if spec.incentive is not None and spec.incentive.strategy == "encouragement":
            key = "incentive.redeemers"
        return capital(say(language, key, **{**words, "interval": words["effect_interval"]}))
    elif told.code == "incentive_no_effect_known":
        key = "incentive.changed_not"
    else:
        key = "incentive.not_known"
    return capital(say(language, key, **words))


def _way(told: Reason) -> str:
    """``rose`` or ``fell`` where an interval leaves no doubt about it; else empty."""
    low, high = told.numbers.get("ci_low"), told.numbers.get("ci_high")
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "rose" if low > 0 else "fell"


def _either_way(told: Reason) -> bool:
    """Whether a return is not settled, and may be a loss before any cost as well as a gain."""
    low, high = told.numbers.get("ratio_low"), told.numbers.get("ratio_high")
    if told.code != "incentive_unclear" or low is None or high is None:
        return False
    return bool(low < 0 < high)


def _harm(reason: Reason, spec: Spec, language: str) -> str:
    """A guardrail that the A/B test found harmed."""
    n = reason.numbers
    words = {
        "arm": label(spec, n.get("arm"), language),
        "metric": metric_label(spec, n.get("metric"), language),
    }
    return say(language, f"because.{reason.code}", **words)


def because(
    verdict: Verdict,
    spec: Spec,
    language: str,
    likely: float | None = None,
    command: bool = True,
) -> str:
    """What to do with it, and why, in one sentence; empty where there is no reason.

    `likely` is the chance that the return is what is wanted, where known. Without `command`, for
    a page that says already what to do, only why: ``That is clearly more than ...``.
    """
    reason = deciding(verdict)
    if reason is None:
        return ""
    if reason.code == HARM:
        return _harm(reason, spec, language)
    key = f"incentive.because.{reason.code.removeprefix(CODE)}"
    if key not in texts(language):
        return offer_text(reason, spec, language)
    if reason.code in ("incentive_unclear", "incentive_effect_unclear") and not spec.segments:
        key += "_whole"  # nobody to look at apart from the others
    if reason.code == "incentive_unclear" and likely is not None and likely < UNLIKELY:
        key = "incentive.because.unclear_unlikely"
    told = say(language, key, **values(reason, spec, language))
    said = [told if command else _without_command(told, language)]
    partly = next(
        (
            r
            for r in verdict.reasons
            if r.code == "incentive_partly_pulled"
            and r.numbers.get("arm") == reason.numbers.get("arm")
        ),
        None,
    )
    if partly is not None and reason is not partly:
        words = values(partly, spec, language)
        said.append(say(language, "incentive.because.partly_pulled", **words))
    return ("" if language == "zh" else " ").join(said)


def _without_command(text: str, language: str) -> str:
    """What stands behind ``Keep it:``, with a capital letter."""
    return capital(text.partition("：" if language == "zh" else ": ")[2] or text)


def level_measure(intervals: Iterable[tuple[float | None, float | None]]) -> Measure:
    """How to write what is left of a customer, as it stands: to the cent at least."""
    shown = shared_measure("level", "mean", intervals)
    return dataclasses.replace(shown, digits=max(2, shown.digits or 0))


def unsigned(text: str) -> str:
    """An amount without its sign."""
    return text.lstrip("+" + MINUS)
