"""A run in; the first screen of its report out: what to do, how sure, resting on what."""

from __future__ import annotations

import dataclasses

from retention_lab.data.registry import registry
from retention_lab.figures.arms import level_rows, units_by_arm
from retention_lab.figures.effects import DIFFERENCES, arms_of
from retention_lab.results import Row
from retention_lab.run.view.blocks import against_control
from retention_lab.run.view.change import changes
from retention_lab.run.view.decisive import MISMATCH, because, decisive, told
from retention_lab.run.view.incentive_words import assumed, told_money, told_sure
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import kind_of, level_of, metric_of, reason_text, window_text
from retention_lab.texts.incentive import decided
from retention_lab.texts.numbers import chance, date_text, measure, number, p_text


@dataclasses.dataclass(frozen=True, slots=True)
class Focus:
    """The one comparison that the first screen is about: its difference, lift and levels."""

    metric: str
    difference: Row
    lift: Row | None
    arm_level: Row | None
    control_level: Row | None

    @property
    def shown(self) -> Row:
        """The lift where it can be had, else the difference."""
        return self.lift if self.lift is not None else self.difference

    @property
    def clear(self) -> bool:
        low, high = self.difference.ci_low, self.difference.ci_high
        return low is not None and high is not None and not low <= 0 <= high


@dataclasses.dataclass(frozen=True, slots=True)
class Hero:
    """The words of the first screen."""

    decision: str
    badge: str
    headline: str
    because: str
    sure: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    changes: tuple[str, ...]
    ended: bool = False


def hero(source: Source, tongue: Tongue) -> Hero:
    verdict = source.verdict
    focus = focus_of(source)
    key = f"headline.{verdict.decision}"
    if verdict.decision == "ship" and verdict.arm is None:
        key = "headline.ship_none"
    if verdict.decision == "stop" and verdict.arm is not None:
        key = "headline.stop_arm"
    if verdict.ended:
        key = "headline.ended"
    return Hero(
        verdict.decision,
        tongue.say("decision.ended" if verdict.ended else f"decision.{verdict.decision}"),
        tongue.say(key, arm=tongue.arm(verdict.arm)),
        _because(source, tongue, focus),
        _sure(source, tongue, focus),
        _facts(source, tongue),
        _reasons(source, tongue),
        changes(source, tongue),
        verdict.ended,
    )


