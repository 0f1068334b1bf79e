"""Hazard ratios in; what they say, and whether they hold on all days, in words, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from retention_lab.figures import ratio_plot
from retention_lab.figures.groups import survival_rows
from retention_lab.figures.incidence import ratio_rows, times
from retention_lab.multiplicity import SIMULTANEOUS
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, Table, Value
from retention_lab.run.view.groups import MOST_SAID, is_clear
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import note_code, note_text
from retention_lab.texts.lives import deed, rivals_text, term_label, waiting
from retention_lab.texts.numbers import DASH, number, p_cell, p_text

Draw = Callable[..., Markup]  # a figure's name, the plot and what it is to show -> the figure
GLOBAL = "global"
MONOTONE = "monotone"


def model_block(source: Source, tongue: Tongue, draw: Draw) -> Block | None:
    """The model of everyone: the clearest ratios, whether they hold, the rest folded."""
    rows = ratio_rows(source.results)
    if not rows:
        why = [r.note for r in survival_rows(source.results, "log_hazard_ratio") if r.note]
        return Block("", tuple(note_text(note, tongue.language) for note in why)) if why else None
    clear = [r for r in rows if is_clear(r, source.spec)]
    strongest = sorted(clear, key=lambda r: -abs(r.estimate or 0.0))[:MOST_SAID]
    words = {"deed": deed(tongue.spec, tongue.language)}
    said = [tongue.say("findings.model_said")]
    if rivals := rivals_text(tongue.spec, tongue.language):
        said.append(tongue.say("findings.model_censored", others=rivals))
    for r in strongest:
        term = term_label(tongue.spec, r.term, tongue.language)
        numbers = _numbers(r, source, tongue)
        said.append(tongue.say("lives.ratio_term_sooner", term=term, **numbers, **words))
    said += _penalised(rows, tongue)
    if len(rows) > 1 and any(r.ci_low is not None for r in rows):
        said.append(tongue.say("lives.ratio_clear", n=len(clear), many=len(rows)))
    said += holds(source, tongue, rows)
    known = [r for r in source.results.where(estimand="concordance").rows if r.segment is None]
    if known and known[0].estimate is not None:
        said.append(tongue.say("lives.concordance", n=number(100 * known[0].estimate, 0), **words))
    return Block(
        "",
        tuple(said),
        (model_table(source, tongue, rows, tongue.say("table.show")),),
        folded=(draw("ratios", ratio_plot),),
        folded_title=tongue.say("lives.show_model"),
    )


def arm_ratios(source: Source, tongue: Tongue) -> tuple[tuple[str, ...], Table | None]:
    """The hazard ratios of the arms in words, whether they hold, and their table."""
    design = source.spec.design
    arm = ("arm=", f"{design.arm}=") if design is not None else ("arm=",)
    rows = [r for r in ratio_rows(source.results) if (r.term or "").startswith(arm)]
    if not rows:
        return (), None
    said = []
    for r in rows:
        if r.estimate is None:
            continue
        words = {
            "level": term_label(tongue.spec, r.term, tongue.language),
            "baseline": tongue.arm(r.baseline or source.control),
            "deed": deed(tongue.spec, tongue.language),
        }
        said.append(tongue.say("lives.ratio_sooner", **_numbers(r, source, tongue), **words))
    table = model_table(source, tongue, rows, tongue.say("lives.show_model"))
    return (*said, *_penalised(rows, tongue), *holds(source, tongue, rows)), table


def _penalised(rows: Sequence[Row], tongue: Tongue) -> list[str]:
    """That the ratios are penalised estimates, where they are."""
    if not any(note_code(r.note) == MONOTONE for r in rows):
        return []
    return [tongue.say("lives.penalised", deed=deed(tongue.spec, tongue.language))]


def holds(source: Source, tongue: Tongue, rows: Sequence[Row]) -> list[str]:
    """Whether the ratios are the same on all days, by the test of proportionality."""
    tests = _tests(source)
    alpha = source.spec.inference.alpha
    found = (_test_of(tests, r.term) for r in rows)
    known = list({t.term: t for t in found if t is not None}.values())
    odd = [t for t in known if (t.p_value or 0.0) < alpha]
    design = source.spec.design
    if len(odd) > MOST_SAID or (odd and design is not None and odd[0].term == design.arm):
        p = min(t.p_value or 0.0 for t in odd)
        return [tongue.say("lives.unsteady_all", p=p_text(p))]
    if odd:
        words = [(term_label(tongue.spec, t.term, tongue.language), t.p_value) for t in odd]
        return [tongue.say("lives.unsteady", term=term, p=p_text(p)) for term, p in words]
    whole = tests.get(GLOBAL) if len(known) != 1 else None
    p_values = [t.p_value for t in ([whole] if whole is not None else known)]
    if not p_values:
        return []
    p = min(p or 0.0 for p in p_values)
    key = "lives.unsteady_all" if p < alpha else "lives.steady"
    return [tongue.say(key, p=p_text(p))]


def model_table(source: Source, tongue: Tongue, rows: Sequence[Row], folded: str) -> Table:
    """Every ratio with its interval, its p-value, and the test of whether it is constant."""
    tests = _tests(source)
    heads = ("factors.effect", "lives.ratio", "table.p", "lives.steady_p", "table.note")
    lines = []
    for r in rows:
        test = _test_of(tests, r.term)
        ends = ""
        if r.ci_low is not None and r.ci_high is not None:
            ends = f"{times(r.ci_low)}{tongue.say('to')}{times(r.ci_high)}"
        lines.append(
            (
                Value(term_label(tongue.spec, r.term, tongue.language)),
                Value(DASH if r.estimate is None else times(r.estimate), ends),
                Value(p_cell(r.p_value if r.p_adjusted is None else r.p_adjusted)),
                Value(p_cell(test.p_value if test is not None else None)),
                Value(note_text(r.note, tongue.language)),
            )
        )
    if not any(line[-1].text for line in lines):
        heads, lines = heads[:-1], [line[:-1] for line in lines]  # type: ignore[assignment,misc]
    named = tuple(tongue.say(key) for key in heads)
    return Table(tongue.say("lives.model_table"), named, tuple(lines), folded)


def _tests(source: Source) -> dict[str, Row]:
    rows = source.results.where(estimand="proportionality", segment=None).rows
    return {r.term or "": r for r in rows if r.p_value is not None}


def _test_of(tests: Mapping[str, Row], term: str | None) -> Row | None:
    """The test of a level's ratio: its own, or that of all levels of its covariate together."""
    name = term or ""
    return tests.get(name) or tests.get(name.partition("=")[0])


def _numbers(r: Row, source: Source, tongue: Tongue) -> dict[str, str]:
    low = times(r.ci_low) if r.ci_low is not None else tongue.say("no_bound")
    high = times(r.ci_high) if r.ci_high is not None else tongue.say("no_bound")
    level = f"{100 * (1 - tongue.spec.inference.alpha):.6g}"
    interval = tongue.say("interval_of", level=level, low=low, high=high)
    # one of several has its p beside it, the largest too, which Holm leaves as it is
    several = r.p_adjusted != r.p_value or SIMULTANEOUS in (r.method or "")
    adjusted = r.p_adjusted is not None and several
    p = tongue.say("lives.and_p", p=tongue.say("adjusted_p", p=p_text(r.p_adjusted)))
    test = _test_of(_tests(source), r.term)
    odd = test is not None and (test.p_value or 0.0) < source.spec.inference.alpha
    when = tongue.say("lives.when_average" if odd else "lives.when_any")
    found = {"times": times(r.estimate or 0.0), "interval": interval, "when": when}
    found["waiting"] = waiting(tongue.spec, tongue.language)
    return {**found, "p": p if adjusted else ""}
