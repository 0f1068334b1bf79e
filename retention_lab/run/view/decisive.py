"""A verdict in; the reason that weighs most out, in words. Needs no figures: the index is quick."""

from __future__ import annotations

from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason, Verdict
from retention_lab.texts import covariate_label, label, metric_label, say

MISMATCH = 0.001  # below this p-value the analysis calls a split a mismatch
WEIGHT = {
    "ship": ("primary_better",),
    "stop": ("guardrail_harmed", "primary_worse", "no_worthwhile_effect"),
    "keep_running": ("guardrail_unclear", "primary_unclear", "immature"),
    "invalid": ("sample_ratio_mismatch", "covariate_differs", "no_arm", "primary_no_result"),
}


EFFECTS = ("primary_", "guardrail_", "no_worthwhile_effect", "immature")


def told(verdict: Verdict) -> tuple[Reason, ...]:
    """The reasons to tell: of an invalid test no effects, which must not be read."""
    if verdict.decision != "invalid":
        return verdict.reasons
    found = tuple(
        r
        for r in verdict.reasons
        if r.code == "primary_no_result" or not r.code.startswith(EFFECTS)
    )
    return found or verdict.reasons


def decisive(verdict: Verdict) -> tuple[Reason, ...]:
    """The reasons that make the decision, the weightiest first.

    Where no arm is better in a primary metric, that comes before guardrails that are not settled.
    """
    codes = WEIGHT[verdict.decision]
    if not any(r.code == "primary_better" for r in verdict.reasons):
        codes = tuple(sorted(codes, key=lambda code: code != "primary_unclear"))
    return tuple(
        r
        for code in codes
        for r in verdict.reasons
        if r.code == code and verdict.arm in (None, r.numbers.get("arm"))
    )


def because(verdict: Verdict, spec: Spec, language: str) -> str:
    """A sentence for the weightiest reason not to ship; a test that is over has its own."""
    found = decisive(verdict)
    if not found or verdict.decision == "ship":
        return ""
    n = found[0].numbers
    words = {
        "metric": metric_label(spec, n.get("metric"), language),
        "arm": label(spec, n.get("arm"), language),
        "covariate": covariate_label(spec, n.get("covariate"), language),
    }
    return say(language, f"because.{'ended_' if verdict.ended else ''}{found[0].code}", **words)
