"""The run of an incentive in; its report, a first screen and sections, out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from retention_lab.figures import (
    effects_plot,
    event_study_plot,
    ledger_plot,
    margin_plot,
    profits_plot,
    threshold_plot,
)
from retention_lab.figures.incentive_rows import headline_rows, incentive_rows, ledger_arms
from retention_lab.figures.ledger import ledger_of, waterfall
from retention_lab.results import Row
from retention_lab.run.view.cohort import First, Study
from retention_lab.run.view.cohort_parts import Section
from retention_lab.run.view.hero import short_name
from retention_lab.run.view.incentive_checks import doubts
from retention_lab.run.view.incentive_ledger import ledger_blocks
from retention_lab.run.view.incentive_parts import (
    dose_block,
    effect_block,
    effect_said,
    forward_blocks,
    rests_block,
)
from retention_lab.run.view.incentive_words import (
    assumed,
    kept_dose,
    likely_enough,
    told_dose,
    told_sure,
)
from retention_lab.run.view.model import Draw
from retention_lab.run.view.record import Method
from retention_lab.run.view.remarked import remarked
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import level_of, reason_text
from retention_lab.texts.incentive import (
    because,
    decided,
    headline,
    quoted,
    told_reason,
)
from retention_lab.texts.numbers import number

Plot = tuple[Callable[..., Axes], dict[str, Any]]
METHODS = {  # by key of its words: the estimands that use it
    "ledger": ("incremental_profit",),
    "late": ("late",),
    "aipw": ("average_effect_treated", "trimmed_share"),
    "hidden": ("robustness_value", "e_value"),
    "staggered": ("event_time_effect",),
    "synthetic": ("synthetic_difference",),
    "discontinuity": ("threshold_effect",),
    "response": ("dose_response",),
    "forward": ("pull_forward",),
}


def offer(source: Source, tongue: Tongue, draw: Draw) -> Study:
    """The whole page: the first screen, its sections, and how it was calculated."""
    return Study(first(source, tongue, draw), _sections(source, tongue, draw),
                 methods(source, tongue))  # fmt: skip


def first(source: Source, tongue: Tongue, draw: Draw) -> First:
    """What each dollar brought, what to do, how sure that is, and the figure."""
    verdict, spec, language = source.verdict, source.spec, tongue.language
    reasons = verdict.reasons
    found = tuple(dict.fromkeys(reason_text(r, spec, language, reasons) for r in reasons))
    brought = headline(verdict, spec, language)
    found += _changed(source, tongue)
    why = because(verdict, spec, language, likely_enough(source))
    best = told_dose(source, tongue)
    return First(
        verdict.decision,
        tongue.say(f"decision.offer.{verdict.decision}"),
        best or brought,
        tongue.joined([brought, why]) if best else why,
        told_sure(source, tongue),
        _facts(source, tongue),
        found,
        _figure(source, draw),
    )


def _changed(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """What changed in what the file asks first, where the verdict speaks of money only."""
    told = told_reason(source.verdict)
    if told is None or told.numbers.get("ratio") is None:
        return ()
    rows = headline_rows(source.results, source.spec.primary[0])
    return tuple(effect_said(source, tongue, r) for r in rows if r.arm == told.numbers.get("arm"))


def caption(source: Source, tongue: Tongue) -> str:
    """How the first figure is read."""
    key = {
        ledger_plot: "how_ledger",
        margin_plot: "how_margin",
        profits_plot: "how_profits",
        event_study_plot: "how_event",
        threshold_plot: "how_threshold",
    }.get(_plot(source)[0], "how_effects")
    return tongue.say(f"figure.{key}", level=level_of(source.spec))


def _figure(source: Source, draw: Draw) -> Markup:
    plot, wanted = _plot(source)
    return draw("why", plot, **wanted)


def ledger_figure(source: Source) -> Plot | None:
    """The figure of the ledger, where the verdict rests on one: the arms, or the only arm's."""
    if not decided(source.verdict):
        return None
    arms = [a for a in ledger_arms(source.results)
            if waterfall(ledger_of(source.results, a), source.spec)]  # fmt: skip
    if len(arms) > 1:
        return margin_plot, {}
    return (ledger_plot, {"arm": arms[0]}) if arms else None


def _plot(source: Source) -> Plot:
    """The figure of the first screen: the ledger where there is one, else the effect."""
    ledger = ledger_figure(source)
    if ledger is not None:
        by_dose = ledger[0] is margin_plot and kept_dose(source) is not None
        return (profits_plot, {}) if by_dose else ledger
    metric = source.spec.primary[0]
    if incentive_rows(source.results, "event_time_effect", metric=metric):
        return event_study_plot, {"metric": metric}
    if incentive_rows(source.results, "binned_mean", metric=metric):
        return threshold_plot, {"metric": metric}
    return effects_plot, {"metric": metric}


