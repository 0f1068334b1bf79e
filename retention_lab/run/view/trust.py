"""A run in; what speaks for and against believing it, beyond the split itself, out."""

from __future__ import annotations

from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, Table, Value, against_control, value
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import covariate_label, metric_of, note_code, note_text
from retention_lab.texts.numbers import measure, number, p_cell, p_text, share

SEEN_ODD = 0.001  # a covariate that differs at this level, all comparisons counted, is off


def trust(source: Source, tongue: Tongue) -> tuple[Block, ...]:
    """The checks that this run has, what failed first."""
    found = [
        _implausible(source, tongue),
        _homogeneity(source, tongue),
        _balance(source, tongue),
        _gate(source, tongue),
    ]
    return tuple(sorted((b for b in found if b is not None), key=lambda b: b.good is not False))


def _implausible(source: Source, tongue: Tongue) -> Block | None:
    """Relative changes so large that a fault may be likelier (Twyman's law)."""
    rows = [r for r in against_control(source, segment=None) if note_code(r.note) == "implausible"]
    if not rows:
        return None
    said = []
    for r in rows:
        shown = measure("lift", "mean", r.ci_low, r.ci_high)
        words = {"metric": tongue.metric(r.metric), "arm": tongue.arm(r.arm)}
        change = shown.text(r.estimate, tongue.language)
        said.append(tongue.say("trust.implausible", change=change, **words))
    # Neither a pass nor a failure: a large effect may be true, as in a test with hardly any buyers.
    return Block(tongue.say("trust.implausible_title"), tuple(said))


def _homogeneity(source: Source, tongue: Tongue) -> Block | None:
    """Whether the split is the same in all groups and on all days."""
    found = source.results.where(estimand="split_homogeneity").rows
    rows = [r for r in found if r.p_value is not None]
    if not rows:
        return None
    odd = [r for r in rows if note_code(r.note) == "sample_ratio_within"]
    said = [
        tongue.say("trust.homogeneity_bad", where=_where(r, tongue), p=p_text(r.p_value))
        for r in odd
    ] or [tongue.say("trust.homogeneity_ok")]
    heads = (tongue.say("trust.where"), tongue.say("trust.chi2"), tongue.say("table.p"))
    lines = tuple(
        (Value(_where(r, tongue)), Value(number(r.estimate, 1)), Value(p_cell(r.p_value)))
        for r in rows
    )
    caption = tongue.say("trust.homogeneity_caption")
    table = Table(caption, heads, lines, tongue.say("table.show"))
    return Block(tongue.say("trust.homogeneity_title"), tuple(said), (table,), not odd)


def _where(row: Row, tongue: Tongue) -> str:
    return tongue.metric(row.segment) if row.segment else tongue.say("trust.by_day")


def _balance(source: Source, tongue: Tongue) -> Block | None:
    """What was known of customers before: the arms may differ by chance only."""
    found = against_control(source, estimand="covariate_difference")
    rows = [r for r in found if not _told_elsewhere(r, source)]
    once = {(r.term, r.arm): r for r in rows if r.p_value is not None}
    if not once:
        return None
    known = sorted(once.values(), key=lambda r: r.p_value or 0.0)
    worst = known[0]
    odd = (worst.p_value or 0.0) < SEEN_ODD / len(known)
    words = {
        "covariate": covariate_label(tongue.spec, worst.term, tongue.language),
        "arm": tongue.arm(worst.arm),
        "p": p_text(worst.p_value),
        "n": number(len(known), 0),
    }
    said = tongue.say("trust.balance_bad" if odd else "trust.balance_ok", **words)
    heads = ("trust.covariate", "table.arm", "table.difference", "table.p")
    lines = tuple(
        (
            Value(covariate_label(tongue.spec, r.term, tongue.language)),
            Value(tongue.arm(r.arm)),
            value(r, measure("difference", "mean", r.ci_low, r.ci_high), tongue),
            Value(p_cell(r.p_value)),
        )
        for r in known
    )
    caption = tongue.say("trust.balance_caption")
    named = tuple(tongue.say(key) for key in heads)
    table = Table(caption, named, lines, tongue.say("table.show"))
    return Block(tongue.say("trust.balance_title"), (said,), (table,), not odd)


def _told_elsewhere(row: Row, source: Source) -> bool:
    """Whether it is a metric's own pre-period, which has a table of its own."""
    name, _, before = (row.term or "").rpartition(" ")
    metric = metric_of(source.spec, name)
    return before == "before" and metric is not None and metric.pre is not None


def _gate(source: Source, tongue: Tongue) -> Block | None:
    """The A/A gate: how often the test finds something where there is nothing."""
    rows = source.results.where(estimand="aa_rejections").rows
    if not rows:
        return None
    loud = [r for r in rows if note_code(r.note) == "above_limit"]
    careful = [r for r in rows if note_code(r.note) == "below_limit"]
    tested = [r for r in rows if r.estimate is not None]
    alpha = share(source.spec.inference.alpha)
    said = [_rate("trust.gate_bad", r, tongue, alpha) for r in loud]
    if not loud and tested:
        rates = sorted(r.estimate or 0.0 for r in tested)
        low, high = share(rates[0]), share(rates[-1])
        span = low if low == high else tongue.say("trust.gate_rates", low=low, high=high)
        said.append(tongue.say("trust.gate_ok", alpha=alpha, rates=span))
    if careful:
        names = tongue.say("comma").join(tongue.metric(r.metric) for r in careful)
        said.append(tongue.say("trust.gate_careful", metrics=names))
    if not tested:
        said.append(tongue.say("trust.gate_none"))
    heads = ("table.metric", "trust.rate", "trust.limits", "table.note")
    lines = tuple(
        (
            Value(tongue.metric(r.metric)),
            Value(share(r.estimate)),
            Value(_limits(r, tongue)),
            Value(note_text(r.note, tongue.language, own=False)),
        )
        for r in rows
    )
    named = tuple(tongue.say(key) for key in heads)
    table = Table(tongue.say("trust.gate_caption"), named, lines, tongue.say("table.show"))
    good = None if not tested else not loud
    return Block(tongue.say("trust.gate_title"), tuple(said), (table,), good)


def _limits(r: Row, tongue: Tongue) -> str:
    if r.ci_low is None or r.ci_high is None:
        return share(None)
    return f"{share(r.ci_low)}{tongue.say('to')}{share(r.ci_high)}"


def _rate(key: str, r: Row, tongue: Tongue, alpha: str) -> str:
    words = {"metric": tongue.metric(r.metric), "alpha": alpha, "limit": share(r.ci_high)}
    return tongue.say(key, rate=share(r.estimate), **words)
