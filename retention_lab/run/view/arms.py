"""A run in; its arms compared among themselves, its factors and guardrails, as tables, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from retention_lab.figures.effects import DIFFERENCES, arms_of
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, Table, Value, against_control, value
from retention_lab.run.view.source import Source, Tongue
from retention_lab.run.view.tables import guarded, reading
from retention_lab.texts import kind_of, metric_of
from retention_lab.texts.numbers import Measure, measure, number, p_cell, share, shared_measure


def arm_blocks(source: Source, tongue: Tongue) -> tuple[Block, ...]:
    """Factors, guardrails, which arm is best, and all pairs: those that this run has."""
    found = (
        _factors(source, tongue),
        _guardrails(source, tongue),
        _best(source, tongue),
        _pairs(source, tongue),
        _gained(source, tongue),
    )
    return tuple(block for block in found if block is not None)


def shown_of(source: Source, rows: Sequence[Row], metric: str | None) -> Measure:
    """How to write differences of one metric alike."""
    ends = [(r.ci_low, r.ci_high) for r in rows if r.metric == metric]
    return shared_measure("difference", kind_of(source.spec, metric), ends)


def _factors(source: Source, tongue: Tongue) -> Block | None:
    """Main effects and interactions of a factorial design."""
    rows = source.results.where(estimand=("main_effect", "interaction")).rows
    if not rows:
        return None
    primary = [r for r in rows if r.metric in source.spec.primary]
    others = [r for r in rows if r.metric not in source.spec.primary]
    tables = [_factor_table(source, tongue, primary, "")] if primary else []
    if others:
        tables.append(_factor_table(source, tongue, others, tongue.say("factors.others")))
    said = [tongue.say("factors.intro"), *_together(source, tongue, primary)]
    return Block(tongue.say("factors.title"), tuple(said), tuple(tables))


def _together(source: Source, tongue: Tongue, rows: Sequence[Row]) -> list[str]:
    """Whether two factors do more or less together than each alone adds up to."""
    said = []
    for r in rows:
        if r.estimand != "interaction" or r.p_value is None or r.estimate is None:
            continue
        metric = metric_of(source.spec, r.metric)
        sign = -1.0 if metric is not None and metric.direction == "decrease" else 1.0
        key = "factors.add_up"
        if r.p_value < source.spec.inference.alpha:
            key = "factors.more" if sign * r.estimate > 0 else "factors.less"
        words = {"metric": tongue.metric(r.metric), "factors": _term(source, tongue, r.term)}
        said.append(tongue.say(key, **words))
    return said


def _factor_table(source: Source, tongue: Tongue, rows: Sequence[Row], folded: str) -> Table:
    heads = ("factors.effect", "table.metric", "table.difference", "table.p")
    lines = tuple(
        (
            Value(_term(source, tongue, r.term)),
            Value(tongue.metric(r.metric)),
            value(r, shown_of(source, rows, r.metric), tongue),
            Value(p_cell(r.p_value)),
        )
        for r in rows
    )
    named = tuple(tongue.say(key) for key in heads)
    return Table(tongue.say("factors.caption"), named, lines, folded)


def _term(source: Source, tongue: Tongue, term: str | None) -> str:
    """``coupon: $10 off, returns: free`` in the reader's words."""
    factors = source.spec.design.factors if source.spec.design else {}
    one = {
        f"{name}: {level}": tongue.say(
            "factors.level", factor=tongue.arm(name), level=tongue.arm(level)
        )
        for name, levels in factors.items()
        for level in levels.values()
    }
    two = {f"{a}, {b}": f"{one[a]} × {one[b]}" for a in one for b in one if a != b}
    return (one | two).get(term or "", term or "")


