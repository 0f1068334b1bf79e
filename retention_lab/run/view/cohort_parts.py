"""The run of a cohort study in; the sections of its report that have rows out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from markupsafe import Markup

from retention_lab.figures import (
    hazard_plot,
    incidence_plot,
    repeat_plot,
    retention_plot,
    share_plot,
    survival_plot,
)
from retention_lab.figures.groups import (
    came_rows,
    survival_rows,
)
from retention_lab.figures.hazard import CLIFF, early
from retention_lab.figures.triangle import TERMS
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, Table, Value
from retention_lab.run.view.chances import course_text
from retention_lab.run.view.cohort_data import (
    data_blocks,
    next_blocks,
    splits,
    told_first,
)
from retention_lab.run.view.group_tables import MILESTONES, group_tables
from retention_lab.run.view.groups import (
    group_label,
    is_clear,
    name_of,
    none_had,
    said_of,
)
from retention_lab.run.view.model import Draw, model_block
from retention_lab.run.view.remarked import remarked
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts.lives import (
    among_new,
    bounds,
    cause_label,
    cut_month,
    days_text,
    deed_first,
    is_comeback,
    is_loss,
    kind,
    level_label,
    month_text,
    span_text,
    split_label,
)
from retention_lab.texts.numbers import measure, number, p_cell, share

COHORT, PROMOTION = "cohort", "promotion"


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: its name in links, its title, and what it says."""

    id: str
    title: str
    blocks: tuple[Block, ...]


def sections(source: Source, tongue: Tongue, draw: Draw) -> tuple[Section, ...]:
    """Those that this run has rows for, in the order in which they are read."""
    say = tongue.say
    often = "findings.repeats" if is_comeback(source.spec) else "findings.repeats_had"
    model = model_block(source, tongue, draw)
    data = [*data_blocks(source, tongue), *remarked(source, tongue)]
    parts = (
        ("data", say("findings.data"), data),
        ("groups", say("findings.groups"), _groups(source, tongue, draw)),
        ("hazard", say(f"findings.hazard{kind(source.spec)}"), _hazard(source, tongue, draw)),
        ("retention", say("findings.retention"), _retention(source, tongue, draw)),
        ("outcomes", say("findings.outcomes"), _outcomes(source, tongue, draw)),
        ("repeats", say(often), _repeats(source, tongue, draw)),
        ("model", say("findings.model"), [model] if model is not None else []),
        ("returning", say("findings.returning"), _returning(source, tongue, draw)),
        ("next", say("findings.next"), next_blocks(source, tongue)),
    )
    return tuple(Section(name, title, tuple(found)) for name, title, found in parts if found)


def _groups(source: Source, tongue: Tongue, draw: Draw) -> list[Block]:
    """One block a split: the difference in days, or shares, the curves, the tables folded."""
    found = []
    for i, segment in enumerate(splits(source), 1):
        tables = group_tables(source, tongue, segment)
        curves = came_rows(source.results, source.spec, segment)
        shown = curves and segment != told_first(source)
        figures = [draw(f"lives-{i}", survival_plot, segment=segment)] if shown else []
        new = segment == PROMOTION and among_new(source.spec)
        said = [tongue.say("lives.new_only")] if new else []
        found.append(
            Block(
                split_label(source.spec, segment, tongue.language),
                (*said, *said_of(source, tongue, segment)),
                tables,
                figures=tuple(figures),
            )
        )
    return found


def _hazard(source: Source, tongue: Tongue, draw: Draw) -> list[Block]:
    """The chance by day, how much of all comes early, and the same by group, folded."""
    rows = [r for r in survival_rows(source.results, "hazard") if r.estimate is not None]
    if not rows:
        return []
    words = {"deed": deed_first(source.spec, tongue.language)}
    said = []
    soon = early(source.results, source.spec)
    if soon is not None:
        numbers = {"share": share(soon[0]), "last": number(soon[1], 0), "day": CLIFF}
        said.append(tongue.say("findings.hazard_said", **numbers, **words))
    said += course_text(rows, tongue)
    how = "hazard_how" if is_comeback(source.spec) else "hazard_how_other"
    said.append(tongue.say(f"findings.{how}", day=CLIFF))
    others = [s for s in splits(source) if survival_rows(source.results, "hazard", s)]
    folded = [draw(f"hazard-{i}", hazard_plot, segment=s) for i, s in enumerate(others, 1)]
    title = tongue.say("findings.show_hazard")
    figures = [draw("hazard", hazard_plot)]
    if told_first(source) is not None:
        figures.append(draw("lives-all", survival_plot))
    block = Block("", tuple(said), figures=tuple(figures), folded=tuple(folded), folded_title=title)
    return [block]


