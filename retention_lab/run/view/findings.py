"""The verdict of a cohort study in; its badge and its first sentence out. Needs no figures."""

from __future__ import annotations

from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason, Verdict
from retention_lab.texts import say
from retention_lab.texts.lives import deed_first, span_text
from retention_lab.texts.numbers import digits_of_spread, measure, number

DESCRIBED = "cohorts_described"
RARE = 0.095  # a share below is told of 1,000 customers
STATE = "findings"


def is_study(spec: Spec) -> bool:
    """Whether the file asks when customers come back, and nothing else."""
    return spec.survival is not None and not spec.metrics


def described(verdict: Verdict) -> Reason | None:
    """The reason of a cohort study that holds its first number."""
    return next((r for r in verdict.reasons if r.code == DESCRIBED), None)


def state_of(verdict: Verdict) -> str:
    """The verdict's word as a key: a cohort study that found something decides nothing."""
    return STATE if described(verdict) is not None else verdict.decision


def headline(verdict: Verdict, spec: Spec, language: str) -> str:
    """``Of 100 customers, 47 came back within 90 days.``"""
    words = {"deed": deed_first(spec, language)}
    reason = described(verdict)
    share = reason.numbers.get("share") if reason is not None else None
    if reason is not None and share is not None:
        base, key = per(share)
        n = number(base * share, 0)
        return say(language, f"findings.{key}", n=n, day=reason.numbers.get("day"), **words)
    for code in ("no_customers", "no_events"):
        if any(r.code == code for r in verdict.reasons):
            return say(language, f"findings.{code}", least=spec.privacy.min_cell, **words)
    return say(language, "findings.headline_none", **words)


def per(share: float) -> tuple[int, str]:
    """Of how many customers a share is told, and the key of that sentence."""
    return (1000, "headline_rare") if share < RARE else (100, "headline")


def short(verdict: Verdict, spec: Spec, language: str) -> str:
    """The first number in a few words, for a list; empty where there is none."""
    reason = described(verdict)
    n = dict(reason.numbers) if reason is not None else {}
    if n.get("share") is None:
        return headline(verdict, spec, language)
    shown = measure("level", "proportion", n.get("ci_low"), n.get("ci_high"))
    return say(
        language,
        "findings.short",
        share=shown.text(n["share"], language),
        day=n.get("day"),
        deed=deed_first(spec, language),
        interval=span_text(spec, shown, n.get("ci_low"), n.get("ci_high"), language),
    )


def counted_between(low: float, high: float, share: float) -> tuple[str, str]:
    """Both ends of a share's interval as customers of 100, or of 1,000."""
    base, _ = per(share)
    digits = min(1, digits_of_spread(base * (high - low) / 2))
    return number(base * low, digits), number(base * high, digits)