def _guardrails(source: Source, tongue: Tongue) -> Block | None:
    """Every guardrail that has a margin: the change, what is allowed, and the test of it."""
    lines = []
    for metric in source.spec.metrics:
        if metric.role != "guardrail" or (metric.margin is None and metric.relative_margin is None):
            continue
        rows = against_control(source, metric=metric.name, estimand=DIFFERENCES, segment=None)
        for r in rows:
            proof = guarded(source, r)
            read = reading(metric, r, source.spec.inference.alpha, proof)
            allowed = measure("size", metric.kind).text(metric.margin, tongue.language)
            if metric.relative_margin is not None:
                allowed = tongue.say("guard.relative", share=share(metric.relative_margin))
            key = "guard.fall" if metric.direction == "increase" else "guard.rise"
            lines.append(
                (
                    Value(tongue.metric(metric.name)),
                    Value(tongue.arm(r.arm)),
                    value(r, shown_of(source, rows, metric.name), tongue),
                    Value(tongue.say(key, margin=allowed)),
                    Value(p_cell(proof.p_value if proof else None)),
                    Value(tongue.say(f"reading.{read}") if read else ""),
                )
            )
    if not lines:
        return None
    heads = ("role.guardrail", "table.arm", "table.difference", "guard.allowed", "guard.p")
    named = (*(tongue.say(key) for key in heads), tongue.say("table.note"))
    table = Table(tongue.say("guard.caption"), named, tuple(lines))
    return Block(tongue.say("guard.title"), (tongue.say("guard.intro"),), (table,))


def _best(source: Source, tongue: Tongue) -> Block | None:
    """How likely each arm is the best one, and what choosing it gives away on average."""
    rows = source.results.where(estimand="probability_best").rows
    losses = {(r.metric, r.arm): r for r in source.results.where(estimand="expected_loss").rows}
    primary = [r for r in rows if r.metric in source.spec.primary]
    others = [r for r in rows if r.metric not in source.spec.primary]
    if not primary:
        return None
    prior = source.spec.inference.prior_sd
    stated = tongue.say("best.normal", sd=f"{prior:g}") if prior else tongue.say("best.flat")
    said = [_leader(tongue, [r for r in primary if r.metric == m]) for m in source.spec.primary]

    def table(chosen: list[Row], folded: str) -> Table:
        heads = ("table.arm", "table.metric", "best.chance", "best.loss")
        named = tuple(tongue.say(key) for key in heads)
        lines = tuple(_chance(source, tongue, r, losses.get((r.metric, r.arm))) for r in chosen)
        return Table(tongue.say("best.caption"), named, lines, folded)

    many = len(arms_of(source.results)) > 2
    tables = [table(primary, "" if many else tongue.say("table.show"))]
    if others:
        tables.append(table(others, tongue.say("best.others")))
    tables += _simultaneous(source, tongue)
    return Block(tongue.say("best.title"), (*filter(None, said), stated), tuple(tables))


def _leader(tongue: Tongue, rows: Sequence[Row]) -> str:
    """Which arm is most likely the best one."""
    known = [r for r in rows if r.estimate is not None]
    if not known:
        return ""
    best = max(known, key=lambda r: r.estimate or 0.0)
    words = {"metric": tongue.metric(best.metric), "arm": tongue.arm(best.arm)}
    aside = any(m.role == "guardrail" for m in tongue.spec.metrics)
    key = "best.said_aside" if aside else "best.said"
    return tongue.say(key, chance=_probability(best.estimate), **words)


def _chance(source: Source, tongue: Tongue, r: Row, loss: Row | None) -> tuple[Value, ...]:
    rows = against_control(source, metric=r.metric, estimand=DIFFERENCES, segment=None)
    digits = shown_of(source, rows, r.metric).digits
    finer = None if digits is None else digits + 1
    shown = dataclasses.replace(shown_of(source, rows, r.metric), signed=False, digits=finer)
    text = shown.text(loss.estimate if loss is not None else None, tongue.language)
    return (
        Value(tongue.arm(r.arm)),
        Value(tongue.metric(r.metric)),
        Value(_probability(r.estimate)),
        Value(text),
    )


def _probability(p: float | None) -> str:
    if p is not None and p < 0.001:
        return "< 0.1%"
    return "> 99.9%" if p is not None and p > 0.999 else share(p)


def _simultaneous(source: Source, tongue: Tongue) -> list[Table]:
    """Intervals that hold together."""
    rows = source.results.where(estimand="simultaneous_difference").rows
    if not rows:
        return []
    heads = tuple(tongue.say(key) for key in ("pairs.pair", "table.metric", "table.difference"))
    lines = tuple(
        (
            Value(_pair(tongue, r)),
            Value(tongue.metric(r.metric)),
            value(r, shown_of(source, rows, r.metric), tongue),
        )
        for r in rows
    )
    words = {"n": number(len(rows), 0)}
    caption = tongue.say("together.caption", **words)
    return [Table(caption, heads, lines, tongue.say("together.title"))]