def _retention(source: Source, tongue: Tongue, draw: Draw) -> list[Block]:
    """Heat maps by cohort and by group; other kinds of retention folded.

    None of a loss: whoever has such an event is not active.
    """
    if is_loss(source.spec):
        return []
    rows = source.results.where(analysis="survival", estimand="retention", arm=None).rows
    terms = [t for t in TERMS if any(r.term == t for r in rows)]
    if not terms:
        return []
    named: list[str | None] = [
        COHORT,
        *dict.fromkeys(r.segment for r in rows if r.segment not in (None, COHORT)),
    ]

    def maps(term: str, wanted: Sequence[str | None]) -> list[Markup]:
        own = {r.segment for r in rows if r.term == term}
        return [
            draw(f"retention-{term}-{named.index(s) + 1}", retention_plot, segment=s, term=term)
            for s in wanted
            if s in own
        ]

    figures = maps(terms[0], named)
    folded = [figure for term in terms[1:] for figure in maps(term, (COHORT,))]
    said = _stayed([r for r in rows if r.term == terms[0]], source, tongue)
    title = tongue.say("findings.show_retention")
    block = Block("", said, figures=tuple(figures), folded=tuple(folded), folded_title=title)
    return [block]


def _stayed(rows: Sequence[Row], source: Source, tongue: Tongue) -> tuple[str, ...]:
    """Retention of everyone about day 30, and between which cohorts it lies."""
    known = [r for r in rows if r.estimate is not None]
    pooled = sorted((r for r in known if r.segment is None), key=lambda r: bounds(r.at))
    told = next((r for r in pooled if bounds(r.at)[1] >= CLIFF), pooled[-1] if pooled else None)
    if told is None:
        return ()
    days = days_text(told.at, tongue.language)
    said = [tongue.say("findings.retention_said", share=share(told.estimate), days=days)]
    cohorts = [r for r in known if r.segment == COHORT and r.at == told.at]
    if len(cohorts) > 2:
        low, high = (f(cohorts, key=lambda r: r.estimate or 0.0) for f in (min, max))
        if not high.estimate:
            return tuple(said)
        words = {
            "low": share(low.estimate),
            "low_cohort": level_label(source.spec, low.level, tongue.language),
            "high": share(high.estimate),
            "high_cohort": level_label(source.spec, high.level, tongue.language),
        }
        said.append(tongue.say("findings.retention_trend", days=days, **words))
    return tuple(said)


def _outcomes(source: Source, tongue: Tongue, draw: Draw) -> list[Block]:
    """What came first for which share of the customers, and whether groups differ in it."""
    rows = [
        r for r in survival_rows(source.results, "cumulative_incidence") if r.estimate is not None
    ]
    if not rows:
        return []
    last = max(bounds(r.at)[1] for r in rows)
    ends: dict[str, Row] = {}
    for r in sorted(rows, key=lambda r: (r.term != r.metric, bounds(r.at))):
        ends[r.term or ""] = r
    causes = [
        tongue.say(
            "findings.outcome",
            cause=cause_label(source.spec, cause, tongue.language),
            share=share(r.estimate),
        )
        for cause, r in ends.items()
    ]
    rest = share(max(0.0, 1 - sum(r.estimate or 0.0 for r in ends.values())))
    words = {"day": number(last, 0), "causes": tongue.say("comma").join(causes), "rest": rest}
    said = [tongue.say("findings.outcomes_said", **words)]
    others = [s for s in splits(source) if survival_rows(source.results, "cumulative_incidence", s)]
    folded = [draw(f"outcomes-{i}", incidence_plot, segment=s) for i, s in enumerate(others, 1)]
    title, figure = tongue.say("findings.show_outcomes"), draw("outcomes", incidence_plot)
    tests = _gray(source, tongue)
    tables = (tests,) if tests is not None else ()
    return [Block("", tuple(said), tables, None, (figure,), tuple(folded), title)]