def _facts(source: Source, tongue: Tongue) -> tuple[tuple[str, str], ...]:
    spec, say = source.spec, tongue.say
    said = spec.incentive
    assert said is not None
    way = (
        "rollout_never"
        if said.strategy == "rollout" and said.controls == "never"
        else said.strategy
    )
    facts = [(say("incentive.facts.compared"), say(f"incentive.strategy.{way}"))]
    row = _counted(source)
    if row is not None and row.n is not None:
        unit = "markets" if said.strategy == "rollout" else "customers"
        facts.append((say(f"incentive.facts.{unit}"), _both(row, tongue)))
    facts += assumed(said, tongue)
    refs = dict.fromkeys(str(i.get("ref", "")) for i in source.run.get("inputs") or [])
    if refs:
        short = dict.fromkeys(short_name(ref, tongue) for ref in refs)
        facts.append((say("rests.data"), say("comma").join(short)))
    return tuple(facts)


def _counted(source: Source) -> Row | None:
    """The row that says how many there were: of the ledger, else of the first effect."""
    told = told_reason(source.verdict)
    arm = told.numbers.get("arm") if told is not None else None
    rows = [*ledger_of(source.results, arm).values(),
            *headline_rows(source.results, source.spec.primary[0]),
            *incentive_rows(source.results, "dose_response")]  # fmt: skip
    return next((r for r in rows if r.n is not None and r.arm in (arm, None)), None)


def _both(row: Row, tongue: Tongue) -> str:
    words = {"n": number(row.n, 0), "arm": quoted(tongue.spec, row.arm, tongue.language)}
    if row.n_baseline is None:
        return tongue.say("incentive.facts.one", n=words["n"])
    said = tongue.spec.incentive
    key = "both_markets" if said is not None and said.strategy == "rollout" else "both"
    return tongue.say(f"incentive.facts.{key}", n_baseline=number(row.n_baseline, 0), **words)


def _sections(source: Source, tongue: Tongue, draw: Draw) -> tuple[Section, ...]:
    """Every part that has something to say, in the order of the page."""
    plot = _plot(source)[0]
    checks = doubts(source, tongue, draw)
    parts = {
        "dose": dose_block(source, tongue, draw, plot is profits_plot),
        "ledger": ledger_blocks(source, tongue, draw, plot is ledger_plot),
        "effect": effect_block(source, tongue, draw, plot),
        "forward": forward_blocks(source, tongue, draw),
        "rests": (*rests_block(source, tongue), *remarked(source, tongue)),
        "doubts": checks,
    }
    return tuple(
        Section(key, tongue.say(f"incentive.title.{key}"), blocks)
        for key, blocks in parts.items()
        if blocks
    )


def methods(source: Source, tongue: Tongue) -> tuple[Method, ...]:
    """What an interval means, and the methods that this run used."""
    words = {"level": level_of(source.spec)}
    own = Method(
        tongue.say("methods.offer_interval_title"),
        tongue.say("methods.offer_interval", **words),
        "",
    )
    return (own, *offer_methods(source, tongue))


def offer_methods(source: Source, tongue: Tongue) -> tuple[Method, ...]:
    """The methods of incentives that this run used."""
    estimands = {r.estimand for r in incentive_rows(source.results, _all())}
    return tuple(
        Method(
            tongue.say(f"methods.{key}_title"),
            tongue.say(f"methods.{key}"),
            "" if key == "forward" else tongue.say(f"methods.{key}_source"),
        )
        for key, used in METHODS.items()
        if estimands & set(used)
    )


def _all() -> tuple[str, ...]:
    return tuple(e for used in METHODS.values() for e in used)


def in_test(source: Source, tongue: Tongue, draw: Draw) -> tuple[Section, ...]:
    """What the page of an A/B test shows of its incentive: ledger, weeks and dose."""
    if not ledger_arms(source.results) and not incentive_rows(source.results, "dose_mean"):
        return ()
    above = ledger_figure(source)
    drawn = above is not None and above[0] is ledger_plot
    parts = {
        "ledger": ledger_blocks(source, tongue, draw, drawn),
        "forward": forward_blocks(source, tongue, draw),
        "dose": dose_block(source, tongue, draw),
    }
    return tuple(
        Section(key, tongue.say(f"incentive.title.{key}"), blocks)
        for key, blocks in parts.items()
        if blocks
    )