def _pair(tongue: Tongue, r: Row) -> str:
    return tongue.say("pairs.of", arm=tongue.arm(r.arm), baseline=tongue.arm(r.baseline))


def _pairs(source: Source, tongue: Tongue) -> Block | None:
    """Arms against each other, the control left out."""
    wanted = {"estimand": (*DIFFERENCES, "relative_lift"), "segment": None}
    rows = [r for r in source.results.where(**wanted).rows if r.baseline != source.control]
    differences = [r for r in rows if r.estimand in DIFFERENCES]
    lifts = {(r.metric, r.arm, r.baseline): r for r in rows if r.estimand == "relative_lift"}
    if not differences:
        return None
    heads = ("pairs.pair", "table.metric", "table.difference", "table.lift", "table.p_adjusted")
    named = tuple(tongue.say(key) for key in heads)

    def table(chosen: list[Row], folded: str) -> Table:
        lines = []
        for r in chosen:
            lift = lifts.get((r.metric, r.arm, r.baseline))
            ends = [(lift.ci_low, lift.ci_high)] if lift else []
            lines.append(
                (
                    Value(_pair(tongue, r)),
                    Value(tongue.metric(r.metric)),
                    value(r, shown_of(source, differences, r.metric), tongue),
                    value(lift, shared_measure("lift", "mean", ends), tongue),
                    Value(p_cell(r.p_adjusted if r.p_adjusted is not None else r.p_value)),
                )
            )
        return Table(tongue.say("pairs.caption"), named, tuple(lines), folded)

    primary = [r for r in differences if r.metric in source.spec.primary]
    others = [r for r in differences if r.metric not in source.spec.primary]
    tables = [table(primary, "")] if primary else []
    tables += [table(others, tongue.say("pairs.others"))] if others else []
    return Block(tongue.say("pairs.title"), (), tuple(tables))


def _gained(source: Source, tongue: Tongue) -> Block | None:
    """What adjusting for what was known before was worth."""
    found = against_control(source, estimand="variance_reduction", segment=None)
    rows = [r for r in found if r.estimate is not None]
    if not rows:
        return None
    wanted = {"segment": None}
    plain = {
        (r.metric, r.arm): r
        for r in against_control(source, estimand="unadjusted_difference", **wanted)
    }
    adjusted = {
        (r.metric, r.arm): r for r in against_control(source, estimand=DIFFERENCES, **wanted)
    }
    lines = []
    for r in rows:
        at = (r.metric, r.arm)
        both = [x for x in (plain.get(at), adjusted.get(at)) if x is not None]
        shown = shown_of(source, both, r.metric)
        before, after = (value(x.get(at), shown, tongue) for x in (plain, adjusted))
        if source.spec.inference.sequential:  # intervals of one look and of all do not compare
            before, after = Value(before.text), Value(after.text)
        lines.append(
            (
                Value(tongue.metric(r.metric)),
                Value(tongue.arm(r.arm)),
                before,
                after,
                Value(worth(r.estimate, tongue)),
            )
        )
    most = max(rows, key=lambda r: r.estimate or 0.0)
    key = "gained.most" if (most.estimate or 0.0) > 0.005 else "gained.nothing"
    words = {"metric": tongue.metric(most.metric), "worth": _more(most.estimate)}
    heads = ("table.metric", "table.arm", "gained.before", "gained.after", "gained.worth")
    named = tuple(tongue.say(k) for k in heads)
    table = Table(tongue.say("gained.caption"), named, tuple(lines), tongue.say("table.show"))
    return Block(tongue.say("gained.title"), (tongue.say(key, **words),), (table,))


def worth(reduction: float | None, tongue: Tongue) -> str:
    """A share of the variance as customers: half of it is worth as many again."""
    if reduction is None or reduction >= 1:
        return ""
    key = "gained.more" if reduction > 0.005 else "gained.none"
    return tongue.say(key, worth=_more(reduction))


def _more(reduction: float | None) -> str:
    r = reduction or 0.0
    return f"{number(100 * (1 / (1 - r) - 1), 0)}%" if r < 1 else ""
