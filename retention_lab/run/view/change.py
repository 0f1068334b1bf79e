"""A run in; what would change its verdict, or what to do where nothing would, in words, out."""

from __future__ import annotations

import dataclasses

from retention_lab.figures.arms import level_rows
from retention_lab.figures.effects import DIFFERENCES
from retention_lab.results import Reason, Row
from retention_lab.run.view.blocks import against_control
from retention_lab.run.view.decisive import decisive
from retention_lab.run.view.source import Source, Tongue
from retention_lab.run.view.tables import guarded
from retention_lab.texts import kind_of, metric_of
from retention_lab.texts.numbers import measure, number, p_text

HOPELESS = 20.0  # so many times the customers of this run are out of reach


def changes(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """One sentence for everything that the verdict hangs on."""
    verdict = source.verdict
    if verdict.decision == "invalid":
        return (tongue.say("change.invalid"),)
    if verdict.ended:
        words = {"command": f"retention-lab plan {source.spec.name}"}
        return (tongue.say("change.ended_plan", **words), tongue.say("change.ended_accept"))
    said = [_turn(source, tongue, r) for r in decisive(verdict)]
    if verdict.decision == "ship":
        said += [
            _turn(source, tongue, r)
            for r in verdict.reasons
            if r.code == "guardrail_kept" and r.numbers.get("arm") == verdict.arm
        ]
    return tuple(dict.fromkeys(sentence for sentence in said if sentence))


def _turn(source: Source, tongue: Tongue, reason: Reason) -> str:
    """What would have to be otherwise for one reason to fall."""
    n = reason.numbers
    metric, arm = n.get("metric"), n.get("arm")
    wanted = {"metric": metric, "arm": arm, "estimand": DIFFERENCES, "segment": None}
    rows = against_control(source, **wanted) if metric and arm else ()
    if reason.code == "immature":
        words = {"n": number(n.get("immature"), 0), "metric": tongue.metric(metric)}
        return tongue.say("change.immature", **words)
    if not rows or rows[0].estimate is None or rows[0].ci_low is None or rows[0].ci_high is None:
        return ""
    row = rows[0]
    shown = measure("difference", kind_of(source.spec, metric), row.ci_low, row.ci_high)
    ends = shown.ends(row.ci_low, row.ci_high, tongue.language)
    words = {
        "metric": tongue.metric(metric),
        "arm": tongue.arm(arm),
        "low": ends[0],
        "high": ends[1],
        "margin": dataclasses.replace(shown, signed=False, digits=None).text(
            n.get("margin"), tongue.language
        ),
        "alpha": f"{source.spec.inference.alpha:g}",
        "p": p_text(row.p_adjusted),
        "interval": f"{ends[0]}{tongue.say('to')}{ends[1]}",
    }
    if reason.code == "primary_unclear":
        return _unclear(source, tongue, row, words)
    if reason.code == "guardrail_unclear":
        return _unsettled(source, tongue, row, words)
    key = f"change.{reason.code}"
    if reason.code.startswith("guardrail_") and n.get("margin") is None:
        key += "_plain"
    return tongue.say(key, **words)


def _unclear(source: Source, tongue: Tongue, row: Row, words: dict[str, str]) -> str:
    """How many more customers would tell, if the estimate stays as it is."""
    if row.ci_low is None or row.ci_high is None or not row.ci_low <= 0 <= row.ci_high:
        return tongue.say("change.corrected", **words)
    half = (row.ci_high - row.ci_low) / 2
    times = _times(half, abs(row.estimate or 0.0))
    return _more(source, tongue, row, times, "change.primary_unclear", words)


def _unsettled(source: Source, tongue: Tongue, row: Row, words: dict[str, str]) -> str:
    """How many more customers would show that a guardrail stays within its margin."""
    metric = metric_of(source.spec, row.metric)
    sign = -1.0 if metric is not None and metric.direction == "decrease" else 1.0
    room = sign * (row.estimate or 0.0) + ((metric.margin if metric else None) or 0.0)
    half = ((row.ci_high or 0.0) - (row.ci_low or 0.0)) / 2
    proof = guarded(source, row)
    if proof is not None and proof.estimate is not None and proof.ci_low is not None:
        room, half = proof.estimate, proof.estimate - proof.ci_low
    if room <= 0:
        return tongue.say("change.guardrail_beyond", **words)
    return _more(source, tongue, row, _times(half, room), "change.guardrail_unclear", words)


def _times(half: float, distance: float) -> float:
    """How many times the customers shrink a half width to a distance: (half / distance)²."""
    return (half / distance) ** 2 if distance > 0 else float("inf")


def _more(
    source: Source, tongue: Tongue, row: Row, times: float, key: str, words: dict[str, str]
) -> str:
    sizes = [r.n for r in level_rows(source.results, row.metric or "")]
    counted = sum(n or 0 for n in sizes)
    if times > HOPELESS or not counted or None in sizes:
        return tongue.say(f"{key}_never", **words)
    more = _about(counted * max(0.0, times - 1))
    return tongue.say(key, n=number(more, 0), **words)


def _about(n: float) -> float:
    """`n` rounded up to two figures."""
    step = 10.0 ** max(0, len(str(int(n))) - 2)
    return step * -(-n // step)