def _reasons(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """Every reason once, in words."""
    reasons = told(source.verdict)
    said = (reason_text(r, source.spec, tongue.language, reasons) for r in reasons)
    return tuple(dict.fromkeys(said))


def focus_of(source: Source) -> Focus | None:
    """The comparison that decides: the reason that weighs most, else the first primary one."""
    verdict, spec = source.verdict, source.spec
    pairs = [(r.numbers.get("metric"), r.numbers.get("arm")) for r in decisive(verdict)]
    arms = [verdict.arm] if verdict.arm else list(arms_of(source.results)[1:])
    pairs += [(metric, arm) for metric in spec.primary for arm in arms]
    for metric, arm in pairs:
        wanted = {"metric": metric, "arm": arm, "segment": None, "analysis": "ab"}
        rows = against_control(source, **wanted, estimand=DIFFERENCES)
        if metric is None or not rows or rows[0].estimate is None:
            continue
        lifts = against_control(source, **wanted, estimand="relative_lift")
        levels = {r.arm: r for r in level_rows(source.results, metric)}
        lift = lifts[0] if lifts and lifts[0].ci_low is not None else None
        return Focus(metric, rows[0], lift, levels.get(arm), levels.get(source.control))
    return None


def by_difference(source: Source, name: str | None) -> bool:
    """Whether a metric is told in differences: where its margin is set on them."""
    metric = metric_of(source.spec, name)
    if metric is None or metric.relative_margin is not None:
        return False
    return metric.margin is not None or metric.role == "guardrail"


def _because(source: Source, tongue: Tongue, focus: Focus | None) -> str:
    verdict = source.verdict
    if decided(verdict):
        return told_money(source, tongue)
    if verdict.decision != "ship" and decisive(verdict):
        return because(verdict, tongue.spec, tongue.language)
    said = [_effect(source, tongue, focus)] if focus else []
    better = {r.numbers.get("arm") for r in verdict.reasons if r.code == "primary_better"}
    for code, key in (("guardrail_harmed", "other_harmed"), ("guardrail_unclear", "other_unsafe")):
        for r in verdict.reasons:
            arm, metric = r.numbers.get("arm"), r.numbers.get("metric")
            if r.code == code and arm != verdict.arm and arm in better:
                words = {"arm": tongue.arm(arm), "metric": tongue.metric(metric)}
                said.append(tongue.say(f"because.{key}", **words))
    return tongue.joined(said)


def _effect(source: Source, tongue: Tongue, focus: Focus) -> str:
    """The effect in one sentence: from which level to which, and by how much."""
    kind = kind_of(tongue.spec, focus.metric)
    a, b = focus.arm_level, focus.control_level
    clear = focus.clear and not _too_weak(source, focus)
    told = by_difference(source, focus.metric) or not clear
    row = focus.difference if told else focus.shown
    estimate = row.estimate or 0.0
    relative = row.estimand == "relative_lift"
    shown = measure("lift" if relative else "difference", kind, row.ci_low, row.ci_high)
    change = dataclasses.replace(shown, signed=False).text(abs(estimate), tongue.language)
    words = {
        "metric": tongue.metric(focus.metric),
        "arm": tongue.arm(row.arm),
        "control": tongue.arm(row.baseline),
        "change": tongue.say("effect.relative", change=change) if relative else change,
    }
    key = "up" if estimate >= 0 else "down"
    if a is None or b is None or a.estimate is None or b.estimate is None:
        return tongue.say(f"effect.{key}_plain", **words)
    level = measure("level", kind, b.ci_low, b.ci_high)
    said = tongue.say(
        f"effect.{key}" if clear else "effect.seen",
        **words,
        arm_level=level.text(a.estimate, tongue.language),
        control_level=level.text(b.estimate, tongue.language),
    )
    return tongue.joined([said, tongue.say("effect.adjusted")]) if _adjusted(focus) else said


def _adjusted(focus: Focus) -> bool:
    """Whether the difference is adjusted by so much that it is not the gap of the levels."""
    a, b, d = focus.arm_level, focus.control_level, focus.difference
    if "adjustment" not in (d.method or "") or a is None or b is None:
        return False
    gap = (a.estimate or 0.0) - (b.estimate or 0.0)
    half = ((d.ci_high or 0.0) - (d.ci_low or 0.0)) / 2
    return abs(gap - (d.estimate or 0.0)) > 0.1 * half


def _sure(source: Source, tongue: Tongue, focus: Focus | None) -> tuple[str, ...]:
    if source.verdict.decision == "invalid":
        return (tongue.say("sure.invalid"),)
    if decided(source.verdict):
        return told_sure(source, tongue)
    if focus is None:
        return (tongue.say("sure.none"),)
    row = focus.difference if by_difference(source, focus.metric) else focus.shown
    if row.ci_low is None or row.ci_high is None:
        return (tongue.say("sure.none"),)
    kind = kind_of(source.spec, focus.metric)
    relative = row.estimand == "relative_lift"
    shown = measure("lift" if relative else "difference", kind, row.ci_low, row.ci_high)
    low, high = shown.ends(row.ci_low, row.ci_high, tongue.language)
    key = "sure.between_relative" if relative else "sure.between"
    between = tongue.say(key, low=low, high=high, level=level_of(source.spec))
    zero = tongue.say("sure.excludes_zero" if focus.clear else "sure.includes_zero")
    said = [_effect(source, tongue, focus)] if source.verdict.decision != "ship" else []
    said.append(tongue.joined([between, zero]))
    return (*said, *_luck(source, tongue, focus))


def _luck(source: Source, tongue: Tongue, focus: Focus) -> list[str]:
    """How often chance alone does this, and where the correction changes the conclusion."""
    row, alpha = focus.difference, source.spec.inference.alpha
    if row.p_value is None:
        return []
    key = "sure.luck_looks" if source.spec.inference.sequential else "sure.luck"
    words = {"chance": chance(row.p_value, tongue.language), "p": p_text(row.p_value)}
    said = [tongue.say(key, **words)]
    if _too_weak(source, focus):
        said.append(tongue.say("sure.corrected", p=p_text(row.p_adjusted), alpha=f"{alpha:g}"))
    return said


def _too_weak(source: Source, focus: Focus) -> bool:
    """Whether a primary effect is clear by itself, but not after correction."""
    p, adjusted = focus.difference.p_value, focus.difference.p_adjusted
    if focus.metric not in source.spec.primary or p is None or adjusted is None:
        return False
    return p < source.spec.inference.alpha <= adjusted


def _facts(source: Source, tongue: Tongue) -> tuple[tuple[str, str], ...]:
    facts = []
    units = units_by_arm(source.results, source.spec)
    if units and None not in units.values():
        total = number(sum(n or 0 for n in units.values()), 0)
        said = tongue.say("rests.units_value", n=total, arms=len(units))
        counted = _counted(source)
        if counted is not None and counted < sum(n or 0 for n in units.values()):
            words = {"counted": number(counted, 0), "metric": tongue.metric(source.spec.primary[0])}
            said = tongue.say("rests.units_counted", n=total, arms=len(units), **words)
        facts.append((tongue.say("rests.units"), said))
    facts.append((tongue.say("rests.period"), _period(source, tongue)))
    test = source.results.where(estimand="sample_ratio").rows
    p = test[0].p_value if test else None
    key = "ratio_bad" if p is not None and p < MISMATCH else "ratio_ok"
    if p is None:  # of an arm too small to show, only a mismatch is told
        key = "ratio_hidden" if test else "ratio_none"
    facts.append((tongue.say("rests.ratio"), tongue.say(f"rests.{key}", p=p_text(p))))
    left = [
        int(r.estimate)
        for r in source.results.where(estimand="immature", metric=list(source.spec.primary)).rows
        if r.estimate
    ]
    if left:
        said = tongue.say("rests.immature_value", n=number(max(left), 0))
        facts.append((tongue.say("rests.immature"), said))
    if source.spec.incentive is not None:
        facts += assumed(source.spec.incentive, tongue)
    refs = list(dict.fromkeys(str(i.get("ref", "")) for i in source.run.get("inputs") or []))
    if refs:
        short = dict.fromkeys(short_name(r, tongue) for r in refs)
        facts.append((tongue.say("rests.data"), tongue.say("comma").join(short)))
    return tuple(facts)


def _counted(source: Source) -> int | None:
    """Customers that count for the first primary metric; None where an arm's number is hidden."""
    rows = level_rows(source.results, source.spec.primary[0]) if source.spec.primary else ()
    sizes = [r.n for r in rows]
    return sum(n for n in sizes if n is not None) if sizes and None not in sizes else None


def short_name(ref: str, tongue: Tongue) -> str:
    """``dataset:twin/orders`` as its dataset's name, a path as its last part."""
    if ref.startswith("dataset:"):
        name = ref.removeprefix("dataset:").split("/")[0]
        made = name in registry() and registry()[name].made
        return tongue.say("rests.simulated" if made else "rests.dataset", name=name)
    return ref.rstrip("/").rsplit("/", 1)[-1] or ref


def _period(source: Source, tongue: Tongue) -> str:
    spec = source.spec
    metric = metric_of(spec, spec.primary[0]) if spec.primary else None
    window = metric.within if metric else None
    words = {
        "date": date_text(spec.data.as_of, tongue.language),
        "window": window_text(window, tongue.language) if window else "",
    }
    if spec.data.moments:
        return tongue.say("rests.moments")
    if spec.data.as_of and window:
        return tongue.say("rests.as_of_window", **words)
    if spec.data.as_of:
        return tongue.say("rests.as_of", **words)
    return tongue.say("rests.window" if window else "rests.snapshot", **words)