def _gray(source: Source, tongue: Tongue) -> Table | None:
    """Whether an outcome comes first at the same rate in all groups of a split."""
    lines = tuple(
        (
            Value(split_label(source.spec, r.segment, tongue.language)),
            Value(cause_label(source.spec, r.term, tongue.language)),
            Value(number(r.estimate, 1)),
            Value(p_cell(r.p_value)),
        )
        for r in source.results.where(analysis="survival", estimand="gray").rows
        if r.p_value is not None and r.segment is not None
    )
    heads = ("findings.split", "findings.outcome_head", "trust.chi2", "table.p")
    named = tuple(tongue.say(key) for key in heads)
    folded = tongue.say("table.show")
    return Table(tongue.say("findings.outcomes_table"), named, lines, folded) if lines else None


def _repeats(source: Source, tongue: Tongue, draw: Draw) -> list[Block]:
    """How many further events a customer had on average, and how groups differ in that."""
    rows = [r for r in survival_rows(source.results, "mean_cumulative") if r.estimate is not None]
    if not rows:
        return []
    event = cause_label(source.spec, None, tongue.language)
    days = [d for d in MILESTONES if any(r.at == str(d) for r in rows)]
    told = next((r for r in rows if days and r.at == str(days[-1])), None)
    told = told or max(rows, key=lambda r: bounds(r.at))
    shown = measure("size", "mean", told.ci_low, told.ci_high)
    interval = span_text(source.spec, shown, told.ci_low, told.ci_high, tongue.language)
    words = {"day": number(bounds(told.at)[1], 0), "mean": shown.bare(told.estimate)}
    said = [tongue.say("findings.repeats_said", event=event, interval=interval, **words)]
    others = [s for s in splits(source) if survival_rows(source.results, "mean_cumulative", s)]
    for segment in others[:1]:
        said += _more(source, tongue, segment)
    figures = [draw("repeats", repeat_plot)]
    figures += [draw(f"repeats-{i}", repeat_plot, segment=s) for i, s in enumerate(others, 1)]
    return [Block("", tuple(said), figures=tuple(figures))]


def _more(source: Source, tongue: Tongue, segment: str) -> list[str]:
    """By how much groups differ in their number of events, on the last day that is known."""
    rows = survival_rows(source.results, "mean_cumulative_difference", segment)
    last: dict[str, Row] = {}
    for r in sorted(rows, key=lambda r: bounds(r.at)):
        if r.estimate is not None:
            last[name_of(r)] = r
    said = []
    for name, r in list(last.items())[:4]:
        if none := none_had(source, tongue, r):
            said.append(none)
            continue
        clear = is_clear(r, source.spec)
        shown = measure("size" if clear else "difference", "mean", r.ci_low, r.ci_high)
        up = (r.estimate or 0.0) >= 0 or not clear
        ends = (r.ci_low, r.ci_high) if up else (r.ci_high, r.ci_low)
        low, high = ((None if e is None else (e if up else -e)) for e in ends)
        words = {
            "level": group_label(tongue, name, segment),
            "baseline": group_label(tongue, r.baseline, segment),
            "mean": shown.bare(abs(r.estimate or 0.0) if clear else r.estimate),
            "day": r.at,
            "interval": span_text(source.spec, shown, low, high, tongue.language),
        }
        key = "more" if up else "fewer"
        said.append(tongue.say(f"findings.repeats_{key if clear else 'alike'}", **words))
    return said


def _returning(source: Source, tongue: Tongue, draw: Draw) -> list[Block]:
    """The share of revenue from returning customers, in the first and the last month."""
    rows = survival_rows(source.results, "returning_revenue_share")
    known = sorted((r for r in rows if r.estimate is not None), key=lambda r: r.at or "")
    if not known or known[-1].estimate == 1.0 or is_loss(source.spec):
        return []  # nobody new any more: that all of it is from returning ones says nothing
    months = [month_text(r.at or "", tongue.language) for r in (known[0], known[-1])]
    cut = cut_month(source.spec, known[-1].at, tongue.language)
    words = {"month": cut or months[1], "share": share(known[-1].estimate)}
    more = {"first": months[0], "before": share(known[0].estimate)}
    one = len(known) == 1
    key = "findings.returning_one" if one else "findings.returning_said"
    said = (tongue.say(key, **words, **more), tongue.say("findings.returning_how"))
    return [Block("", said, figures=(draw("returning", share_plot),))]
